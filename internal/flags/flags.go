// Package flags makes kingpin flags write into variables. Errors about a value name the
// flag and its environment variable and say what to do. They do not quote the value,
// which may be an API key in the wrong place.
package flags

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/chatwize-exporter/chatwize_exporter/internal/setting"
)

// value is a [kingpin.Value] that writes what parse returns into a variable.
type value[T any] struct {
	flag  *kingpin.FlagClause
	into  *T
	parse func(string) (T, error)
	text  string
}

func (v *value[T]) String() string { return v.text }

func (v *value[T]) Set(text string) error {
	parsed, err := v.parse(text)
	if err != nil {
		return Error(v.flag, err)
	}
	v.text, *v.into = text, parsed
	return nil
}

// valueError is an error that does not quote the value.
type valueError struct{ error }

func (e valueError) Unwrap() error { return e.error }

// Error returns an error about the value of a flag, which names the flag and its
// environment variable. err must quote only what [setting.Quotable] allows.
func Error(flag *kingpin.FlagClause, err error) error {
	if variable := flag.Model().Envar; variable != "" {
		return valueError{fmt.Errorf("--%s (%s): %w", flag.Model().Name, variable, err)}
	}
	return valueError{fmt.Errorf("--%s: %w", flag.Model().Name, err)}
}

// set makes flag write what parse returns into a variable.
func set[T any](flag *kingpin.FlagClause, into *T, parse func(string) (T, error)) {
	flag.SetValue(&value[T]{flag: flag, into: into, parse: parse})
}

// OneOf makes flag accept one of words.
func OneOf(flag *kingpin.FlagClause, into *string, words ...string) {
	flag.HintOptions(words...)
	set(flag, into, func(text string) (string, error) {
		if !slices.Contains(words, text) {
			return "", fmt.Errorf("must be one of: %s", strings.Join(words, ", "))
		}
		return text, nil
	})
}

// Text makes flag accept any text for which check returns no error.
func Text(flag *kingpin.FlagClause, into *string, check func(string) error) {
	set(flag, into, func(text string) (string, error) { return text, check(text) })
}

// texts is a [kingpin.Value] of a repeatable flag.
type texts struct {
	flag  *kingpin.FlagClause
	into  *[]string
	check func(string) error
}

// Texts makes flag repeatable and accept any texts for which check returns no error.
func Texts(flag *kingpin.FlagClause, into *[]string, check func(string) error) {
	*into = nil
	flag.SetValue(&texts{flag, into, check})
}

// String returns nothing, so that the help shows the default of the flag.
func (t *texts) String() string { return "" }

// IsCumulative reports true, to kingpin: the flag may be repeated.
func (t *texts) IsCumulative() bool { return true }

// Set adds a text.
func (t *texts) Set(text string) error {
	if err := t.check(text); err != nil {
		return Error(t.flag, err)
	}
	*t.into = append(*t.into, text)
	return nil
}

// boolean is a [kingpin.Value] of a flag that needs no value on the command line.
type boolean struct{ *value[bool] }

// IsBoolFlag reports true, to kingpin.
func (boolean) IsBoolFlag() bool { return true }

// Bool makes flag a boolean flag. Its environment variable accepts true or false; see
// [Parse] for values on the command line.
func Bool(flag *kingpin.FlagClause, into *bool) {
	flag.SetValue(boolean{&value[bool]{flag: flag, into: into, text: "false", parse: func(text string) (bool, error) {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return false, errors.New("must be true or false")
		}
		return on, nil
	}}})
}

// Int makes flag accept a whole number, not below minimum.
func Int(flag *kingpin.FlagClause, into *int, minimum int) {
	set(flag, into, func(text string) (int, error) { return setting.WholeNumber(text, minimum) })
}

// Duration makes flag accept a duration, not below minimum; see [setting.Duration].
func Duration(flag *kingpin.FlagClause, into *time.Duration, minimum time.Duration) {
	set(flag, into, func(text string) (time.Duration, error) { return setting.Duration(text, minimum) })
}

// BaseURL makes flag accept the base URL of an API; see [setting.BaseURL].
func BaseURL(flag *kingpin.FlagClause, into **url.URL, keySetting string) {
	set(flag, into, func(text string) (*url.URL, error) { return setting.BaseURL(text, keySetting) })
}

// Pattern makes flag accept a regular expression; see [setting.Pattern].
func Pattern(flag *kingpin.FlagClause, into **regexp.Regexp) { set(flag, into, setting.Pattern) }
