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

// try fetches, and does so again after a transient failure as long as ctx, which
// has a deadline, leaves time for it. The error is that of the last try.
func try[T any](ctx context.Context, pause *pause, fetch func() (T, error)) (T, error) {
	var nothing T
	var last error
	deadline, _ := ctx.Deadline()
	fetched, err := backoff.Retry(ctx, func() (T, error) {
		if err := pause.check(); err != nil {
			if last == nil {
				last = err
			}
			return nothing, backoff.Permanent(last)
		}
		var fetched T
		fetched, last = fetch()
		var failure *client.Error
		if errors.As(last, &failure) && !failure.Transient {
			pause.until(failure.RetryAt)
			return fetched, backoff.Permanent(last)
		}
		return fetched, last
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
		return nothing, last
	}
	return fetched, nil
}
