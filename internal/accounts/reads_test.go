package accounts

import (
	"context"
	"errors"
	"strconv"
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
		key := new(Reads).bounded("key", func() (string, error) {
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

// Callers that leave at once, and new functions for the same file as after each reload, leave
// no more reads that hang. Nothing is kept once they have ended.
func TestReadsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads Reads
		var running atomic.Int32
		hang := func() (string, error) {
			running.Add(1)
			time.Sleep(time.Hour)
			return "key", nil
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		for range 1000 {
			if got, err := reads.bounded("key", hang)(gone); got != "" || !errors.Is(err, context.Canceled) {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		other, err := reads.bounded("other", func() (string, error) { return "other", nil })(t.Context())
		if other != "other" || err != nil {
			t.Errorf("another file: got %q, %v", other, err)
		}
		synctest.Wait()
		if n := running.Load(); n != maxHangingReads {
			t.Errorf("%d reads hang", n)
		}
		time.Sleep(2 * time.Hour)
		reads.mutex.Lock()
		defer reads.mutex.Unlock()
		if len(reads.files) != 0 {
			t.Errorf("%d files are kept", len(reads.files))
		}
	})
}

// A read that has ended is not shared: the file may have changed.
func TestReadsAreNew(t *testing.T) {
	var reads Reads
	n := 0
	count := reads.bounded("n", func() (string, error) {
		n++
		return strconv.Itoa(n), nil
	})
	for i := range 10_000 {
		if got, err := count(t.Context()); got != strconv.Itoa(i+1) || err != nil {
			t.Fatalf("got %s, %v, want %d", got, err, i+1)
		}
	}
}
