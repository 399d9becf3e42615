package main

import (
	"bytes"
	"context"
	"errors"
	"math"
	"regexp"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A Report is what is printed. Times are in milliseconds.
type Report struct {
	Seconds   float64            `json:"seconds"`
	PerSecond float64            `json:"per_second"`
	Outcomes  map[string]Summary `json:"outcomes"`
	Skipped   int64              `json:"skipped"`
	// Cores that the generator itself kept busy.
	Cores float64 `json:"cores"`
	// The last answer to each of the requests, its messages one after the other.
	Answers map[int][]byte `json:"answers"`
}

// A Summary tells of all calls that ended in the same way.
type Summary struct {
	Calls int     `json:"calls"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
	// Calls in each slice of time, from the end of the warm-up.
	Slices []int `json:"slices"`
	// How many errors said when to try again, and what one said.
	RetryInfo int    `json:"retry_info,omitempty"`
	Message   string `json:"message,omitempty"`
}

func (w *Watch) report() Report {
	seconds := w.end.Sub(w.begin).Seconds()
	outcomes, answers := map[string]*outcome{}, map[int][]byte{}
	for _, notes := range w.all {
		for name, part := range notes.outcomes {
			outcomes[name] = joined(outcomes[name], part)
		}
		for request, answer := range notes.answers {
			answers[request] = bytes.Join(answer, nil)
		}
	}
	report := Report{Seconds: seconds, Outcomes: map[string]Summary{}, Skipped: w.skipped, Cores: w.cores(), Answers: answers}
	for name, outcome := range outcomes {
		report.Outcomes[name] = outcome.summary()
	}
	report.PerSecond = float64(report.Outcomes["OK"].Calls) / seconds
	return report
}

func (w *Watch) cores() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return math.NaN()
	}
	spent := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	return spent.Seconds() / time.Since(w.started).Seconds()
}

func joined(whole, part *outcome) *outcome {
	if whole == nil {
		whole = &outcome{}
	}
	whole.taken = append(whole.taken, part.taken...)
	for len(whole.slices) < len(part.slices) {
		whole.slices = append(whole.slices, 0)
	}
	for n, calls := range part.slices {
		whole.slices[n] += calls
	}
	whole.retryInfo += part.retryInfo
	whole.message = part.message
	return whole
}

func (o *outcome) summary() Summary {
	sort.Slice(o.taken, func(a, b int) bool { return o.taken[a] < o.taken[b] })
	return Summary{
		Calls: len(o.taken), P50: o.quantile(0.5), P90: o.quantile(0.9), P99: o.quantile(0.99), Max: o.quantile(1),
		Slices: o.slices, RetryInfo: o.retryInfo, Message: o.message,
	}
}

// quantile is the least time, in milliseconds, that this share of the calls did not exceed.
func (o *outcome) quantile(share float64) float64 {
	rank := int(math.Ceil(share*float64(len(o.taken)))) - 1
	return o.taken[rank].Seconds() * 1000
}

var (
	inner = regexp.MustCompile(`([a-z])([A-Z])`)
	names sync.Map // of codes, as they are wanted for each of many refusals
)

// nameOf is the name of a gRPC code, or the HTTP status.
func nameOf(err error) string {
	var answered statusError
	if errors.As(err, &answered) {
		return answered.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "DEADLINE_EXCEEDED"
	}
	code := status.Code(err)
	name, known := names.Load(code)
	if !known {
		name = spelled(code)
		names.Store(code, name)
	}
	return name.(string)
}

func spelled(code codes.Code) string {
	if code == codes.Canceled {
		return "CANCELLED"
	}
	return strings.ToUpper(inner.ReplaceAllString(code.String(), "${1}_${2}"))
}

func hasRetryInfo(err error) bool {
	for _, detail := range status.Convert(err).Proto().GetDetails() {
		if strings.HasSuffix(detail.GetTypeUrl(), "google.rpc.RetryInfo") {
			return true
		}
	}
	return false
}
