package client

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxName is the maximum length of a chatbot's name in characters.
const MaxName = 128

// CleanName returns the name of a chatbot as it is shown: without white space around it, at
// most 128 characters, control characters and what is not UTF-8 replaced by U+FFFD.
func CleanName(name string) string {
	var clean strings.Builder
	n := 0
	for _, r := range strings.TrimSpace(name) {
		if n == MaxName {
			break
		}
		n++
		if unicode.IsControl(r) {
			r = utf8.RuneError
		}
		clean.WriteRune(r)
	}
	return clean.String()
}
