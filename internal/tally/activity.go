package tally

import (
	"slices"
	"time"
)

// Kind is a kind of sessions: all of them, or some.
type Kind int

// The kinds of sessions.
const (
	AllSessions Kind = iota
	WithLead
	WithVerifiedIdentity
	kinds
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// maxFuture is how far in the future a session may be created and still count, as created
// now.
const maxFuture = 2 * day

// The windows of recent sessions, and of usual ones.
var (
	RecentWindows = [...]time.Duration{time.Hour, day, week, 4 * week}
	UsualWindows  = [...]time.Duration{time.Hour, day, week}
)

// OneDay is the index of a day in [RecentWindows] and [UsualWindows].
const OneDay = 1

const (
	// comparedWeeks is the number of weeks that recent sessions are compared with.
	comparedWeeks = 4
	// comparedSpan is the time before now that is compared with.
	comparedSpan = 5 * week
	// minAge is the minimum time from the oldest to the newest session for missing
	// sessions. An opening or a newsletter is nothing to compare with.
	minAge = 2 * week
	// minOfKind is the minimum number of sessions of a kind for missing ones.
	minOfKind = 5
)

// Value is a number that may be unknown. The zero Value is unknown.
type Value struct {
	Number float64
	Known  bool
}

func known(number float64) Value { return Value{number, true} }

// Activity is what the creation times of sessions say of the recent past.
type Activity struct {
	// Recent has the numbers of sessions created within the last RecentWindows.
	Recent [kinds][len(RecentWindows)]float64
	// Usual has the usual numbers for UsualWindows.
	Usual [kinds][len(UsualWindows)]Value
	// Missing has the numbers of sessions that usually would have come since the newest.
	Missing [kinds]Value
}

// Arrivals are the creation times of a chatbot's sessions at a time, now. Sessions
// created later count as created now, or not at all.
type Arrivals interface {
	// Between returns the number of sessions of a kind created at from or later, but
	// before to, which is in the past.
	Between(kind Kind, from, to time.Time) float64
	// Since returns the number of sessions of a kind created at from or later.
	Since(kind Kind, from time.Time) float64
	// AfterNewest returns the number of sessions created after the newest of a kind.
	AfterNewest(kind Kind) float64
	// Oldest returns when the oldest session was created, zero if there is none.
	Oldest() time.Time
	// Newest returns when the newest session of a kind was created, at most now. It is
	// zero if there is none.
	Newest(kind Kind) time.Time
}

// ActivityOf returns the activity that arrivals show at a time.
func ActivityOf(arrivals Arrivals, now time.Time) (a Activity) {
	for kind := range kinds {
		for i, window := range RecentWindows {
			a.Recent[kind][i] = Recent(arrivals, now, kind, window)
		}
		for i, window := range UsualWindows {
			a.Usual[kind][i] = Usual(arrivals, now, kind, window)
		}
		a.Missing[kind] = Missing(arrivals, now, kind)
	}
	return a
}

// Recent returns the number of sessions of a kind created within the last window.
func Recent(arrivals Arrivals, now time.Time, kind Kind, window time.Duration) float64 {
	return arrivals.Since(kind, now.Add(-window))
}

// Usual returns how many sessions of a kind usually come within a window: the median of
// the same span one to four weeks ago.
func Usual(arrivals Arrivals, now time.Time, kind Kind, window time.Duration) Value {
	var buffer [comparedWeeks]float64
	numbers := buffer[:0]
	for k := range comparedWeeks {
		to := now.Add(-time.Duration(k+1) * week)
		from := to.Add(-window)
		if precedes(arrivals, from) {
			numbers = append(numbers, arrivals.Between(kind, from, to))
		}
	}
	if len(numbers) < 2 {
		return Value{}
	}
	return known(median(numbers))
}

// Missing returns how many sessions of a kind would usually have come since its newest.
func Missing(arrivals Arrivals, now time.Time, kind Kind) Value {
	if kind == AllSessions {
		return missingSessions(arrivals, now)
	}
	return missingOfKind(arrivals, now, kind)
}

// missingSessions returns how many sessions usually come in as long a time as has passed
// since the newest.
func missingSessions(arrivals Arrivals, now time.Time) Value {
	newest := arrivals.Newest(AllSessions)
	if newest.IsZero() {
		return Value{}
	}
	silence, lived := now.Sub(newest), newest.Sub(arrivals.Oldest())
	if lived < minAge || silence > lived.Truncate(week) {
		return Value{}
	}
	if silence == 0 {
		return known(0)
	}
	var buffer [comparedWeeks]float64
	numbers := buffer[:0]
	for k := range comparedWeeks {
		ago := time.Duration(k+1) * week
		length := min(silence, comparedSpan-ago)
		to := now.Add(-ago)
		from := to.Add(-length)
		if silence > ago || !precedes(arrivals, from) {
			continue
		}
		// Visitors follow their clocks, which are set forward and back by an hour.
		number := min(arrivals.Between(AllSessions, from, to),
			arrivals.Between(AllSessions, from.Add(-time.Hour), to.Add(-time.Hour)),
			arrivals.Between(AllSessions, from.Add(time.Hour), to.Add(time.Hour)))
		numbers = append(numbers, number*(float64(silence)/float64(length)))
	}
	if len(numbers) == 0 {
		return Value{}
	}
	return known(median(numbers))
}

// missingOfKind returns how many of the sessions since the newest of a kind would usually
// have been of that kind.
func missingOfKind(arrivals Arrivals, now time.Time, kind Kind) Value {
	from := now.Add(-comparedSpan)
	ofKind := arrivals.Since(kind, from) // none is created after the newest
	if ofKind < minOfKind {
		return Value{}
	}
	after := arrivals.AfterNewest(kind)
	all := max(arrivals.Since(AllSessions, from)-after, ofKind)
	return known(after * (ofKind - 1) / (all - 1))
}

// precedes reports whether the oldest session was created before a time.
func precedes(arrivals Arrivals, at time.Time) bool {
	oldest := arrivals.Oldest()
	return !oldest.IsZero() && oldest.Before(at)
}

// median returns the median of up to four numbers, of two the least. It sorts them.
func median(numbers []float64) float64 {
	slices.Sort(numbers)
	switch len(numbers) {
	case 2:
		return numbers[0]
	case 4:
		return (numbers[1] + numbers[2]) / 2
	default:
		return numbers[len(numbers)/2]
	}
}
