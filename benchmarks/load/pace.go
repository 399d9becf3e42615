package main

import (
	"context"
	"sync"
	"time"
)

// More than these are never open at once: a server that answers nothing would have the generator run out of memory.
const mostOpen = 50_000

// To sleep for each of many calls takes a core, which is then missing where answers are read.
const leastSleep = time.Millisecond

// closedLoop keeps the same number of calls open: a worker calls again when it is answered.
func closedLoop(o Options, call Call, requests int, watch *Watch) {
	var workers sync.WaitGroup
	for worker := 0; worker < o.InFlight; worker++ {
		workers.Add(1)
		go func(worker int) {
			defer workers.Done()
			notes := watch.notes()
			for turn := worker; !watch.over(); turn += o.InFlight {
				one(context.Background(), o, call, worker, turn%requests, time.Now(), notes)
			}
		}(worker)
	}
	workers.Wait()
}

// atRate begins calls when they are due. What they take is counted from then, so that no delay of the generator is left out.
func atRate(ctx context.Context, o Options, call Call, requests int, watch *Watch) error {
	var open sync.WaitGroup
	room := make(chan struct{}, mostOpen)
	apart := time.Duration(float64(time.Second) / o.Rate)
	pool := sync.Pool{New: func() any { return watch.notes() }}
	for turn, due := 0, time.Now(); !watch.over(); turn, due = turn+1, due.Add(apart) {
		if early := time.Until(due); early > 0 {
			if early < leastSleep {
				early = leastSleep
			}
			time.Sleep(early)
		}
		select {
		case room <- struct{}{}:
		default:
			watch.skip()
			continue
		}
		open.Add(1)
		go func(turn int, due time.Time) {
			defer open.Done()
			notes := pool.Get().(*Notes)
			one(ctx, o, call, turn%mostOpen, turn%requests, due, notes)
			pool.Put(notes)
			<-room
		}(turn, due)
	}
	open.Wait()
	return nil
}

func one(ctx context.Context, o Options, call Call, worker, request int, begun time.Time, notes *Notes) {
	limited, cancel := context.WithDeadline(ctx, begun.Add(o.Deadline))
	defer cancel()
	answer, err := call(limited, worker, request)
	notes.add(begun, time.Now(), request, answer, err)
}
