package accounts

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A file that cannot be read in time fails with the fetch. Later fetches wait for the same
// read and succeed once it ends.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		key := bounded(func() (string, error) {
			reads++
			time.Sleep(time.Minute)
			return "key", nil
		})
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			begun := time.Now()
			if got, err := key(ctx); got != "" || !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 10*time.Second {
				t.Errorf("got %q, %v after %v", got, err, time.Since(begun))
			}
			cancel()
		}
		if got, err := key(t.Context()); got != "key" || err != nil || reads != 1 {
			t.Errorf("got %q, %v after %d reads", got, err, reads)
		}
	})
}
