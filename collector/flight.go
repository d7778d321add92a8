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
	reported bool      // its failure has been counted and logged
	deadline time.Time // when none of them wants it any more; zero if one always will
}

// FetchAll fetches the sessions of chatbots and returns the results in their order
// when all are there or ctx ends.
//
// The chatbots that were fastest the last time have their turn first: one that
// hangs may keep others from having theirs in one scrape, not in all.
func (s *Source) FetchAll(ctx context.Context, chatbots []Chatbot) []Fetch {
	fetches := make([]Fetch, len(chatbots))
	var missing []int
	for i, chatbot := range chatbots {
		var ok bool
		if fetches[i], ok = s.cached(chatbot); !ok {
			missing = append(missing, i)
		}
	}
	s.fastestFirst(chatbots, missing)
	var waits sync.WaitGroup
	turn := make(chan struct{})
	close(turn)
	for _, i := range missing {
		if err := s.pause.check(); err != nil {
			s.reportChatbot(chatbots[i], err)
			fetches[i] = Fetch{Finished: time.Now(), Err: err}
			continue
		}
		flight := s.join(ctx, chatbots[i], turn)
		turn = flight.served
		waits.Go(func() { fetches[i] = s.wait(ctx, flight) })
	}
	waits.Wait()
	return fetches
}

// fastestFirst sorts indices of chatbots.
func (s *Source) fastestFirst(chatbots []Chatbot, indices []int) {
	took := map[int]time.Duration{}
	for _, i := range indices {
		h, _ := s.history.Get(chatbots[i].UUID)
		took[i] = h.took
	}
	slices.SortStableFunc(indices, func(a, b int) int { return cmp.Compare(took[a], took[b]) })
}

// cached returns a chatbot's last fetch if it may be had again.
func (s *Source) cached(chatbot Chatbot) (Fetch, bool) {
	if s.CacheTTL <= 0 {
		return Fetch{}, false
	}
	h, _ := s.history.Get(chatbot.UUID)
	return h.last, time.Since(h.last.Finished) < s.CacheTTL
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
	if s.leave(f, context.Cause(ctx)) {
		f.cancel(context.Cause(ctx))
		<-f.done
		return f.fetch
	}
	now := time.Now()
	err := &client.Error{
		Reason: client.Timeout, Err: fmt.Errorf("waiting for a fetch that others wait for too: %w", context.Cause(ctx)),
	}
	s.fail(f, err, context.Cause(ctx))
	return Fetch{Finished: now, Took: now.Sub(start), Err: err}
}

// leave tells whether nobody is left to wait for a flight. Nobody can join one that
// everybody has left or that somebody had no time left for: it may hang.
func (s *Source) leave(f *flight, cause error) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	f.waiting--
	if f.waiting == 0 || errors.Is(cause, context.DeadlineExceeded) {
		s.remove(f)
	}
	return f.waiting == 0
}

// fail counts and logs the failure of a flight, once, unless nobody wants to know
// of it because all have gone away.
func (s *Source) fail(f *flight, err, cause error) {
	s.mutex.Lock()
	known := f.reported || errors.Is(cause, context.Canceled)
	f.reported = f.reported || !known
	s.mutex.Unlock()
	if !known {
		s.reportChatbot(f.chatbot, err)
	}
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
	if f.fetch.Err != nil {
		s.fail(f, f.fetch.Err, context.Cause(ctx))
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
	h, _ := s.history.Get(f.chatbot.UUID)
	start = time.Now()
	fetch := end(try(ctx, &s.pause, func() (Summary, error) { return s.sum(ctx, f.chatbot, &h) }))
	if !errors.Is(fetch.Err, errPaused) {
		h.took = fetch.Took
	}
	if fetch.Err == nil {
		h.last = fetch
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.flights[f.chatbot.UUID] != f {
		// All have left, and a later flight may know better.
		took := h.took
		h, _ = s.history.Get(f.chatbot.UUID)
		h.took = took
	}
	s.history.Add(f.chatbot.UUID, h)
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
