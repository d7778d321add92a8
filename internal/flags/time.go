package flags

import (
	"errors"
	"time"

	"github.com/alecthomas/kingpin/v2"
)

// Time makes flag accept a time since 1970, in RFC 3339 or as a date, which means
// midnight in UTC. It truncates to milliseconds.
func Time(flag *kingpin.FlagClause, into *time.Time) {
	set(flag, into, func(text string) (time.Time, error) {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t, err = time.Parse(time.DateOnly, text)
		}
		switch {
		case err != nil:
			return time.Time{}, errors.New("must be a date, such as 2026-01-31, or a time, such as 2026-01-31T12:00:00Z")
		case t.Unix() < 0:
			return time.Time{}, errors.New("is too early; the earliest is 1970-01-01")
		}
		return t.Truncate(time.Millisecond), nil
	})
}
