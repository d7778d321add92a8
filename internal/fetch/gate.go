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
	lru "github.com/hashicorp/golang-lru/v2"

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
	slots *slots
	// doubtful are half of the slots: as many as chatbots may take that are unverified and
	// never succeeded, or that timed out last time. If they hang, they leave the others
	// the rest.
	doubtful *slots
	budget   budget
	// open ends when the gate is closed.
	open  context.Context
	close context.CancelFunc

	mutex       sync.Mutex
	limits      limits
	paused      pause                     // of the account
	pauses      *lru.Cache[string, pause] // by the key given to [Do]
	listRefused bool                      // whether the last answer to the list of chatbots refused the key
}

// limits are what a user can change while a Gate is in use.
type limits struct {
	concurrency int
	timeout     time.Duration
}

// errClosed is the cause of the end of a fetch by [Gate.Close].
var errClosed = errors.New("the account was removed")

// pause is a time without requests.
type pause struct {
	end    time.Time // with a monotonic clock reading
	reason client.Reason
}

// orLater returns the pause that ends later, p if both end at the same time.
func (p pause) orLater(other pause) pause {
	if other.end.After(p.end) {
		return other
	}
	return p
}

// NewGate returns a Gate for up to concurrency fetches at a time, each of which may
// take up to timeout, including its retries.
func NewGate(concurrency int, timeout time.Duration) *Gate {
	pauses, _ := lru.New[string, pause](maxStates) // fails only for sizes below 1
	g := &Gate{
		slots: newSlots(concurrency), doubtful: newSlots(doubtfulSlots(concurrency)), budget: budget{newFailureLimiter()},
		limits: limits{concurrency, timeout}, pauses: pauses,
	}
	g.open, g.close = context.WithCancel(context.Background())
	return g
}

// SetLimits changes concurrency and timeout; see [NewGate]. Fetches under way go on with the
// timeout they began with.
func (g *Gate) SetLimits(concurrency int, timeout time.Duration) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.limits = limits{concurrency, timeout}
	g.slots.resize(concurrency)
	g.doubtful.resize(doubtfulSlots(concurrency))
}

func doubtfulSlots(concurrency int) int { return max(1, concurrency/2) }

func (g *Gate) currentLimits() limits {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.limits
}

// timeout returns the maximum duration of a fetch that begins now.
func (g *Gate) timeout() time.Duration { return g.currentLimits().timeout }

// Close ends all fetches. None begins any more. They count as not tried.
func (g *Gate) Close() { g.close() }

func (g *Gate) isClosed() bool { return g.open.Err() != nil }

// untilClosed returns a context that also ends when the gate is closed.
func (g *Gate) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(g.open, func() { cancel(errClosed) })
	if g.isClosed() {
		cancel(errClosed) // now, not in a goroutine
	}
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// forFetch returns the context of a fetch that begins now.
func (g *Gate) forFetch(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := g.untilClosed(ctx)
	ctx, cancel := context.WithTimeout(ctx, g.timeout())
	return ctx, func() {
		cancel()
		stop()
	}
}

// Do waits for a slot and then calls fetch, again after transient failures. It fails
// at once during a pause of the account or of key. It returns the error of fetch, or an
// [*Error] if fetch was not called or began a pause.
func Do[T any](ctx context.Context, g *Gate, key string, fetch func(context.Context) (T, error)) (T, error) {
	return withSlot(ctx, g, func(ctx context.Context) (T, error) { return try(ctx, g, key, fetch) })
}

// DoPatiently is like [Do], but waits for the end of a pause, unless the timeout of
// the fetch would pass before.
func DoPatiently[T any](ctx context.Context, g *Gate, key string, fetch func(context.Context) (T, error)) (T, error) {
	return withSlot(ctx, g, func(ctx context.Context) (T, error) {
		for {
			fetched, err := try(ctx, g, key, fetch)
			if until := PausedUntil(err); until.IsZero() || !sleepUntil(ctx, until) {
				return fetched, err
			}
		}
	})
}

// doOnce waits for a slot and then calls fetch once. It fails at once during a pause of
// the account, and begins none.
func doOnce[T any](ctx context.Context, g *Gate, fetch func(context.Context) (T, error)) (T, error) {
	return withSlot(ctx, g, func(ctx context.Context) (T, error) {
		if err := g.checkPause(""); err != nil {
			var nothing T
			return nothing, err
		}
		return fetch(ctx)
	})
}

// withSlot calls f with a slot and the timeout of the gate.
func withSlot[T any](ctx context.Context, g *Gate, f func(context.Context) (T, error)) (T, error) {
	if err := g.acquire(ctx); err != nil {
		var nothing T
		return nothing, err
	}
	defer g.release()
	ctx, cancel := g.forFetch(ctx)
	defer cancel()
	return f(ctx)
}

// acquire waits for a slot. Each success must be followed by a release.
func (g *Gate) acquire(ctx context.Context) error {
	ctx, stop := g.untilClosed(ctx)
	defer stop()
	if err := g.slots.acquire(ctx); err != nil {
		return g.noSlot(err)
	}
	return nil
}

func (g *Gate) release() { g.slots.release() }

// noSlot returns the error of a fetch that did not get a slot in time.
func (g *Gate) noSlot(cause error) error {
	return &Error{Reason: client.Timeout, Err: fmt.Errorf("waiting for one of %d request slots: %w", g.currentLimits().concurrency, cause)}
}

// try calls fetch, again after transient failures while ctx, which has a deadline,
// leaves time. The error is that of the last call.
func try[T any](ctx context.Context, g *Gate, key string, fetch func(context.Context) (T, error)) (T, error) {
	var nothing T
	var last error
	deadline, _ := ctx.Deadline()
	fetched, err := backoff.Retry(ctx, func() (T, error) {
		if err := g.checkPause(key); err != nil {
			if last == nil {
				last = err
			}
			return nothing, backoff.Permanent(last)
		}
		var fetched T
		fetched, last = fetch(ctx)
		last = g.pauseAfter(key, last)
		var failure *client.Error
		if isPaused(last) || errors.As(last, &failure) && !failure.Transient {
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

// pauseAfter begins the pause that a failed request asks for: of the account after 429,
// of key after 503. It returns err, with the end of the pause if there is one.
func (g *Gate) pauseAfter(key string, err error) error {
	var failure *client.Error
	if !errors.As(err, &failure) || failure.RetryAfter <= 0 {
		return err
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	next := pause{time.Now().Add(failure.RetryAfter), failure.Reason}
	if failure.Reason == client.RateLimited {
		g.paused = g.paused.orLater(next)
		next = g.paused
	} else {
		current, _ := g.pauses.Get(key)
		next = current.orLater(next)
		g.pauses.Add(key, next)
	}
	return &Error{Reason: failure.Reason, PausedUntil: next.end, Err: err}
}

// errPaused is the cause of an [Error] without a request.
var errPaused = errors.New("requests are paused")

// checkPause returns an error during a pause of the account or of key.
func (g *Gate) checkPause(key string) error {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	own, _ := g.pauses.Get(key)
	p := g.paused.orLater(own)
	if !time.Now().Before(p.end) {
		return nil
	}
	return &Error{Reason: p.reason, PausedUntil: p.end,
		Err: fmt.Errorf("%w until %s", errPaused, p.end.UTC().Format(time.RFC3339))}
}

// sleepUntil waits until a time. It reports false, at once, if ctx would end before.
func sleepUntil(ctx context.Context, at time.Time) bool {
	if deadline, ok := ctx.Deadline(); ok && !at.Before(deadline) {
		return false
	}
	select {
	case <-time.After(time.Until(at)):
		return true
	case <-ctx.Done():
		return false
	}
}

// noteList notes the outcome of a fetch of the list of chatbots.
func (g *Gate) noteList(err error) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if err == nil || StatusOf(err) != 0 {
		g.listRefused = isRefused(err)
	}
}

// checkRefusals returns an error if too many answers of a scrape refused the key.
func (g *Gate) checkRefusals(r *refusals) error {
	g.mutex.Lock()
	maximum := maxRefusals
	if g.listRefused {
		maximum = 1
	}
	g.mutex.Unlock()
	if !r.exceed(maximum) {
		return nil
	}
	return &Error{Reason: client.Unauthorized, Err: errRefused}
}
