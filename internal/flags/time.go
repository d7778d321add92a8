package flags

import (
	"errors"
	"regexp"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"
)

// Time makes flag accept a time since 1970: in RFC 3339, as a date, which means midnight
// in UTC, or in seconds of Unix time. It truncates to milliseconds.
func Time(flag *kingpin.FlagClause, into *time.Time) {
	set(flag, into, func(text string) (time.Time, error) {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t, err = time.Parse(time.DateOnly, text)
		}
		if err != nil {
			t, err = parseUnix(text)
		}
		switch {
		case err != nil:
			return time.Time{}, errors.New("must be a date, such as 2026-01-31, a time, such as 2026-01-31T12:00:00Z, or Unix time in seconds, of ten digits, such as 1769860800")
		case t.Unix() < 0:
			return time.Time{}, errors.New("is too early; the earliest is 1970-01-01")
		}
		return t.Truncate(time.Millisecond), nil
	})
}

var unixSeconds = regexp.MustCompile(`^[0-9]{10}(\.[0-9]+)?$`)

// parseUnix parses seconds of Unix time, with a fraction or without, as promtool prints
// them. It accepts ten digits before the point, for times from 2001 to 2286: others are
// something else, such as milliseconds or 20260131.
func parseUnix(text string) (time.Time, error) {
	if !unixSeconds.MatchString(text) {
		return time.Time{}, errors.New("is not Unix time in seconds")
	}
	var at model.Time
	err := at.UnmarshalJSON([]byte(text))
	return at.Time(), err
}
