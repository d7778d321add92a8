package fetch

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// ErrNoBudget is the error of a fetch of an unverified chatbot without budget.
var ErrNoBudget = errors.New("too many fetches of unknown chatbots failed")

// budget limits the fetches of chatbots that nobody knows and that never succeeded, so
// that whoever probes for chatbots at random does not spend the API's patience. It is safe
// for concurrent use.
type budget struct {
	failures *rate.Limiter
	// slots are half of the request slots. While such fetches succeed, they may take all.
	slots     *semaphore.Weighted
	succeeded atomic.Bool // whether the last one did
}

// newBudget returns the budget of a gate with a number of slots.
func newBudget(slots int) *budget {
	return &budget{failures: newFailureLimiter(), slots: semaphore.NewWeighted(int64(max(1, slots/2)))}
}

// newFailureLimiter returns a limiter of ten failures that gains one each six seconds.
func newFailureLimiter() *rate.Limiter { return rate.NewLimiter(rate.Every(6*time.Second), 10) }

// check returns an error if there is no budget.
func (b *budget) check() error {
	if b.failures.Tokens() < 1 {
		return ErrNoBudget
	}
	return nil
}

// acquire waits until a fetch may wait for a request slot.
func (b *budget) acquire(ctx context.Context) (release func(), err error) {
	if b.succeeded.Load() {
		return func() {}, nil
	}
	if b.slots.Acquire(ctx, 1) != nil {
		return nil, context.Cause(ctx)
	}
	return func() { b.slots.Release(1) }, nil
}

// spend spends budget if the API answered that there is no such chatbot for the key. Other
// failures hold nobody back.
func (b *budget) spend(err error) {
	b.succeeded.Store(err == nil)
	switch StatusOf(err) {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity:
		b.failures.Reserve() // concurrent failures may take it below zero
	}
}
