package tally

import (
	"math"
	"slices"
)

// times is a set of moments in Unix nanoseconds, 8 bytes each. Blocks grow with the
// number of moments, so that none is copied and at most a third of the memory is
// unused.
type times struct {
	blocks [][]int64
	n      int
	sorted bool
}

func (t *times) add(at int64) {
	last := len(t.blocks) - 1
	if last < 0 || len(t.blocks[last]) == cap(t.blocks[last]) {
		t.blocks = append(t.blocks, make([]int64, 0, max(8, t.n/2)))
		last++
	}
	t.blocks[last] = append(t.blocks[last], at)
	t.n++
	t.sorted = false
}

// least returns the first moment, or [math.MaxInt64] if there is none.
func (t *times) least() int64 {
	t.sort()
	least := int64(math.MaxInt64)
	for _, block := range t.blocks {
		least = min(least, block[0])
	}
	return least
}

// sort sorts each block; counting does not need the blocks in order.
func (t *times) sort() {
	if t.sorted {
		return
	}
	for _, block := range t.blocks {
		slices.Sort(block)
	}
	t.sorted = true
}

// cursor walks through moments in ascending order.
type cursor [][]int64

func (t *times) cursor() cursor {
	t.sort()
	return slices.Clone(t.blocks)
}

// advance moves the cursor behind a moment. It returns how many moments it passed,
// and the latest of them.
func (c cursor) advance(until int64) (n int, latest int64) {
	for i, block := range c {
		k := 0
		for k < len(block) && block[k] <= until {
			k++
		}
		if k > 0 {
			latest = max(latest, block[k-1])
			n += k
			c[i] = block[k:]
		}
	}
	return n, latest
}
