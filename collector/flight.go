package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// flight is a fetch that is under way for all who want its chatbot meanwhile.
type flight struct {
	chatbot Chatbot
	cancel  context.CancelCauseFunc // ends it
	served  chan struct{}           // closed when it has, or will never have, its turn
	done    chan struct{}           // closed when fetch is there
	fetch   Fetch

	// Guarded by Source.mutex.
	waiting  int       // how many want it
	deadline time.Time // when none of them wants it any more; zero if one always will
}

// FetchAll fetches the sessions of chatbots and calls done with each result, from
// several goroutines, until ctx ends or all are there.
//
// The chatbots that were fastest the last time have their turn first: one that
// hangs may keep others from having theirs in one scrape, not in all.
func (s *Source) FetchAll(ctx context.Context, chatbots []Chatbot, done func(Chatbot, Fetch)) {
	var waits sync.WaitGroup
	turn := make(chan struct{})
	close(turn)
	for _, chatbot := range s.fastestFirst(chatbots) {
		flight := s.join(ctx, chatbot, turn)
		turn = flight.served
		waits.Go(func() { done(chatbot, s.wait(ctx, flight)) })
	}
	waits.Wait()
}

func (s *Source) fastestFirst(chatbots []Chatbot) []Chatbot {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.SortedStableFunc(slices.Values(chatbots), func(a, b Chatbot) int {
		return cmp.Compare(s.took[a.UUID], s.took[b.UUID])
	})
}

// join returns the flight that is under way for a chatbot, or else starts one,
// which waits for its turn.
func (s *Source) join(ctx context.Context, chatbot Chatbot, turn <-chan struct{}) *flight {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	f := s.flights[chatbot.UUID]
	if f == nil {
		// Whoever asked for it first may leave before the others.
		free, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		f = &flight{chatbot: chatbot, cancel: cancel, served: make(chan struct{}), done: make(chan struct{})}
		s.flights[chatbot.UUID] = f
		go s.fly(free, f, turn)
	}
	deadline, _ := ctx.Deadline()
	if f.waiting == 0 || !f.deadline.IsZero() && (deadline.IsZero() || deadline.After(f.deadline)) {
		f.deadline = deadline
	}
	f.waiting++
	return f
}

// wait returns the result of a flight, or that of ctx's end. The last to leave
// ends the flight.
func (s *Source) wait(ctx context.Context, f *flight) Fetch {
	start := time.Now()
	select {
	case <-f.done:
		return f.fetch
	case <-ctx.Done():
	}
	if s.leave(f) {
		f.cancel(context.Cause(ctx))
		<-f.done
		return f.fetch
	}
	now := time.Now()
	return Fetch{Finished: now, Took: now.Sub(start), Err: &client.Error{
		Reason: client.Timeout, Err: fmt.Errorf("waiting for a fetch that others wait for too: %w", context.Cause(ctx)),
	}}
}

// leave tells whether nobody is left to wait for a flight; then nobody can join it
// any more either.
func (s *Source) leave(f *flight) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	f.waiting--
	if f.waiting > 0 {
		return false
	}
	s.remove(f)
	return true
}

// remove needs s.mutex.
func (s *Source) remove(f *flight) {
	if s.flights[f.chatbot.UUID] == f {
		delete(s.flights, f.chatbot.UUID)
	}
}

// fly fetches the sessions of a flight's chatbot when it has its turn.
func (s *Source) fly(ctx context.Context, f *flight, turn <-chan struct{}) {
	defer f.cancel(nil)
	f.fetch = s.fetch(ctx, f, turn)
	// Nobody wants to know of a failure that is but the end of a scrape.
	if f.fetch.Err != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
		s.report(f.chatbot, f.fetch.Err)
	}
	s.mutex.Lock()
	s.remove(f)
	s.mutex.Unlock()
	close(f.done)
}

func (s *Source) fetch(ctx context.Context, f *flight, turn <-chan struct{}) Fetch {
	start := time.Now()
	end := func(summary Summary, err error) Fetch {
		now := time.Now()
		return Fetch{Summary: summary, Finished: now, Took: now.Sub(start), Err: err}
	}
	if err := s.acquire(ctx, f, turn); err != nil {
		return end(Summary{}, err)
	}
	defer s.requests.Release(1)

	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	start = time.Now()
	fetch := end(s.try(ctx, f.chatbot))
	s.mutex.Lock()
	s.took[f.chatbot.UUID] = fetch.Took
	s.mutex.Unlock()
	return fetch
}

// acquire waits for the flight's turn and then for one of the requests that may be
// under way at a time.
func (s *Source) acquire(ctx context.Context, f *flight, turn <-chan struct{}) error {
	defer close(f.served)
	if err := s.pause.check(); err != nil {
		return err
	}
	select {
	case <-turn:
	case <-ctx.Done():
	}
	if s.requests.Acquire(ctx, 1) != nil {
		return s.starved(context.Cause(ctx))
	}
	if s.expired(f) {
		// The end of a scrape sets requests free; none is to begin then.
		s.requests.Release(1)
		return s.starved(context.DeadlineExceeded)
	}
	return nil
}

// expired tells whether the time of all who want a flight is over.
func (s *Source) expired(f *flight) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return !f.deadline.IsZero() && !time.Now().Before(f.deadline)
}

// starved is the error of a flight that could not have its turn.
func (s *Source) starved(cause error) error {
	return &client.Error{Reason: client.Timeout, Err: fmt.Errorf(
		"waiting for one of the %d requests at a time that --chatwize.concurrency allows: %w", s.Concurrency, cause)}
}
