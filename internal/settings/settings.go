// Package settings reads the values of flags and of their environment variables.
// A value that cannot be used is an error that names both and says what to do. It
// does not quote the value, which may be an API key in the wrong place.
package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"
)

// value is a [kingpin.Value] whose errors name the flag.
type value[T any] struct {
	flag  *kingpin.FlagClause
	parse func(string) (T, error)
	text  string
	value T
}

func (v *value[T]) String() string { return v.text }

func (v *value[T]) Set(text string) error {
	parsed, err := v.parse(text)
	if err != nil {
		return Error(v.flag, err)
	}
	v.text, v.value = text, parsed
	return nil
}

// Error returns an error about the value of a flag, which names the flag and its
// environment variable.
func Error(flag *kingpin.FlagClause, err error) error {
	if variable := flag.Model().Envar; variable != "" {
		return fmt.Errorf("--%s (%s): %w", flag.Model().Name, variable, err)
	}
	return fmt.Errorf("--%s: %w", flag.Model().Name, err)
}

// parsed makes the flag take what parse accepts.
func parsed[T any](flag *kingpin.FlagClause, parse func(string) (T, error)) *T {
	v := &value[T]{flag: flag, parse: parse}
	flag.SetValue(v)
	return &v.value
}

// OneOf makes flag take one of words.
func OneOf(flag *kingpin.FlagClause, words ...string) *string {
	flag.HintOptions(words...)
	return parsed(flag, func(text string) (string, error) {
		if !slices.Contains(words, text) {
			return "", fmt.Errorf("must be one of: %s", strings.Join(words, ", "))
		}
		return text, nil
	})
}

// Text makes flag take any text that check accepts.
func Text(flag *kingpin.FlagClause, check func(string) error) *string {
	return parsed(flag, func(text string) (string, error) {
		if err := check(text); err != nil {
			return "", err
		}
		return text, nil
	})
}

// switched is a [kingpin.Value] of a flag that needs no value on the command line.
type switched struct{ *value[bool] }

// IsBoolFlag tells kingpin so.
func (switched) IsBoolFlag() bool { return true }

// Bool makes flag a switch; its environment variable takes true or false.
func Bool(flag *kingpin.FlagClause) *bool {
	v := &value[bool]{flag: flag, text: "false", parse: func(text string) (bool, error) {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return false, errors.New("must be true or false")
		}
		return on, nil
	}}
	flag.SetValue(switched{v})
	return &v.value
}

// Int makes flag take a whole number of at least least.
func Int(flag *kingpin.FlagClause, least int) *int {
	return parsed(flag, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < least {
			return 0, fmt.Errorf("must be a whole number, %d or more", least)
		}
		return n, nil
	})
}

// Duration makes flag take a duration of at least least, in the spelling of Go
// (1.5s, 1h30m) or of Prometheus (1d).
func Duration(flag *kingpin.FlagClause, least time.Duration) *time.Duration {
	return parsed(flag, func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil {
			var days model.Duration
			days, err = model.ParseDuration(text)
			d = time.Duration(days)
		}
		switch {
		case err != nil:
			return 0, errors.New("must be a duration, such as 500ms, 30s or 5m")
		case d < least:
			return 0, fmt.Errorf("is too short; the least is %s", least)
		}
		return d, nil
	})
}

// BaseURL makes flag take the base URL of an API, http or https.
func BaseURL(flag *kingpin.FlagClause) **url.URL {
	return parsed(flag, func(text string) (*url.URL, error) {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			return nil, errors.New("not a URL; write it like https://app.chatwize.ai")
		case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
			return nil, errors.New("not an http or https URL; write it like https://app.chatwize.ai")
		case u.User != nil:
			return nil, errors.New("holds a user name or password; the API takes a key only, from --chatwize.token-file")
		case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/api/v1"):
			return nil, errors.New("holds the API's own path; leave out /api/v1")
		case u.RawQuery != "", u.Fragment != "":
			return nil, errors.New("holds a query or fragment; write host and path alone, like https://app.chatwize.ai")
		}
		return u, nil
	})
}

// IsPlaintext tells whether what is sent to u can be read on the way.
func IsPlaintext(u *url.URL) bool {
	host := u.Hostname()
	address, err := netip.ParseAddr(host)
	loopback := strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
	return u.Scheme == "http" && !loopback
}
