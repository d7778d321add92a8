package fetch

import (
	queue "container/list"
	"context"
	"sync"
)

// slots is a semaphore whose size can change while it is in use. Waiting callers get slots in
// order. [golang.org/x/sync/semaphore] has a fixed size.
type slots struct {
	mutex   sync.Mutex
	size    int
	used    int        // more than size for a while after it shrank
	waiting queue.List // of chan struct{}, closed when its slot is free
}

func newSlots(size int) *slots { return &slots{size: size} }

// acquire waits for a slot until ctx ends. Each success must be followed by a release.
func (s *slots) acquire(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mutex.Lock()
	if s.used < s.size && s.waiting.Len() == 0 {
		s.used++
		s.mutex.Unlock()
		return nil
	}
	free := make(chan struct{})
	place := s.waiting.PushBack(free)
	s.mutex.Unlock()
	select {
	case <-free:
		if ctx.Err() == nil {
			return nil
		}
		s.release() // both happened
	case <-ctx.Done():
		if !s.leave(place, free) {
			s.release()
		}
	}
	return context.Cause(ctx)
}

// leave gives up a place among those who wait. It reports false if the slot is there.
func (s *slots) leave(place *queue.Element, free <-chan struct{}) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	select {
	case <-free:
		return false
	default:
		s.waiting.Remove(place)
		return true
	}
}

func (s *slots) release() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.used--
	s.grant()
}

// resize changes the number of slots. Those in use above a smaller number stay in use.
func (s *slots) resize(size int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.size = size
	s.grant()
}

// grant gives free slots to those who wait. It needs s.mutex.
func (s *slots) grant() {
	for s.used < s.size && s.waiting.Len() > 0 {
		s.used++
		close(s.waiting.Remove(s.waiting.Front()).(chan struct{}))
	}
}
