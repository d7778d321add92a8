// Package fetch decides when and how an account is asked for the sessions of its
// chatbots, and shares what it gets among all who want it.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/semaphore"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Retries after transient failures.
const (
	maxTries        = 3
	retryInterval   = 250 * time.Millisecond // half of it to one and a half times it
	retryMultiplier = 2                      // for the second retry
)

// Gate decides when requests for one account are sent: a limited number at a time,
// again after transient failures, and none during a pause that the API asked for. It
// is safe for concurrent use.
type Gate struct {
	slots       *semaphore.Weighted
	concurrency int
	timeout     time.Duration

	mutex       sync.Mutex
	pausedUntil time.Time
}

// NewGate returns a Gate for up to concurrency fetches at a time, each of which may
// take up to timeout, including its retries.
func NewGate(concurrency int, timeout time.Duration) *Gate {
	return &Gate{slots: semaphore.NewWeighted(int64(concurrency)), concurrency: concurrency, timeout: timeout}
}

// Do waits for a slot and then calls fetch, again after transient failures. It fails
// at once during a pause. Its error is that of fetch, or an [*Error] if fetch was not
// called.
func Do[T any](ctx context.Context, g *Gate, fetch func(context.Context) (T, error)) (T, error) {
	return withSlot(ctx, g, func(ctx context.Context) (T, error) { return try(ctx, g, fetch) })
}

// DoPatiently is like [Do], but waits for the end of a pause, unless the timeout of
// the fetch would pass before.
func DoPatiently[T any](ctx context.Context, g *Gate, fetch func(context.Context) (T, error)) (T, error) {
	return withSlot(ctx, g, func(ctx context.Context) (T, error) {
		for {
			fetched, err := try(ctx, g, fetch)
			if PausedUntil(err).IsZero() || !g.waitOutPause(ctx) {
				return fetched, err
			}
		}
	})
}

// withSlot calls f with a slot and the timeout of the gate.
func withSlot[T any](ctx context.Context, g *Gate, f func(context.Context) (T, error)) (T, error) {
	if err := g.acquire(ctx); err != nil {
		var nothing T
		return nothing, err
	}
	defer g.release()
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	return f(ctx)
}

// acquire waits for a slot. Each success must be followed by a release.
func (g *Gate) acquire(ctx context.Context) error {
	if g.slots.Acquire(ctx, 1) != nil {
		return g.noSlot(context.Cause(ctx))
	}
	return nil
}

func (g *Gate) release() { g.slots.Release(1) }

// noSlot returns the error of a fetch that did not get a slot in time.
func (g *Gate) noSlot(cause error) error {
	return &Error{Reason: client.Timeout, Err: fmt.Errorf("waiting for one of %d request slots: %w", g.concurrency, cause)}
}

// try calls fetch, again after transient failures while ctx, which has a deadline,
// leaves time. The error is that of the last call.
func try[T any](ctx context.Context, g *Gate, fetch func(context.Context) (T, error)) (T, error) {
	var nothing T
	var last error
	deadline, _ := ctx.Deadline()
	fetched, err := backoff.Retry(ctx, func() (T, error) {
		if err := g.checkPause(); err != nil {
			if last == nil {
				last = err
			}
			return nothing, backoff.Permanent(last)
		}
		var fetched T
		fetched, last = fetch(ctx)
		var failure *client.Error
		if errors.As(last, &failure) && !failure.Transient {
			g.pauseUntil(failure.RetryAt)
			return fetched, backoff.Permanent(last)
		}
		return fetched, last
	},
		backoff.WithBackOff(&backoff.ExponentialBackOff{
			InitialInterval:     retryInterval,
			RandomizationFactor: backoff.DefaultRandomizationFactor,
			Multiplier:          retryMultiplier,
			MaxInterval:         time.Minute,
		}),
		backoff.WithMaxTries(maxTries),
		backoff.WithMaxElapsedTime(time.Until(deadline)),
	)
	if err != nil {
		// Retry returns the error of ctx if ctx ended while it waited.
		return nothing, last
	}
	return fetched, nil
}

// pauseUntil extends the pause to a time, unless it lasts longer already.
func (g *Gate) pauseUntil(end time.Time) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if end.After(g.pausedUntil) {
		g.pausedUntil = end
	}
}

// pauseEnd returns the end of the last pause, zero if there was none.
func (g *Gate) pauseEnd() time.Time {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.pausedUntil
}

// checkPause returns an error during a pause.
func (g *Gate) checkPause() error {
	end := g.pauseEnd()
	if !time.Now().Before(end) {
		return nil
	}
	return &Error{Reason: client.RateLimited, PausedUntil: end,
		Err: fmt.Errorf("the API wants no requests until %s", end.UTC().Format(time.RFC3339))}
}

// waitOutPause waits for the end of the pause. It reports false, at once, if ctx
// would end before.
func (g *Gate) waitOutPause(ctx context.Context) bool {
	end := g.pauseEnd()
	if deadline, ok := ctx.Deadline(); ok && !end.Before(deadline) {
		return false
	}
	select {
	case <-time.After(time.Until(end)):
		return true
	case <-ctx.Done():
		return false
	}
}
