// Package bruteforce computes the activity of a chatbot from the list of its sessions, in
// the words of the contract. Tests compare the exporter with it.
package bruteforce

import (
	"slices"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// Sessions is a list of sessions at a time.
type Sessions struct {
	List []client.Session
	Now  time.Time
	// Spread, if not zero, is when the list was read. Then the sessions of a clock hour
	// count as spread evenly over it; those of the hour under way, until Spread. At that
	// time, the numbers until now are exact all the same.
	Spread time.Time
}

// Activity returns the activity of the sessions.
func (s Sessions) Activity() (a tally.Activity) {
	const hour = time.Hour
	for kind := range a.Recent {
		kind := tally.Kind(kind)
		for i, window := range []time.Duration{hour, day, 7 * day, 28 * day} {
			a.Recent[kind][i] = s.count(kind, s.Now.Add(-window), time.Time{})
		}
		for i, window := range []time.Duration{hour, day, 7 * day} {
			var past []float64
			for weeks := 1; weeks <= 4; weeks++ {
				end := s.Now.Add(-time.Duration(weeks) * 7 * day)
				if oldest := s.oldest(); !oldest.IsZero() && oldest.Before(end.Add(-window)) {
					past = append(past, s.count(kind, end.Add(-window), end))
				}
			}
			if len(past) > 1 {
				a.Usual[kind][i] = middle(past)
			}
		}
	}
	a.Missing[tally.AllSessions] = s.missing()
	a.Missing[tally.WithLead] = s.missingOf(tally.WithLead)
	a.Missing[tally.WithVerifiedIdentity] = s.missingOf(tally.WithVerifiedIdentity)
	return a
}

func (s Sessions) missing() tally.Value {
	if s.newest(tally.AllSessions).IsZero() {
		return tally.Value{}
	}
	p := s.Now.Sub(s.newest(tally.AllSessions))
	age := s.newest(tally.AllSessions).Sub(s.oldest())
	wholeWeeks := age / (7 * day)
	if age < 14*day || p > wholeWeeks*7*day {
		return tally.Value{}
	}
	if p == 0 {
		return tally.Value{Known: true}
	}
	var past []float64
	for k := time.Duration(1); k <= 4; k++ {
		if p > 7*k*day {
			continue
		}
		l := p
		if longest := 35*day - 7*k*day; l > longest {
			l = longest
		}
		end := s.Now.Add(-7 * k * day)
		start := end.Add(-l)
		if !s.oldest().Before(start) {
			continue
		}
		least := s.count(tally.AllSessions, start, end)
		for _, shift := range []time.Duration{-time.Hour, time.Hour} {
			if n := s.count(tally.AllSessions, start.Add(shift), end.Add(shift)); n < least {
				least = n
			}
		}
		past = append(past, least*p.Hours()/l.Hours())
	}
	if len(past) == 0 {
		return tally.Value{}
	}
	return middle(past)
}

func (s Sessions) missingOf(kind tally.Kind) tally.Value {
	newest, from := s.newest(kind), s.Now.Add(-35*day)
	none := !newest.Before(s.newest(tally.AllSessions))
	a, m, n := 0.0, 0.0, 0.0
	for _, session := range s.List {
		after := 0.0
		if !none && !of(session, kind) {
			after = s.weight(session, newest.Add(1), s.Now.Add(2*day))
		}
		recent := s.weight(session, from, time.Time{})
		a += after
		n += recent - after
		if of(session, kind) {
			m += recent
		}
	}
	if m < 5 {
		return tally.Value{}
	}
	return tally.Value{Number: a * (m - 1) / (max(n, m) - 1), Known: true}
}

// middle returns the median, and of two the least.
func middle(numbers []float64) tally.Value {
	slices.Sort(numbers)
	n := len(numbers)
	median := numbers[n/2]
	if n == 2 {
		median = numbers[0]
	} else if n%2 == 0 {
		median = (numbers[n/2-1] + numbers[n/2]) / 2
	}
	return tally.Value{Number: median, Known: true}
}

func of(session client.Session, kind tally.Kind) bool {
	switch kind {
	case tally.WithLead:
		return session.HasLead
	case tally.WithVerifiedIdentity:
		return session.IdentityVerified
	}
	return true
}

// counts reports whether a session has a readable creation time that is at most two days in
// the future.
func (s Sessions) counts(session client.Session) bool {
	return !session.Created.IsZero() && session.Created.Sub(s.Now) <= 48*time.Hour
}

// created returns when a session counts as created.
func (s Sessions) created(session client.Session) time.Time {
	if session.Created.After(s.Now) {
		return s.Now
	}
	return session.Created
}

func (s Sessions) oldest() (oldest time.Time) {
	for _, session := range s.List {
		if s.counts(session) && (oldest.IsZero() || session.Created.Before(oldest)) {
			oldest = s.created(session)
		}
	}
	return oldest
}

func (s Sessions) newest(kind tally.Kind) (newest time.Time) {
	for _, session := range s.List {
		if s.counts(session) && of(session, kind) && s.created(session).After(newest) {
			newest = s.created(session)
		}
	}
	return newest
}

// count returns the number of sessions from a time, inclusive, to another, exclusive, or
// without an end.
func (s Sessions) count(kind tally.Kind, from, to time.Time) float64 {
	n := 0.0
	for _, session := range s.List {
		if of(session, kind) {
			n += s.weight(session, from, to)
		}
	}
	return n
}

// weight returns how much of a session lies in a span.
func (s Sessions) weight(session client.Session, from, to time.Time) float64 {
	if session.Created.IsZero() {
		return 0
	}
	if s.Spread.IsZero() || to.IsZero() && s.Now.Equal(s.Spread) {
		at := s.created(session)
		if s.counts(session) && !at.Before(from) && (to.IsZero() || at.Before(to)) {
			return 1
		}
		return 0
	}
	if to.IsZero() {
		to = s.Now.Add(2 * day)
	}
	start := session.Created.Truncate(time.Hour)
	end := start.Add(time.Hour)
	if start.Equal(s.Spread.Truncate(time.Hour)) {
		end = s.Spread
	}
	if end.Equal(start) {
		if !start.Before(from) && start.Before(to) {
			return 1
		}
		return 0
	}
	first, last := start, end
	if from.After(first) {
		first = from
	}
	if to.Before(last) {
		last = to
	}
	if !first.Before(last) {
		return 0
	}
	return last.Sub(first).Hours() / end.Sub(start).Hours()
}
