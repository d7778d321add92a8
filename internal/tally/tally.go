// Package tally adds up sessions. It is plain data: time is an argument.
package tally

import (
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

const (
	// hoursBefore covers what the rules compare with: 35 days, an hour before them, as
	// clocks are set, and the rest of that hour.
	hoursBefore = 36 * 24
	// hoursAfter covers the hour under way and maxFuture.
	hoursAfter = 1 + 2*24
	hours      = hoursBefore + hoursAfter

	secondsPerHour = 60 * 60
)

// exactWindows are the windows whose numbers are exact at the time the list was read.
var exactWindows = [...]time.Duration{time.Hour, day, week, 4 * week, comparedSpan}

// Tally is what the sessions of a chatbot add up to. It takes 12 KiB, whatever the number
// of sessions.
type Tally struct {
	Counts
	// read is when the list was read.
	read time.Time
	// oldest is the oldest creation time, zero if there is none.
	oldest time.Time
	// arrivals are the numbers of sessions by the hour of their creation. The first hour
	// begins at begin, in Unix time.
	arrivals [kinds][hours]uint32
	begin    int64
	// newest has the newest creation times in arrivals up to maxFuture after read, zero if
	// there are none.
	newest [kinds]time.Time
	// future is the oldest creation time later than that, zero if there is none.
	future time.Time
	// exact has the numbers of sessions by the shortest of exactWindows before read that
	// contains them. The windows that begin at exactFrom or later are complete.
	exact     [kinds][len(exactWindows)]uint32
	exactFrom time.Time
}

// New returns a tally without sessions. Its list is read at a time by the clock of the
// API.
func New(read time.Time) *Tally {
	return &Tally{read: read, begin: read.Truncate(time.Hour).Unix() - hoursBefore*secondsPerHour}
}

// Add adds a session.
func (t *Tally) Add(session client.Session) {
	t.Counts.Add(session)
	created := session.Created
	if created.IsZero() {
		return
	}
	t.oldest = earlier(t.oldest, created)
	age := t.read.Sub(created)
	if age < -maxFuture {
		t.future = earlier(t.future, created)
	}
	seconds := created.Unix() - t.begin
	if seconds < 0 || seconds >= hours*secondsPerHour {
		return
	}
	hour := seconds / secondsPerHour
	t.arrive(AllSessions, created, hour, age)
	if session.HasLead {
		t.arrive(WithLead, created, hour, age)
	}
	if session.IdentityVerified {
		t.arrive(WithVerifiedIdentity, created, hour, age)
	}
}

func (t *Tally) arrive(kind Kind, created time.Time, hour int64, age time.Duration) {
	t.arrivals[kind][hour]++
	if age < -maxFuture {
		return
	}
	t.newest[kind] = later(t.newest[kind], created)
	for i, window := range exactWindows {
		if age <= window {
			t.exact[kind][i]++
			return
		}
	}
}

// Plus returns the tally of the sessions of both. It goes on from when t was read. The exact
// windows are those before which all sessions of other were created.
func (t *Tally) Plus(other *Tally) *Tally {
	sum := *t
	sum.Counts = t.Counts.Plus(other.Counts)
	sum.oldest, sum.future = earlier(t.oldest, other.oldest), earlier(t.future, other.future)
	ahead := int((t.begin - other.begin) / secondsPerHour) // hours
	for kind := range kinds {
		for hour := max(0, -ahead); hour < min(hours, hours-ahead); hour++ {
			sum.arrivals[kind][hour] += other.arrivals[kind][hour+ahead]
		}
		sum.newest[kind] = later(t.newest[kind], other.newest[kind])
	}
	if t.read.Equal(other.read) {
		for kind := range kinds {
			for i, n := range other.exact[kind] {
				sum.exact[kind][i] += n
			}
		}
		sum.exactFrom = later(t.exactFrom, other.exactFrom)
	} else if !other.LastCreated.IsZero() {
		sum.exactFrom = later(t.exactFrom, other.LastCreated.Add(1))
	}
	return &sum
}

// maxBack is how far the clock of the API may go back before the list must be read again:
// arrivals reach back this much further than the rules, with the hours that they cut. Servers
// behind a load balancer do not agree.
const maxBack = hoursBefore*time.Hour - comparedSpan - 2*time.Hour

// Covers reports whether the tally has what counts at a time by the clock of the API. It
// does not where the clock was wrong by a day when the list was read, or where other sessions
// are too far in the future than then.
func (t *Tally) Covers(now time.Time) bool {
	limit := now.Add(maxFuture)
	return !now.Before(t.read.Add(-maxBack)) && !t.newest[AllSessions].After(limit) &&
		(t.future.IsZero() || t.future.After(limit))
}

// At returns the numbers at a time that the tally covers. The numbers of recent sessions are
// exact when the list was read. The others spread the sessions of an hour evenly.
func (t *Tally) At(now time.Time) Numbers {
	v := view{t, now}
	return Numbers{t.Counts, ActivityOf(v, now), daysOf(v, now)}
}

// Numbers is what a chatbot's sessions add up to at a time.
type Numbers struct {
	Counts
	Activity
	Days Days
}
