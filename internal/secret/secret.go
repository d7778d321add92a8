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
	// enough is how many bytes of the start of a key are hidden without the rest: long names
	// are cut.
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
	k.known, k.whole, k.forms = map[string]bool{}, map[start][]string{}, map[start][]string{}
	for _, key := range k.keys {
		k.remember(key)
	}
}

// remember needs k.mutex.
func (k *Keys) remember(key string) {
	k.known[key] = true
	start := startOf(key)
	k.whole[start] = append(k.whole[start], strings.ToLower(key))
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
	var shown strings.Builder
	rest := 0 // of text, that is not in shown
	for i := 0; i+minLength <= len(text); i++ {
		if n := k.keyAt(text[i:]); n > 0 {
			shown.WriteString(text[rest:i] + hidden)
			rest = i + n
			i = rest - 1
		}
	}
	if rest == 0 {
		return text
	}
	return shown.String() + text[rest:]
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
			if end := strings.IndexAny(text[len(form):], " \t\n\r\f\v\"'\\,;<>"); end >= 0 {
				return len(form) + end
			}
			return len(text)
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
