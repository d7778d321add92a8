package backfill

import "slices"

// times are moments in Unix nanoseconds, 8 bytes each. They lie in blocks that grow
// with what is there, so that none is ever copied and at most a third of the memory
// is unused.
type times struct {
	blocks [][]int64
	n      int
}

func (t *times) add(at int64) {
	last := len(t.blocks) - 1
	if last < 0 || len(t.blocks[last]) == cap(t.blocks[last]) {
		t.blocks = append(t.blocks, make([]int64, 0, max(8, t.n/2)))
		last++
	}
	t.blocks[last] = append(t.blocks[last], at)
	t.n++
}

// sort makes cursors possible. The blocks stay apart: what counts them does not mind.
func (t *times) sort() {
	for _, block := range t.blocks {
		slices.Sort(block)
	}
}

// cursor goes through sorted times.
type cursor [][]int64

func (t *times) cursor() cursor { return slices.Clone(t.blocks) }

// advance returns how many times there are up to and including a moment that were
// not passed before, and the latest of them.
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
