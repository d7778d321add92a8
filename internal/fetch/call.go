package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// call is a fetch of a chatbot that several may wait for.
type call struct {
	chatbot client.Chatbot
	ctx     context.Context         // ends when nobody waits any more
	cancel  context.CancelCauseFunc // of ctx
	begun   time.Time
	done    chan struct{} // closed when result is set
	result  Result

	// Guarded by Source.mutex.
	waiting  int               // number of those who wait
	callers  []context.Context // of all who have waited
	reported bool              // whether its failure has been counted and logged
}

// join returns the call of a chatbot that has not ended, or a new one, and reports
// whether it is new.
func (s *Source) join(ctx context.Context, chatbot client.Chatbot) (c *call, isNew bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	c = s.calls[chatbot.UUID]
	if c == nil {
		isNew = true
		// The one who began it may leave before the others.
		free, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		c = &call{chatbot: chatbot, ctx: free, cancel: cancel, begun: time.Now(), done: make(chan struct{})}
		s.calls[chatbot.UUID] = c
	}
	c.callers = append(c.callers, ctx)
	c.waiting++
	return c, isNew
}

// wait returns the results of calls, with an error for each that ctx ends before. The
// last who leaves a call ends it.
//
// It waits for one after the other. A goroutine for each call would take some 5 KiB, a
// thousand times for each scrape of a thousand chatbots.
func (s *Source) wait(ctx context.Context, calls []*call) []Result {
	begun := time.Now()
	results := make([]Result, len(calls))
	for i, c := range calls {
		select {
		case <-c.done:
			results[i] = c.result
		case <-ctx.Done():
			s.leaveAll(calls[i:], results[i:], begun, context.Cause(ctx))
			return results
		}
	}
	return results
}

// leaveAll leaves calls for a cause and sets their results. It begins with the last, so
// that the slots of the first are not taken by those.
func (s *Source) leaveAll(calls []*call, results []Result, begun time.Time, cause error) {
	var ending []int
	for i, c := range slices.Backward(calls) {
		select {
		case <-c.done:
			results[i] = c.result
			continue
		default:
		}
		if s.leave(c, cause) {
			c.cancel(cause)
			ending = append(ending, i)
			continue
		}
		now := time.Now()
		err := &Error{Reason: client.Timeout, Err: fmt.Errorf("waiting for a fetch that others still wait for: %w", cause)}
		s.fail(c, err, cause)
		results[i] = Result{Finished: now, Took: now.Sub(begun), Err: err}
	}
	for _, i := range ending {
		<-calls[i].done
		results[i] = calls[i].result
	}
}

// leave reports whether nobody waits for a call any more. Nobody can join a call that
// all have left, or that was too slow for somebody: it may hang.
func (s *Source) leave(c *call, cause error) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	c.waiting--
	if c.waiting == 0 || errors.Is(cause, context.DeadlineExceeded) {
		s.remove(c)
	}
	return c.waiting == 0
}

// fail counts and logs the failure of a call, once. Clients that disconnected are not
// counted as failures.
func (s *Source) fail(c *call, err, cause error) {
	s.mutex.Lock()
	skip := c.reported || errors.Is(cause, context.Canceled)
	c.reported = c.reported || !skip
	s.mutex.Unlock()
	if skip {
		return
	}
	keyvals := []any{"msg", "fetching the sessions failed", "chatbot", c.chatbot.UUID}
	if c.chatbot.Name != "" {
		keyvals = append(keyvals, "name", c.chatbot.Name)
	}
	s.report(err, client.EndpointSessions, keyvals...)
}

// remove needs s.mutex.
func (s *Source) remove(c *call) {
	if s.calls[c.chatbot.UUID] == c {
		delete(s.calls, c.chatbot.UUID)
	}
}

// start starts calls in their order, each as soon as there is a slot.
func (s *Source) start(calls []*call) {
	for _, c := range calls {
		if err := s.acquire(c); err != nil {
			now := time.Now()
			s.end(c, Result{Finished: now, Took: now.Sub(c.begun), Err: err})
			continue
		}
		go func() {
			result := s.run(c)
			s.Gate.release()
			s.end(c, result)
		}()
	}
}

// acquire waits for a slot for a call.
func (s *Source) acquire(c *call) error {
	if err := s.Gate.checkPause(c.chatbot.UUID); err != nil {
		return err
	}
	if err := s.Gate.acquire(c.ctx); err != nil {
		return err
	}
	if cause := s.abandoned(c); cause != nil {
		// The end of a scrape releases slots. No request must begin then.
		s.Gate.release()
		c.cancel(cause)
		return s.Gate.noSlot(cause)
	}
	return nil
}

// abandoned returns why nobody waits for a call any more, or nil. Those who leave at
// the same time may not all have called leave.
func (s *Source) abandoned(c *call) (cause error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	now := time.Now()
	for _, caller := range c.callers {
		switch deadline, ok := caller.Deadline(); {
		case caller.Err() != nil:
			cause = context.Cause(caller)
		case ok && !now.Before(deadline):
			cause = context.DeadlineExceeded
		default:
			return nil
		}
	}
	return cause
}

// run fetches the tally of a call's chatbot and remembers it.
func (s *Source) run(c *call) Result {
	ctx, cancel := context.WithTimeout(c.ctx, s.Gate.timeout)
	defer cancel()
	state, _ := s.states.Get(c.chatbot.UUID)
	begun := time.Now()
	fetched, err := try(ctx, s.Gate, c.chatbot.UUID, func(ctx context.Context) (fetched, error) {
		return s.fetchTally(ctx, c.chatbot, &state)
	})
	now := time.Now()
	result := Result{Tally: fetched.tally, Received: fetched.received, Finished: now, Took: now.Sub(begun), Err: err}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	// Another call, begun before this one's end, may have remembered something newer.
	current, _ := s.states.Get(c.chatbot.UUID)
	if err != nil || current.last.Finished.Add(-current.last.Took).After(begun) {
		state = current
	} else {
		state.last = result
	}
	state.took = result.Took
	if isPaused(err) {
		state.took = current.took
	}
	s.states.Add(c.chatbot.UUID, state)
	return result
}

// end gives a call its result.
func (s *Source) end(c *call, result Result) {
	c.result = result
	if result.Err != nil {
		s.fail(c, result.Err, context.Cause(c.ctx))
	}
	s.mutex.Lock()
	s.remove(c)
	s.mutex.Unlock()
	close(c.done)
	c.cancel(nil)
}
