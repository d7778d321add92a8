package flags

import (
	"os"
	"regexp"
)

// word is a text that is no API key: keys are longer or have capital letters.
var word = regexp.MustCompile(`^[a-z0-9._-]{1,40}$`)

// Quotable reports whether an error may quote text, which a user gave or wrote into a
// file: whether it is a short word without capital letters, or a path that exists. Any
// other text may be an API key in the wrong place.
func Quotable(text string) bool {
	if word.MatchString(text) {
		return true
	}
	_, err := os.Stat(text)
	return err == nil
}
