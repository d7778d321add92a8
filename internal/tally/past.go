package tally

import (
	"iter"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Past remembers when sessions were created, so that they can be counted at any moment
// from a time on. It takes 8 bytes of memory per session.
type Past struct {
	from time.Time
	// always are the counts of the sessions that exist at all moments, and in no activity.
	// oldest is when the oldest of them was created, zero if there is none with a time.
	always Counts
	oldest time.Time
	// created has the creation times of the others, by whether they have a lead (1) and a
	// verified identity (2).
	created [4]times
}

// The indices in Past.created by kind.
var setsOf = [kinds][]int{AllSessions: {0, 1, 2, 3}, WithLead: {1, 3}, WithVerifiedIdentity: {2, 3}}

// NewPast returns a past without sessions, for moments from a time on. It must be in the
// range of [time.Time.UnixNano].
func NewPast(from time.Time) *Past { return &Past{from: from} }

// Add adds a session. It exists from its creation on, without a creation time at all
// moments.
func (p *Past) Add(session client.Session) {
	created := session.Created
	// Activity looks back so far, and an hour more, as clocks are set.
	if created.Before(p.from.Add(-comparedSpan - time.Hour)) {
		p.always.Add(session)
		p.oldest = earlier(p.oldest, created)
		return
	}
	set := 0
	if session.HasLead {
		set |= 1
	}
	if session.IdentityVerified {
		set |= 2
	}
	p.created[set].add(created.UnixNano())
}

// First returns when the first session was created, from the time of NewPast on. It
// reports false if there is none.
func (p *Past) First() (first time.Time, ok bool) {
	for set := range p.created {
		times := &p.created[set]
		times.sort()
		if i := times.before(p.from.UnixNano(), 0); i < times.n {
			at := time.Unix(0, times.at(i))
			if at.Before(first) || !ok {
				first, ok = at, true
			}
		}
	}
	return first, ok
}

// At yields the past at moments. They must be in ascending order.
func (p *Past) At(moments iter.Seq[time.Time]) iter.Seq[*Moment] {
	return func(yield func(*Moment) bool) {
		m := Moment{past: p, oldest: p.oldest}
		for set := range p.created {
			times := &p.created[set]
			times.sort()
			if times.n > 0 {
				m.oldest = earlier(m.oldest, time.Unix(0, times.at(0)))
			}
		}
		for m.Time = range moments {
			m.next = 0
			for set := range p.created {
				m.until[set] = p.created[set].before(m.Time.UnixNano()+1, m.until[set])
			}
			if !yield(&m) {
				return
			}
		}
	}
}

// Moment is the past at a time. It has the sessions created until then.
type Moment struct {
	Time   time.Time
	past   *Past
	oldest time.Time // of all sessions, also of later ones
	until  [4]int    // sessions of Past.created
	// guesses are the results of the searches at the last moment, in their order. The
	// next search is near one of them if all moments are asked for the same numbers.
	guesses [][4]int
	next    int
}

// Counts returns the counts of the sessions. LastModified and Malformed are only of those
// that exist at all moments.
func (m *Moment) Counts() Counts {
	counts := m.past.always
	counts.Sessions += m.number(AllSessions)
	counts.WithLead += m.number(WithLead)
	counts.WithVerifiedIdentity += m.number(WithVerifiedIdentity)
	counts.LastCreated = later(counts.LastCreated, m.newest(AllSessions))
	return counts
}

// Arrivals returns the arrivals of the sessions. They are exact.
func (m *Moment) Arrivals() Arrivals { return arrivals{m} }

// number returns the number of sessions of a kind in Past.created.
func (m *Moment) number(kind Kind) (n int) {
	for _, set := range setsOf[kind] {
		n += m.until[set]
	}
	return n
}

// newest returns when the newest session of a kind in Past.created was created, zero if
// there is none.
func (m *Moment) newest(kind Kind) (newest time.Time) {
	for _, set := range setsOf[kind] {
		if n := m.until[set]; n > 0 {
			newest = later(newest, time.Unix(0, m.past.created[set].at(n-1)))
		}
	}
	return newest
}

// before returns the number of sessions of a kind in Past.created before a time.
func (m *Moment) before(kind Kind, at time.Time) (n int) {
	if m.next == len(m.guesses) {
		m.guesses = append(m.guesses, [4]int{})
	}
	guess := &m.guesses[m.next]
	m.next++
	for _, set := range setsOf[kind] {
		guess[set] = m.past.created[set].before(at.UnixNano(), guess[set])
		n += guess[set]
	}
	return n
}

// arrivals are the [Arrivals] at a moment.
type arrivals struct{ *Moment }

func (a arrivals) Between(kind Kind, from, to time.Time) float64 {
	return float64(a.before(kind, to) - a.before(kind, from))
}

func (a arrivals) Since(kind Kind, from time.Time) float64 {
	return float64(a.number(kind) - a.before(kind, from))
}

func (a arrivals) AfterNewest(kind Kind) float64 {
	newest := a.newest(kind)
	if newest.IsZero() {
		return 0
	}
	return a.Since(AllSessions, newest.Add(1))
}

// Oldest may be later than the moment: then it precedes nothing.
func (a arrivals) Oldest() time.Time { return a.oldest }

// Newest leaves out those that exist at all moments: they are too old to matter.
func (a arrivals) Newest(kind Kind) time.Time { return a.newest(kind) }
