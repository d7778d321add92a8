package bruteforce

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

const day = 24 * time.Hour

// Every returns sessions at steps from an age until another. Each fourth one has a lead,
// each fifth a verified identity.
func Every(now time.Time, step, from, until time.Duration) (sessions []client.Session) {
	for age := from; age >= until; age -= step {
		n := len(sessions)
		sessions = append(sessions, client.Session{Created: now.Add(-age), HasLead: n%4 == 3, IdentityVerified: n%5 == 4})
	}
	return sessions
}

// withLeads sets which of the sessions have a lead.
func withLeads(sessions []client.Session, indices ...int) []client.Session {
	for i := range sessions {
		sessions[i].HasLead = slices.Contains(indices, i)
	}
	return sessions
}

// Edges are lists at the edges of the rules at a time.
func Edges(now time.Time) map[string][]client.Session {
	every := func(step, from, until time.Duration) []client.Session { return Every(now, step, from, until) }
	lists := map[string][]client.Session{
		"none":                     nil,
		"one":                      every(time.Hour, 0, 0),
		"one, ten days ago":        every(time.Hour, 10*day, 10*day),
		"without time":             {{HasLead: true}, {}},
		"all old":                  every(day, 400*day, 100*day),
		"an hour in the future":    every(3*time.Hour, 40*day, -time.Hour),
		"two days in the future":   every(3*time.Hour, 40*day, -2*day),
		"three days in the future": slices.Concat(every(3*time.Hour, 40*day, time.Hour), every(10*time.Minute, -3*day, -3*day-10*time.Minute)),
		"one three days in the future": append(every(3*time.Hour, 40*day, time.Hour),
			client.Session{Created: now.Add(3 * day), HasLead: true}),
		"one seven days in the future":  append(every(3*time.Hour, 40*day, time.Hour), client.Session{Created: now.Add(7 * day)}),
		"only three days in the future": {{Created: now.Add(3 * day)}},
		"opening":                       slices.Concat(every(12*time.Minute, 20*day, 18*day+time.Minute), every(time.Hour, 18*day, 5*day)),
		"opening, silent for ten days": slices.Concat(every(12*time.Minute, 26*day, 24*day+time.Minute),
			every(time.Hour, 24*day, 10*day)),
		"one lead in the first session": withLeads(every(time.Hour, 34*day, 0), 0),
		"four leads":                    withLeads(every(3*time.Hour, 34*day, 0), 2, 3, 50, 90),
		"five leads":                    withLeads(every(3*time.Hour, 34*day, 0), 2, 3, 50, 90, 91),
		"five leads, one too old":       withLeads(every(3*time.Hour, 36*day, 0), 1, 30, 50, 90, 91),
		"a lead in the newest session":  withLeads(every(3*time.Hour, 12*day, 2*day), 1, 30, 50, 70, 80),
		"the clocks were set":           slices.Concat(every(day, 40*day+3*time.Hour, 3*day), every(day, 2*day+2*time.Hour, day)),
	}
	for _, days := range []time.Duration{10, 16, 23} {
		lists[fmt.Sprintf("%d days old", days)] = every(40*time.Minute, days*day, 20*time.Minute)
	}
	for days := range time.Duration(41) {
		lists[fmt.Sprintf("silent for %d days", days)] = every(311*time.Minute, 70*day, days*day)
		lists[fmt.Sprintf("silent for %d days, 30 days old", days)] = every(197*time.Minute, 30*day, days*day+time.Minute)
	}
	return lists
}

// Random returns up to n sessions with random habits. Some are up to three days in the
// future.
func Random(random *rand.Rand, now time.Time, n int) []client.Session {
	sessions := make([]client.Session, random.IntN(n+1))
	length := time.Duration(1+random.IntN(60)) * day
	silence := time.Duration(random.IntN(4)*random.IntN(20)) * day / 2
	precision := []time.Duration{1, time.Second, time.Minute, time.Hour, day}[random.IntN(5)]
	leads, identities := 1+random.IntN(20), 1+random.IntN(20)
	for i := range sessions {
		age := silence + time.Duration(random.Int64N(int64(length)))
		switch random.IntN(40) {
		case 0:
			age = -time.Duration(random.Int64N(int64(3 * day)))
		case 1:
			age *= 20
		}
		s := &sessions[i]
		s.HasLead, s.IdentityVerified = random.IntN(leads) == 0, random.IntN(identities) == 0
		if random.IntN(100) > 0 {
			s.Created = now.Add(-age).Truncate(precision)
		}
	}
	return sessions
}

// Difference returns how activities differ by more than rounding.
func Difference(got, want tally.Activity) string {
	differs := func(a, b float64) bool { return math.Abs(a-b) > 1e-6*(1+math.Abs(b)) }
	for kind := range got.Recent {
		for i := range got.Recent[kind] {
			if differs(got.Recent[kind][i], want.Recent[kind][i]) {
				return fmt.Sprintf("recent of kind %d: got %v, want %v", kind, got.Recent[kind], want.Recent[kind])
			}
		}
		for i := range got.Usual[kind] {
			if a, b := got.Usual[kind][i], want.Usual[kind][i]; a.Known != b.Known || differs(a.Number, b.Number) {
				return fmt.Sprintf("usual of kind %d: got %v, want %v", kind, got.Usual[kind], want.Usual[kind])
			}
		}
		if a, b := got.Missing[kind], want.Missing[kind]; a.Known != b.Known || differs(a.Number, b.Number) {
			return fmt.Sprintf("missing of kind %d: got %v, want %v", kind, a, b)
		}
	}
	return ""
}
