// Package secret hides API keys in text, wherever a user put them by mistake.
package secret

import (
	"cmp"
	"context"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// minLength is the minimum length of a key that is looked for, in bytes. A shorter one
	// is in many ordinary words.
	minLength = 8
	// enough is how many bytes in a row of a key are hidden without the rest: names are cut,
	// and keys copied badly.
	enough = 16
	// maxKeys is how many keys are remembered: several for each of a thousand accounts.
	maxKeys = 10_000
)

// Keys are the API keys that the process has read. The zero value has none. It is safe
// for concurrent use.
type Keys struct {
	mutex sync.RWMutex
	keys  []string // the newest is last
	known map[string]bool
	// whole are the keys in lower case, by their start.
	whole map[start][]string
	// forms are the ways in which keys and their starts are written, in lower case, the
	// longest first, by their start. So looking for keys takes as long for a hundred accounts
	// as for one.
	forms map[start][]string
	// blocks are the parts of keys that begin at every minLength bytes, by their bytes. A run of
	// enough bytes of a key has at least one whole block.
	blocks map[start][]block
}

// block is a part of a key that begins at an offset.
type block struct {
	key    string // in lower case
	offset int
}

// start are the first bytes of a text, in lower case.
type start [minLength]byte

func startOf(text string) (s start) {
	for i := range s {
		s[i] = lower(text[i])
	}
	return s
}

// Add adds a key. When there are 10,000 keys, it forgets the older half of them; those that
// are still used are added again when they are read.
func (k *Keys) Add(key string) {
	if len(key) < minLength || k.isKnown(key) {
		return
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.known[key] {
		return
	}
	if k.known == nil || len(k.keys) == maxKeys {
		k.forget()
	}
	k.keys = append(k.keys, key)
	k.remember(key)
}

func (k *Keys) isKnown(key string) bool {
	k.mutex.RLock()
	defer k.mutex.RUnlock()
	return k.known[key]
}

// forget forgets the older half of the keys. It needs k.mutex.
func (k *Keys) forget() {
	k.keys = slices.Clone(k.keys[len(k.keys)/2:])
	k.known, k.whole, k.forms, k.blocks = map[string]bool{}, map[start][]string{}, map[start][]string{}, map[start][]block{}
	for _, key := range k.keys {
		k.remember(key)
	}
}

// remember needs k.mutex.
func (k *Keys) remember(key string) {
	k.known[key] = true
	lower := strings.ToLower(key)
	start := startOf(key)
	k.whole[start] = append(k.whole[start], lower)
	for offset := minLength; offset+minLength <= len(lower); offset += minLength {
		start := startOf(lower[offset:])
		k.blocks[start] = append(k.blocks[start], block{lower, offset})
	}
	longestFirst := func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) }
	for _, form := range append(formsOf(key), formsOf(key[:min(enough, len(key))])...) {
		start := startOf(form)
		if i, found := slices.BinarySearchFunc(k.forms[start], form, longestFirst); !found {
			k.forms[start] = slices.Insert(k.forms[start], i, form)
		}
	}
}

// formsOf returns the ways in which text is written in URLs and strings, in lower case, as
// hosts are shown.
func formsOf(text string) []string {
	quoted := strconv.Quote(text)
	forms := []string{text, url.PathEscape(text), url.QueryEscape(text), quoted[1 : len(quoted)-1]}
	for i := range forms {
		forms[i] = strings.ToLower(forms[i])
	}
	return forms
}

// lower returns a byte of ASCII in lower case. Keys have no other bytes.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// In reports whether text contains a key, in any case and with or without URL escapes.
func (k *Keys) In(text string) bool {
	text = strings.ToLower(text)
	plain, err := url.PathUnescape(text)
	k.mutex.RLock()
	defer k.mutex.RUnlock()
	return k.in(text) || err == nil && plain != text && k.in(plain)
}

// in reports whether text contains a key, both in lower case.
func (k *Keys) in(text string) bool {
	for ; len(text) >= minLength; text = text[1:] {
		if slices.ContainsFunc(k.whole[startOf(text)], func(key string) bool { return strings.HasPrefix(text, key) }) {
			return true
		}
	}
	return false
}

const hidden = "<key>"

// Hide returns text with <key> in place of each key.
func (k *Keys) Hide(text string) string {
	k.mutex.RLock()
	defer k.mutex.RUnlock()
	if len(k.keys) == 0 || len(text) < minLength {
		return text
	}
	var spans []span
	for i := 0; i+minLength <= len(text); i++ {
		found, ok := k.spanAt(text, i)
		if !ok {
			continue
		}
		for n := len(spans) - 1; n >= 0 && spans[n].end > found.begin; n-- {
			found = span{min(found.begin, spans[n].begin), max(found.end, spans[n].end)}
			spans = spans[:n]
		}
		spans = append(spans, found)
	}
	for _, s := range slices.Backward(spans) {
		text = text[:s.begin] + hidden + text[s.end:]
	}
	if plain, err := url.PathUnescape(text); err == nil && plain != text && k.in(strings.ToLower(plain)) {
		return hidden // where it is in the text cannot be told
	}
	return text
}

// span is a part of a text that is hidden.
type span struct{ begin, end int }

// spanAt returns the part of text to hide if a key, the start of one or a block begins at i.
func (k *Keys) spanAt(text string, i int) (found span, ok bool) {
	if n := k.keyAt(text[i:]); n > 0 {
		return span{i, i + n}, true
	}
	for _, b := range k.blocks[startOf(text[i:])] {
		run := span{i, i}
		for run.begin > 0 && run.begin > i-b.offset && lower(text[run.begin-1]) == b.key[b.offset-(i-run.begin)-1] {
			run.begin--
		}
		for run.end < len(text) && b.offset+run.end-i < len(b.key) && lower(text[run.end]) == b.key[b.offset+run.end-i] {
			run.end++
		}
		if run.end-run.begin >= enough && run.end-run.begin > found.end-found.begin {
			found, ok = run, true
		}
	}
	if ok {
		found.end += wordEnd(text[found.end:])
	}
	return found, ok
}

// wordEnd returns the length of the rest of a word.
func wordEnd(text string) int {
	if end := strings.IndexAny(text, " \t\n\r\f\v\"'\\,;<>"); end >= 0 {
		return end
	}
	return len(text)
}

// HideEnd is like Hide, for text that may have been cut: it also hides the start of a key,
// of four bytes or more, at the end.
func (k *Keys) HideEnd(text string) string {
	text = k.Hide(text)
	k.mutex.RLock()
	defer k.mutex.RUnlock()
	longest := 0
	for _, key := range k.keys {
		for n := min(len(key), len(text), enough); n >= 4 && n > longest; n-- {
			if strings.EqualFold(text[len(text)-n:], key[:n]) {
				longest = n
			}
		}
	}
	if longest == 0 {
		return text
	}
	return text[:len(text)-longest] + hidden
}

// keyAt returns the length of the key at the start of text, 0 if there is none. What follows
// the key, to the end of the word, is part of it.
func (k *Keys) keyAt(text string) int {
	for _, form := range k.forms[startOf(text)] {
		if len(text) >= len(form) && strings.EqualFold(text[:len(form)], form) {
			return len(form) + wordEnd(text[len(form):])
		}
	}
	return 0
}

// Watch returns a function that calls read and adds the key that it returns.
func (k *Keys) Watch(read func(context.Context) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		key, err := read(ctx)
		if err == nil {
			k.Add(key)
		}
		return key, err
	}
}

// Writer returns a writer that hides keys. Each Write must be a whole line.
func (k *Keys) Writer(w io.Writer) io.Writer { return &writer{k, w} }

type writer struct {
	keys *Keys
	out  io.Writer
}

func (w *writer) Write(line []byte) (int, error) {
	if _, err := io.WriteString(w.out, w.keys.Hide(string(line))); err != nil {
		return 0, err
	}
	return len(line), nil
}
