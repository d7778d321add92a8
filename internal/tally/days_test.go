package tally_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/bruteforce"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// A session counts on the day of its creation in UTC, for 35 days.
func TestDays(t *testing.T) {
	now := time.Date(2026, 3, 1, 13, 30, 0, 0, time.FixedZone("", 3*3600)) // 10:30 UTC
	midnight := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	const today = 34
	for name, test := range map[string]struct {
		created time.Time
		day     int // -1: none
	}{
		"now":                       {now, today},
		"at midnight":               {midnight, today},
		"just before midnight":      {midnight.Add(-time.Nanosecond), today - 1},
		"the first day":             {midnight.AddDate(0, 0, -today), 0},
		"just before the first day": {midnight.AddDate(0, 0, -today).Add(-time.Nanosecond), -1},
		"in another zone":           {midnight.Add(time.Minute).In(time.FixedZone("", -8*3600)), today},
		"in a few minutes":          {now.Add(5 * time.Minute), today},
		"tomorrow":                  {now.Add(day), today},
		"in three days":             {now.Add(3 * day), -1},
		"at no time":                {time.Time{}, -1},
	} {
		want := tally.Days{}
		if test.day >= 0 {
			want[test.day] = 1
		}
		if got := tallied(now, []client.Session{{Created: test.created}}).At(now).Days; got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// The days are counted exactly, also while the list is not read again.
func TestRandomDays(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 8))
		sessions := slices.DeleteFunc(bruteforce.Random(random, read, []int{3, 30, 300, 1000}[seed%4]), func(s client.Session) bool { return s.Created.After(read) })
		sum := tallied(read, sessions)
		for _, after := range []time.Duration{0, time.Hour, day, 40 * day} {
			now := read.Add(after)
			want := tally.Days{}
			for _, s := range sessions {
				ago := int(now.UTC().Truncate(day).Sub(s.Created.UTC().Truncate(day)) / day)
				if !s.Created.IsZero() && ago < len(want) {
					want[len(want)-1-ago]++
				}
			}
			if got := sum.At(now).Days; got != want {
				t.Errorf("seed %d, %v later:\ngot  %v\nwant %v", seed, after, got, want)
			}
		}
	}
}
