package fetch

import (
	"errors"
	"net/http"
	"time"

	"golang.org/x/time/rate"
)

// ErrNoBudget is the error of a fetch of an unverified chatbot without budget.
var ErrNoBudget = errors.New("too many fetches of unknown chatbots failed")

// budget limits failed fetches of unverified chatbots, so that probes of random UUIDs cause
// few requests. It is safe for concurrent use.
type budget struct{ failures *rate.Limiter }

// newFailureLimiter returns a limiter of ten failures that gains one each six seconds.
func newFailureLimiter() *rate.Limiter { return rate.NewLimiter(rate.Every(6*time.Second), 10) }

// check returns an error if there is no budget.
func (b budget) check() error {
	if b.failures.Tokens() < 1 {
		return ErrNoBudget
	}
	return nil
}

// spend spends budget if the API answered that there is no such chatbot for the key. Other
// failures hold nobody back.
func (b budget) spend(err error) {
	switch StatusOf(err) {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity:
		b.failures.Reserve() // concurrent failures may take it below zero
	}
}
