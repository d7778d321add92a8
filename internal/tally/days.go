package tally

import (
	"math"
	"time"
)

// Days are the numbers of sessions by the day (UTC) of their creation. The last day is under
// way: it has the sessions until now, and those of the future that count as created now.
type Days [35]uint32

// daysOf returns the days that arrivals show at a time.
func daysOf(arrivals Arrivals, now time.Time) (days Days) {
	const last = len(days) - 1
	today := now.UTC().Truncate(day)
	for i := range last {
		from := today.AddDate(0, 0, i-last)
		days[i] = whole(arrivals.Between(AllSessions, from, from.Add(day)))
	}
	days[last] = whole(arrivals.Since(AllSessions, today))
	return days
}

// whole rounds a number of sessions.
func whole(number float64) uint32 { return uint32(math.Round(number)) }
