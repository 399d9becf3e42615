package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
)

var errUnknownCall = errors.New("load: an answer to no open call")

// runStreams keeps the same number of messages open on each of the streams.
func runStreams(o Options, requests Requests, watch *Watch) error {
	connections, err := connect(o)
	if err != nil {
		return err
	}
	var streams sync.WaitGroup
	failures := make([]error, o.Streams)
	for n := 0; n < o.Streams; n++ {
		streams.Add(1)
		go func(n int) {
			defer streams.Done()
			share := (o.InFlight + o.Streams - 1) / o.Streams
			failures[n] = runStream(connections[n%len(connections)], o, share, requests, watch.notes(), watch)
		}(n)
	}
	streams.Wait()
	for _, failure := range failures {
		if failure != nil {
			return failure
		}
	}
	return nil
}

func runStream(connection *grpc.ClientConn, o Options, inFlight int, requests Requests, notes *Notes, watch *Watch) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := connection.NewStream(ctx, bothWays, o.Method)
	if err != nil {
		return err
	}
	calls := newOpenCalls(o.Numbered)
	room := make(chan struct{}, inFlight)
	for n := 0; n < inFlight; n++ {
		room <- struct{}{}
	}
	go feed(stream, o, requests, calls, room, watch)
	return take(stream, o, calls, room, notes)
}

// feed sends a request whenever there is room for one, until the time is over. Several that have room at once share a bundle.
func feed(stream grpc.ClientStream, o Options, requests Requests, calls *openCalls, room chan struct{}, watch *Watch) {
	if !send(stream, requests.preamble) {
		return
	}
	for number := uint64(1); !watch.over(); {
		share := places(room, o.Bundled)
		messages := make([][]byte, share)
		for n := range messages {
			messages[n] = begin(o, requests, calls, number)
			number++
		}
		message := bundle(messages)
		if stream.SendMsg(&message) != nil {
			return
		}
	}
	_ = stream.CloseSend()
}

// places waits for room for one message, and takes that for others, as many in all as a bundle may have, if it is there.
func places(room chan struct{}, most int) int {
	<-room
	for taken := 1; ; taken++ {
		if taken >= most {
			return taken
		}
		select {
		case <-room:
		default:
			return taken
		}
	}
}

func begin(o Options, requests Requests, calls *openCalls, number uint64) []byte {
	request := int(number % uint64(len(requests.groups)))
	message := requests.groups[request][0]
	if o.Numbered {
		message = numbered(number, message)
	}
	calls.begin(number, openCall{request, time.Now()})
	return message
}

// take receives until the server has answered all and ends the stream.
func take(stream grpc.ClientStream, o Options, calls *openCalls, room chan struct{}, notes *Notes) error {
	count := -o.Greeting
	for {
		var message []byte
		if err := stream.RecvMsg(&message); err == io.EOF {
			return nil
		} else if err != nil {
			notes.add(time.Now(), time.Now(), 0, nil, err)
			return err
		}
		answers := [][]byte{message}
		if o.Bundled > 1 {
			answers = parts(message)
		}
		ended := 0
		for _, answer := range answers {
			if count++; count <= 0 || count%o.Answers != 0 {
				continue
			}
			call, known := calls.end(answer)
			if !known {
				return errUnknownCall
			}
			notes.add(call.begun, time.Now(), call.request, [][]byte{answer}, nil)
			ended++
		}
		// What was answered at once has room at once.
		for ; ended > 0; ended-- {
			room <- struct{}{}
		}
	}
}

// numbered puts field 1 before a message that has none.
func numbered(number uint64, message []byte) []byte {
	whole := make([]byte, 0, len(message)+binary.MaxVarintLen64+1)
	whole = binary.AppendUvarint(append(whole, 0x08), number)
	return append(whole, message...)
}

func numberOf(answer []byte) uint64 {
	if len(answer) == 0 || answer[0] != 0x08 {
		return 0
	}
	number, _ := binary.Uvarint(answer[1:])
	return number
}

type openCall struct {
	request int
	begun   time.Time
}

// openCalls knows which messages are not answered yet: by their number, or else by their order.
type openCalls struct {
	numbered bool
	guard    sync.Mutex
	calls    map[uint64]openCall
	first    uint64
}

func newOpenCalls(numbered bool) *openCalls {
	return &openCalls{numbered: numbered, calls: map[uint64]openCall{}, first: 1}
}

func (o *openCalls) begin(number uint64, call openCall) {
	o.guard.Lock()
	defer o.guard.Unlock()
	o.calls[number] = call
}

func (o *openCalls) end(answer []byte) (openCall, bool) {
	o.guard.Lock()
	defer o.guard.Unlock()
	number := o.first
	if o.numbered {
		number = numberOf(answer)
	}
	o.first++
	call, known := o.calls[number]
	delete(o.calls, number)
	return call, known
}
