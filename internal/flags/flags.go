// Package flags makes kingpin flags write into variables. Errors about a value name the
// flag and its environment variable and say what to do. They do not quote the value,
// which may be an API key in the wrong place.
package flags

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

// Error returns an error about the value of a flag, which names the flag and its
// environment variable.
func Error(flag *kingpin.FlagClause, err error) error {
	if variable := flag.Model().Envar; variable != "" {
		return fmt.Errorf("--%s (%s): %w", flag.Model().Name, variable, err)
	}
	return fmt.Errorf("--%s: %w", flag.Model().Name, err)
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

// boolean is a [kingpin.Value] of a flag that needs no value on the command line.
type boolean struct{ *value[bool] }

// IsBoolFlag reports true, to kingpin.
func (boolean) IsBoolFlag() bool { return true }

// Bool makes flag a boolean flag. Its environment variable accepts true or false; see
// [Arguments] for values on the command line.
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
	set(flag, into, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < minimum {
			return 0, fmt.Errorf("must be a whole number, minimum %d", minimum)
		}
		return n, nil
	})
}

// Duration makes flag accept a duration, not below minimum, as Go writes it (1.5s,
// 1h30m) or as Prometheus does (1d).
func Duration(flag *kingpin.FlagClause, into *time.Duration, minimum time.Duration) {
	set(flag, into, func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil {
			var days model.Duration
			days, err = model.ParseDuration(text)
			d = time.Duration(days)
		}
		switch {
		case err != nil:
			return 0, errors.New("must be a duration, such as 500ms, 30s or 5m")
		case d < minimum:
			return 0, fmt.Errorf("is too short; minimum %s", minimum)
		}
		return d, nil
	})
}

// BaseURL makes flag accept the base URL of an API, http or https. White space around it
// is ignored.
func BaseURL(flag *kingpin.FlagClause, into **url.URL) {
	set(flag, into, func(text string) (*url.URL, error) {
		u, err := url.Parse(strings.TrimSpace(text))
		switch {
		case err != nil:
			return nil, errors.New("is not a URL; write it like https://app.chatwize.ai")
		case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
			return nil, errors.New("is not an http or https URL; write it like https://app.chatwize.ai")
		case u.User != nil:
			return nil, errors.New("has a user name or password; the API accepts only a key, from --chatwize.token-file")
		case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/api/v1"):
			return nil, errors.New("has the path of the API itself; remove /api/v1")
		case u.RawQuery != "", u.Fragment != "":
			return nil, errors.New("has a query or fragment; write only host and path, like https://app.chatwize.ai")
		}
		return u, nil
	})
}

// IsPlaintext reports whether requests to u can be read on the network.
func IsPlaintext(u *url.URL) bool {
	host := u.Hostname()
	address, err := netip.ParseAddr(host)
	loopback := strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
	return u.Scheme == "http" && !loopback
}
