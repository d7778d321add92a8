package collector

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// How often and how fast a fetch that failed for a transient cause is tried again.
const (
	maxTries      = 3
	firstInterval = 250 * time.Millisecond // half of it to one and a half
	nextInterval  = 2                      // times the one before
)

// try fetches and adds up the sessions of a chatbot, and does so again after a
// transient failure as long as ctx leaves time for it. The error is that of the
// last try.
func (s *Source) try(ctx context.Context, chatbot Chatbot, h *history) (Summary, error) {
	var last error
	deadline, _ := ctx.Deadline()
	summary, err := backoff.Retry(ctx, func() (Summary, error) {
		if err := s.pause.check(); err != nil {
			if last == nil {
				last = err
			}
			return Summary{}, backoff.Permanent(last)
		}
		var summary Summary
		summary, last = s.sum(ctx, chatbot, h)
		var failure *client.Error
		if errors.As(last, &failure) && !failure.Transient {
			s.pause.until(failure.RetryAt)
			return summary, backoff.Permanent(last)
		}
		return summary, last
	},
		backoff.WithBackOff(&backoff.ExponentialBackOff{
			InitialInterval:     firstInterval,
			RandomizationFactor: backoff.DefaultRandomizationFactor,
			Multiplier:          nextInterval,
			MaxInterval:         time.Minute,
		}),
		backoff.WithMaxTries(maxTries),
		backoff.WithMaxElapsedTime(time.Until(deadline)),
	)
	if err != nil {
		// Retry returns the context's error where that ended the wait for a next try.
		return Summary{}, last
	}
	return summary, nil
}
