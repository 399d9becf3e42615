// Load calls a server as fast as it answers, or at a given rate, and prints what came back as JSON.
//
//	load unary    -target 127.0.0.1:50051 -method /package.Service/Method -requests file
//	load stream   the same with many messages on streams that stay open
//	load exchange the same with a stream for each request
//	load post     -target http://127.0.0.1:8080/predict -requests file
//	load echo     -target 127.0.0.1:50051    answers every call with its request, on as many cores as it is given
//
// A file of requests is a sequence of messages, each after its length (4 bytes, little-endian). No message is parsed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"time"
)

// Options say what to call and how.
type Options struct {
	Target      string
	Method      string
	Requests    string
	ContentType string
	InFlight    int
	Connections int
	Streams     int
	Duration    time.Duration
	WarmUp      time.Duration
	Deadline    time.Duration
	Rate        float64
	Slice       time.Duration
	Preamble    int
	Group       int
	Greeting    int
	Answers     int
	Numbered    bool
	Bundled     int
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: load unary|stream|exchange|post|echo [options]; load unary -h lists the options"))
	}
	// Its memory is small and its time is dear: fewer rounds of the garbage collector.
	debug.SetGCPercent(800)
	options := parse(os.Args[1], os.Args[2:])
	if os.Args[1] == "echo" {
		fail(serveEcho(options.Target))
	}
	report, err := run(os.Args[1], options)
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		fail(err)
	}
}

func parse(mode string, arguments []string) Options {
	var o Options
	flags := flag.NewFlagSet(mode, flag.ExitOnError)
	flags.StringVar(&o.Target, "target", "", "host:port, or the URL for post")
	flags.StringVar(&o.Method, "method", "", "/package.Service/Method")
	flags.StringVar(&o.Requests, "requests", "", "file of requests; they take turns")
	flags.StringVar(&o.ContentType, "content-type", "application/json", "of what is posted")
	flags.IntVar(&o.InFlight, "in-flight", 1, "calls (on streams: messages) that are open at any time")
	flags.IntVar(&o.Connections, "connections", 1, "connections that the calls or streams share")
	flags.IntVar(&o.Streams, "streams", 1, "streams that the messages share")
	flags.DurationVar(&o.Duration, "duration", 3*time.Second, "what is counted")
	flags.DurationVar(&o.WarmUp, "warm-up", time.Second, "what goes before and is not counted")
	flags.DurationVar(&o.Deadline, "deadline", 30*time.Second, "of each call")
	flags.Float64Var(&o.Rate, "rate", 0, "calls per second, begun on time whatever the answers do; 0: as fast as they come back")
	flags.DurationVar(&o.Slice, "slice", time.Second, "outcomes are also counted for each piece of time as long as this")
	flags.IntVar(&o.Preamble, "preamble", 0, "so many messages of the file go first on every stream")
	flags.IntVar(&o.Group, "group", 1, "messages that make one request (exchange)")
	flags.IntVar(&o.Greeting, "greeting", 0, "answers that come before the first that counts (stream)")
	flags.IntVar(&o.Answers, "answers", 1, "messages that make one answer (stream)")
	flags.BoolVar(&o.Numbered, "numbered", false, "protobuf field 1 of every request and answer is the number of the call (stream)")
	flags.IntVar(&o.Bundled, "bundled", 1, "messages that may share one: in field 9 of requests, in field 6 of answers (stream)")
	_ = flags.Parse(arguments)
	return o
}

func run(mode string, o Options) (Report, error) {
	requests, err := readRequests(o.Requests, o.Preamble, o.Group)
	if err != nil {
		return Report{}, err
	}
	watch := newWatch(o)
	if mode == "stream" {
		err = runStreams(o, requests, watch)
	} else {
		err = runCalls(mode, o, requests, watch)
	}
	return watch.report(), err
}

func runCalls(mode string, o Options, requests Requests, watch *Watch) error {
	call, err := caller(mode, o, requests)
	if err != nil {
		return err
	}
	if o.Rate > 0 {
		return atRate(context.Background(), o, call, len(requests.groups), watch)
	}
	closedLoop(o, call, len(requests.groups), watch)
	return nil
}

// A Call sends the request of this number by way of the connection of a worker, and returns the messages of the answer.
type Call func(ctx context.Context, worker, request int) ([][]byte, error)

func caller(mode string, o Options, requests Requests) (Call, error) {
	switch mode {
	case "unary":
		return unaryCalls(o, requests)
	case "exchange":
		return exchanges(o, requests)
	case "post":
		return posts(o, requests)
	}
	return nil, fmt.Errorf("load: no mode %q", mode)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
