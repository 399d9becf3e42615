package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Watch knows what time counts, and collects what the workers note.
type Watch struct {
	started time.Time
	begin   time.Time
	end     time.Time
	slice   time.Duration
	skipped int64
	guard   sync.Mutex
	all     []*Notes
}

// Notes are what one worker saw. Only that worker writes them.
type Notes struct {
	watch    *Watch
	outcomes map[string]*outcome
	answers  map[int][][]byte
}

type outcome struct {
	taken     []time.Duration
	slices    []int
	retryInfo int
	message   string
}

func newWatch(o Options) *Watch {
	now := time.Now()
	return &Watch{started: now, begin: now.Add(o.WarmUp), end: now.Add(o.WarmUp + o.Duration), slice: o.Slice}
}

func (w *Watch) over() bool { return !time.Now().Before(w.end) }

// skip counts a call that was due and could not begin.
func (w *Watch) skip() { atomic.AddInt64(&w.skipped, 1) }

func (w *Watch) notes() *Notes {
	notes := &Notes{watch: w, outcomes: map[string]*outcome{}, answers: map[int][][]byte{}}
	w.guard.Lock()
	defer w.guard.Unlock()
	w.all = append(w.all, notes)
	return notes
}

func (n *Notes) add(begun, ended time.Time, request int, answer [][]byte, err error) {
	if ended.Before(n.watch.begin) || ended.After(n.watch.end) {
		return
	}
	name := "OK"
	if err != nil {
		name = nameOf(err)
	} else {
		n.answers[request] = answer
	}
	n.outcome(name).add(ended.Sub(begun), int(ended.Sub(n.watch.begin)/n.watch.slice), err)
}

func (n *Notes) outcome(name string) *outcome {
	known, found := n.outcomes[name]
	if !found {
		known = &outcome{}
		n.outcomes[name] = known
	}
	return known
}

func (o *outcome) add(taken time.Duration, slice int, err error) {
	o.taken = append(o.taken, taken)
	for len(o.slices) <= slice {
		o.slices = append(o.slices, 0)
	}
	o.slices[slice]++
	if err != nil {
		if o.message == "" {
			o.message = err.Error()
		}
		if hasRetryInfo(err) {
			o.retryInfo++
		}
	}
}
