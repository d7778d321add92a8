package tally

import "sort"

// blockSize is the number of moments in a full block: 64 KiB.
const blockSize = 1 << 13

// times is a list of moments in Unix nanoseconds, 8 bytes each. It grows by blocks, so
// that no long list is copied.
type times struct {
	blocks [][]int64 // all but the last are full
	n      int
	sorted bool
}

func (t *times) add(at int64) {
	switch {
	case t.n == 0:
		t.blocks = append(t.blocks, nil) // few chatbots fill a block
	case t.n%blockSize == 0:
		t.blocks = append(t.blocks, make([]int64, 0, blockSize))
	}
	last := len(t.blocks) - 1
	t.blocks[last] = append(t.blocks[last], at)
	t.n++
	t.sorted = false
}

func (t *times) at(i int) int64 { return t.blocks[i/blockSize][i%blockSize] }

func (t *times) sort() {
	if !t.sorted {
		sort.Sort(inPlace{t})
		t.sorted = true
	}
}

// before returns the number of moments before a time. It is fast if the number is guess
// or a little more. The moments must be sorted.
func (t *times) before(at int64, guess int) int {
	const near = 8
	if guess > 0 && t.at(guess-1) >= at {
		return sort.Search(guess-1, func(i int) bool { return t.at(i) >= at })
	}
	for end := min(guess+near, t.n); guess < end; guess++ {
		if t.at(guess) >= at {
			return guess
		}
	}
	return guess + sort.Search(t.n-guess, func(i int) bool { return t.at(guess+i) >= at })
}

// inPlace sorts moments without other memory.
type inPlace struct{ *times }

func (s inPlace) Len() int           { return s.n }
func (s inPlace) Less(i, j int) bool { return s.at(i) < s.at(j) }
func (s inPlace) Swap(i, j int) {
	a, b := &s.blocks[i/blockSize][i%blockSize], &s.blocks[j/blockSize][j%blockSize]
	*a, *b = *b, *a
}
