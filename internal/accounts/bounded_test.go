package accounts

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A file that cannot be read in time fails with the fetch. Later fetches read anew, as the
// file may be another, up to a limit of reads that hang.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int32
		key := bounded(func() (string, error) {
			reads.Add(1)
			time.Sleep(10 * time.Minute)
			return "key", nil
		})
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			begun := time.Now()
			if got, err := key(ctx); got != "" || !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 10*time.Second {
				t.Errorf("got %q, %v after %v", got, err, time.Since(begun))
			}
			cancel()
		}
		if n := reads.Load(); n != maxHangingReads {
			t.Errorf("%d reads hang", n)
		}
		if got, err := key(t.Context()); got != "key" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		time.Sleep(10 * time.Minute) // until all reads have ended
	})
}
