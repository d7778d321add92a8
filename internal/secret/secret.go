// Package secret hides API keys in text, wherever a user put them by mistake.
package secret

import (
	"context"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// minLength is the minimum length of a key that is looked for, in bytes. A shorter one
	// is in many ordinary words.
	minLength = 8
	// enough is how many bytes of the start of a key are hidden without the rest: long names
	// are cut.
	enough = 16
	// maxKeys is how many keys are remembered.
	maxKeys = 8
)

// Keys are the API keys that the process has read. The zero value has none. It is safe
// for concurrent use.
type Keys struct {
	adding  sync.Mutex
	current atomic.Pointer[keySet]
}

// keySet is a set of keys that is not modified.
type keySet struct {
	keys    []string // the newest is last
	pattern *regexp.Regexp
}

// Add adds a key. Of more than eight keys, it forgets the oldest.
func (k *Keys) Add(key string) {
	if len(key) < minLength || slices.Contains(k.keys(), key) {
		return
	}
	k.adding.Lock()
	defer k.adding.Unlock()
	keys := append(slices.Clone(k.keys()), key)
	keys = keys[max(0, len(keys)-maxKeys):]
	var forms []string
	for _, key := range keys {
		forms = append(forms, formsOf(key)...)
	}
	for _, key := range keys {
		forms = append(forms, formsOf(key[:min(enough, len(key))])...)
	}
	// Hosts are shown in lower case. What follows is hidden too, to the end of the word.
	pattern := regexp.MustCompile(`(?i:` + strings.Join(forms, "|") + `)[^\s"'\\,;<>]*`)
	k.current.Store(&keySet{keys, pattern})
}

// formsOf returns patterns for the ways in which text is written in URLs and strings.
func formsOf(text string) []string {
	quoted := strconv.Quote(text)
	forms := []string{text, url.PathEscape(text), url.QueryEscape(text), quoted[1 : len(quoted)-1]}
	slices.Sort(forms)
	forms = slices.Compact(forms)
	for i := range forms {
		forms[i] = regexp.QuoteMeta(forms[i])
	}
	return forms
}

func (k *Keys) keys() []string {
	if set := k.current.Load(); set != nil {
		return set.keys
	}
	return nil
}

// In reports whether text contains a key, in any case and with or without URL escapes.
func (k *Keys) In(text string) bool {
	text = strings.ToLower(text)
	plain, err := url.PathUnescape(text)
	return slices.ContainsFunc(k.keys(), func(key string) bool {
		key = strings.ToLower(key)
		return strings.Contains(text, key) || err == nil && strings.Contains(plain, key)
	})
}

const hidden = "<key>"

// Hide returns text with <key> in place of each key.
func (k *Keys) Hide(text string) string {
	// Replacing allocates even if there is nothing to replace.
	if set := k.current.Load(); set != nil && len(text) >= minLength && set.pattern.MatchString(text) {
		return set.pattern.ReplaceAllLiteralString(text, hidden)
	}
	return text
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
	shown := line
	if set := w.keys.current.Load(); set != nil {
		shown = set.pattern.ReplaceAllLiteral(line, []byte(hidden))
	}
	if _, err := w.out.Write(shown); err != nil {
		return 0, err
	}
	return len(line), nil
}
