package fetch

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Slots are given in the order of those who wait, never more than there are at the time, and
// one that is given to someone who has left goes to the next.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(2)
		var order []int
		begin := func(i int) {
			go func() {
				if s.acquire(t.Context()) == nil {
					order = append(order, i)
				}
			}()
			synctest.Wait()
		}
		want := func(step string, want ...int) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(order, want) {
				t.Fatalf("%s: %v have slots, want %v", step, order, want)
			}
		}
		begin(0)
		begin(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		left := make(chan error)
		go func() { left <- s.acquire(ctx) }()
		synctest.Wait()
		for i := 2; i < 7; i++ {
			begin(i)
		}
		want("two slots", 0, 1)
		if err := <-left; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		s.resize(3)
		want("a third slot", 0, 1, 2)
		s.resize(1)
		s.release()
		s.release()
		want("two slots less", 0, 1, 2)
		s.release()
		want("the last slot", 0, 1, 2, 3)
		s.resize(2)
		want("another", 0, 1, 2, 3, 4)
		s.resize(3)
		want("and another", 0, 1, 2, 3, 4, 5)
		s.resize(4)
		want("the last one", 0, 1, 2, 3, 4, 5, 6)
		ended, end := context.WithCancel(t.Context())
		end()
		if err := s.acquire(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		for range 4 { // three are released already
			s.release()
		}
		if s.used != 0 || s.waiting.Len() != 0 {
			t.Errorf("%d are used, %d wait", s.used, s.waiting.Len())
		}
	})
}
