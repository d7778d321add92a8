package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// minWait is the shortest wait after which an abandoned fetch counts as failed in the order
// of [Source.FetchAll], if the fetch before succeeded.
const minWait = time.Second

// call is a fetch of a chatbot that several may wait for.
type call struct {
	chatbot    client.Chatbot
	key        string // the canonical UUID of chatbot
	unverified bool   // whether it needs budget
	refusals   *refusals
	ctx        context.Context         // ends when nobody waits any more
	cancel     context.CancelCauseFunc // of ctx
	begun      time.Time
	done       chan struct{} // closed when result is set
	result     Result

	// Guarded by Source.mutex.
	waiting  int               // number of callers that wait
	callers  []context.Context // contexts of callers that wait; the last one stays after it left
	reported bool              // whether its failure has been counted and logged
	forced   bool              // whether it is tried although the key was refused
}

// join returns the call of next's chatbot that has not ended, or next itself, and reports
// whether it is next.
func (s *Source) join(ctx context.Context, next *call) (c *call, isNew bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	c = s.calls[next.key]
	if c == nil {
		c, isNew = next, true
		// The one who began it may leave before the others.
		c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		c.begun, c.done = time.Now(), make(chan struct{})
		s.calls[c.key] = c
	}
	c.callers = append(c.callers, ctx)
	c.waiting++
	c.forced = c.forced || next.forced
	return c, isNew
}

// wait returns the results of calls, with an error for each that has not ended when ctx
// ends. The last who leaves a call ends it.
//
// It waits for one call after the other. A goroutine for each would take about 5 KiB, a
// thousand times for each scrape of a thousand chatbots.
func (s *Source) wait(ctx context.Context, calls []*call) []Result {
	begun := time.Now()
	results := make([]Result, len(calls))
	for i, c := range calls {
		select {
		case <-c.done:
			results[i] = c.result
		case <-ctx.Done():
			s.leaveAll(ctx, calls[i:], results[i:], begun)
			return results
		}
	}
	return results
}

// leaveAll leaves calls after the end of ctx and sets their results. It starts with the last call,
// so that none of them takes the slot of an earlier one that ends.
func (s *Source) leaveAll(ctx context.Context, calls []*call, results []Result, begun time.Time) {
	cause := context.Cause(ctx)
	var ending []int
	for i, c := range slices.Backward(calls) {
		select {
		case <-c.done:
			results[i] = c.result
			continue
		default:
		}
		if s.leave(ctx, c) {
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

// leave reports whether nobody waits for a call any more. Then nobody can join it.
func (s *Source) leave(ctx context.Context, c *call) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	c.waiting--
	if i := slices.Index(c.callers, ctx); i >= 0 && c.waiting > 0 {
		c.callers = slices.Delete(c.callers, i, i+1)
	}
	if c.waiting == 0 {
		s.remove(c)
	}
	return c.waiting == 0
}

// fail counts and logs the failure of a call, once. Clients that disconnected are not
// counted as failures, and neither are fetches that the exporter itself did not try or ended.
func (s *Source) fail(c *call, err, cause error) {
	s.mutex.Lock()
	skip := c.reported || s.Gate.isClosed() || errors.Is(cause, context.Canceled) || errors.Is(err, errRefused) || errors.Is(err, ErrNoBudget)
	c.reported = c.reported || !skip
	s.mutex.Unlock()
	if !skip {
		s.Failures.add(err, client.EndpointSessions, c.chatbot)
	}
}

// remove needs s.mutex.
func (s *Source) remove(c *call) {
	if s.calls[c.key] == c {
		delete(s.calls, c.key)
	}
}

// start starts calls in their order, each as soon as there is a slot.
func (s *Source) start(calls []*call) {
	for _, c := range calls {
		release, err := s.acquire(c)
		if err != nil {
			now := time.Now()
			took := now.Sub(c.begun)
			if errors.Is(err, errRefused) {
				took = 0
			}
			result := Result{Finished: now, Took: took, Err: err}
			s.report(c, result)
			s.end(c, result)
			continue
		}
		go func() {
			result := s.run(c)
			// Before the slot is released, so that the next result comes later.
			c.refusals.add(result.Err)
			s.report(c, result)
			release()
			s.end(c, result)
		}()
	}
}

// acquire waits for a slot for a call, which release gives back.
func (s *Source) acquire(c *call) (release func(), err error) {
	if err := s.mayBegin(c); err != nil {
		return nil, err
	}
	releaseDoubtful := func() {}
	if s.isDoubtful(c) {
		if err := s.acquireDoubtful(c.ctx); err != nil {
			return nil, s.Gate.noSlot(err)
		}
		releaseDoubtful = s.Gate.doubtful.release
	}
	if err := s.Gate.acquire(c.ctx); err != nil {
		releaseDoubtful()
		return nil, err
	}
	release = func() {
		s.Gate.release()
		releaseDoubtful()
	}
	err = s.mayBegin(c)
	if cause := s.abandoned(c); err == nil && cause != nil {
		// The end of a scrape releases slots. No request must begin then.
		c.cancel(cause)
		err = s.Gate.noSlot(cause)
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// acquireDoubtful waits until a fetch that may hang may wait for a slot.
func (s *Source) acquireDoubtful(ctx context.Context) error {
	ctx, stop := s.Gate.untilClosed(ctx)
	defer stop()
	return s.Gate.doubtful.acquire(ctx)
}

// needsBudget reports whether nobody knows if a call's chatbot exists.
func (s *Source) needsBudget(c *call) bool { return c.unverified && !s.hasSucceeded(c.key) }

// isDoubtful reports whether a call may hang.
func (s *Source) isDoubtful(c *call) bool { return s.needsBudget(c) || s.stateOf(c.key).timedOut }

// mayBegin returns why a call must not begin a request now.
func (s *Source) mayBegin(c *call) error {
	if err := s.Gate.checkPause(c.key); err != nil {
		return err
	}
	if err := s.checkRefusals(c); err != nil {
		return err
	}
	if s.needsBudget(c) {
		return s.Gate.budget.check()
	}
	return nil
}

// checkRefusals returns an error if too many answers refused the key. Then nobody can
// join the call, as a probe must be tried.
func (s *Source) checkRefusals(c *call) error {
	err := s.Gate.checkRefusals(c.refusals)
	if err == nil {
		return nil
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if c.forced {
		return nil
	}
	s.remove(c)
	return err
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
	ctx, cancel := s.Gate.forFetch(c.ctx)
	defer cancel()
	options, state, unknown := *s.options.Load(), s.stateOf(c.key), s.needsBudget(c)
	begun := time.Now()
	fetched, err := try(ctx, s.Gate, c.key, func(ctx context.Context) (fetched, error) {
		return lists{s, options}.fetchTally(ctx, c.chatbot, &state)
	})
	now := time.Now()
	result := Result{Received: fetched.received, Date: fetched.date, Finished: now, Took: now.Sub(begun), Err: err}
	if err == nil {
		numbers := fetched.tally.At(fetched.date)
		result.Numbers = &numbers
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	// Another call, begun before this one's end, may have remembered something newer.
	current := s.stateOf(c.key)
	switch {
	case current.last.Finished.Add(-current.last.Took).After(begun):
		state = current
	case err != nil:
		state = current.afterFailure(state)
	default:
		state.last = result
	}
	if unknown {
		s.Gate.budget.spend(err)
	}
	switch {
	case isPaused(err):
	case c.ctx.Err() != nil && state.succeeded && result.Took < max(minWait, 2*state.last.Took):
		state.took = max(state.took, result.Took) // the callers were in a hurry
	default:
		state.took, state.tried, state.succeeded = result.Took, begun, err == nil
		state.timedOut = ReasonOf(err) == client.Timeout
	}
	s.remember(c.key, state)
	return result
}

// report counts and logs the result of a call if it is a failure.
func (s *Source) report(c *call, result Result) {
	if result.Err != nil {
		s.fail(c, result.Err, context.Cause(c.ctx))
	}
}

// end gives a call its result.
func (s *Source) end(c *call, result Result) {
	c.result = result
	s.mutex.Lock()
	s.remove(c)
	s.see(c)
	s.mutex.Unlock()
	close(c.done)
	c.cancel(nil)
}

// see remembers the result of a call for Known, unless it says nothing of the chatbot. It
// needs s.mutex.
func (s *Source) see(c *call) {
	if errors.Is(context.Cause(c.ctx), context.Canceled) || s.Gate.isClosed() || s.needsBudget(c) {
		return // clients disconnected, the account is gone, or anyone may have named the chatbot
	}
	state := s.stateOf(c.key)
	hurried := c.ctx.Err() != nil && s.hasSucceeded(c.key) && c.result.Finished.Sub(c.begun) < minWait
	if hurried || c.result.Finished.Before(state.seen.Finished) {
		return
	}
	if isPaused(c.result.Err) && PausedUntil(c.result.Err).Equal(PausedUntil(state.seen.Err)) {
		return // the answer that began the pause says more
	}
	state.seen = c.result
	s.remember(c.key, state)
}
