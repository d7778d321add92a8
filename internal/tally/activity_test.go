package tally_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/bruteforce"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

const day = 24 * time.Hour

// read is when lists are read, in the middle of an hour, a day and a week.
var read = time.Date(2026, 4, 1, 15, 37, 21, 0, time.UTC)

// every returns sessions at steps from an age until another. Each fourth one has a lead,
// each fifth a verified identity.
func every(step, from, until time.Duration) (sessions []client.Session) {
	for age := from; age >= until; age -= step {
		n := len(sessions)
		sessions = append(sessions, client.Session{Created: read.Add(-age), HasLead: n%4 == 3, IdentityVerified: n%5 == 4})
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

// lists are lists at the edges of the rules.
func lists() map[string][]client.Session {
	lists := map[string][]client.Session{
		"none":                     nil,
		"one":                      every(time.Hour, 0, 0),
		"one, ten days ago":        every(time.Hour, 10*day, 10*day),
		"without time":             {{HasLead: true}, {}},
		"all old":                  every(day, 400*day, 100*day),
		"an hour in the future":    every(time.Hour, 40*day, -time.Hour),
		"two days in the future":   every(time.Hour, 40*day, -2*day),
		"three days in the future": every(time.Hour, 40*day, -3*day),
		"one three days in the future": append(every(time.Hour, 40*day, time.Hour),
			client.Session{Created: read.Add(3 * day), HasLead: true}),
		"one seven days in the future":  append(every(time.Hour, 40*day, time.Hour), client.Session{Created: read.Add(7 * day)}),
		"only three days in the future": {{Created: read.Add(3 * day)}},
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
		lists[fmt.Sprintf("silent for %d days", days)] = every(187*time.Minute, 70*day, days*day)
		lists[fmt.Sprintf("silent for %d days, 30 days old", days)] = every(97*time.Minute, 30*day, days*day+time.Minute)
	}
	return lists
}

// randomList returns up to n sessions with random habits.
func randomList(random *rand.Rand, n int) []client.Session {
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
			s.Created = read.Add(-age).Truncate(precision)
		}
	}
	// Those two days in the future are spread over an hour, too.
	return slices.DeleteFunc(sessions, func(s client.Session) bool { return s.Created.Sub(read.Add(2*day)).Abs() < 2*time.Hour })
}

func tallied(at time.Time, sessions []client.Session) *tally.Tally {
	t := tally.New(at)
	for _, s := range sessions {
		t.Add(s)
	}
	return t
}

// differ returns how activities differ by more than rounding.
func differ(got, want tally.Activity) string {
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

// checkRead compares the activity at the time when a list was read with the contract.
func checkRead(t *testing.T, what string, at time.Time, sessions []client.Session) {
	t.Helper()
	got := tallied(at, sessions).At(at).Activity
	want := bruteforce.Sessions{List: sessions, Now: at, Spread: at}.Activity()
	if difference := differ(got, want); difference != "" {
		t.Errorf("%s: %s", what, difference)
	}
	if got.Recent != want.Recent {
		t.Errorf("%s: recent: got %v, want exactly %v", what, got.Recent, want.Recent)
	}
}

// The activity is that of the contract, at its edges.
func TestActivity(t *testing.T) {
	for name, sessions := range lists() {
		checkRead(t, name, read, sessions)
		// By a server's clock that is off.
		checkRead(t, name+", an hour early", read.Add(-time.Hour), sessions)
		checkRead(t, name+", an hour late", read.Add(time.Hour), sessions)
		checkRead(t, name+", at a full hour", read.Truncate(time.Hour), sessions)
	}
}

// So it is for random lists.
func TestRandomActivity(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		sessions := randomList(random, []int{3, 30, 300, 1000}[seed%4])
		checkRead(t, fmt.Sprint("seed ", seed), read.Add(time.Duration(random.Int64N(int64(time.Hour)))), sessions)
	}
}

// While a list is not read again, time goes on.
func TestActivityLater(t *testing.T) {
	check := func(what string, sessions []client.Session) {
		tallied := tallied(read, sessions)
		for _, after := range []time.Duration{time.Second, 21 * time.Minute, 23 * time.Minute, time.Hour, 23 * time.Hour, 25 * time.Hour, 36 * time.Hour, 2 * day, 3*day - time.Minute, 9 * day, 40 * day} {
			now := read.Add(after)
			want := bruteforce.Sessions{List: sessions, Now: now, Spread: read}.Activity()
			if difference := differ(tallied.At(now).Activity, want); difference != "" {
				t.Errorf("%s, %v later: %s", what, after, difference)
			}
		}
	}
	for name, sessions := range lists() {
		// Of several sessions two days in the future, only the hours are known.
		if name != "two days in the future" && name != "three days in the future" && name != "one seven days in the future" {
			check(name, sessions)
		}
	}
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 2))
		sessions := slices.DeleteFunc(randomList(random, []int{3, 30, 100, 300}[seed%4]), func(s client.Session) bool { return s.Created.After(read) })
		check(fmt.Sprint("seed ", seed), sessions)
	}
}

// Where sessions come at full hours, one an hour at most, all numbers are exact.
func TestExactActivity(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 3))
		now := read.Truncate(time.Hour)
		var sessions []client.Session
		for hour, end := random.IntN(60*24), random.IntN(30*24)*random.IntN(2); hour >= end; hour -= 1 + random.IntN(4) {
			sessions = append(sessions, client.Session{
				Created: now.Add(-time.Duration(hour) * time.Hour), HasLead: random.IntN(20) == 0, IdentityVerified: random.IntN(5) == 0,
			})
		}
		want := bruteforce.Sessions{List: sessions, Now: now}.Activity()
		if difference := differ(tallied(now, sessions).At(now).Activity, want); difference != "" {
			t.Errorf("seed %d: %s", seed, difference)
		}
	}
}

// A spread session is an hour off at most, so the numbers are near the exact ones.
func TestSpread(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 4))
		sessions := every(time.Duration(10+random.IntN(600))*time.Minute, 70*day, time.Duration(random.Int64N(int64(3*day))))
		rate := float64(len(sessions)) / (70 * 24)
		want := bruteforce.Sessions{List: sessions, Now: read}.Activity()
		got := tallied(read, sessions).At(read).Activity
		for kind := range got.Missing {
			near := func(a, b tally.Value) bool { return a.Known == b.Known && math.Abs(a.Number-b.Number) <= 2+rate/10 }
			if !near(got.Missing[kind], want.Missing[kind]) {
				t.Errorf("seed %d: missing of kind %d: got %v, want %v", seed, kind, got.Missing[kind], want.Missing[kind])
			}
			for i := range got.Usual[kind] {
				if !near(got.Usual[kind][i], want.Usual[kind][i]) {
					t.Errorf("seed %d: usual of kind %d: got %v, want %v", seed, kind, got.Usual[kind], want.Usual[kind])
				}
			}
		}
	}
}

// The newest part of a list, read later, and the rest add up: windows that begin after the
// rest are exact.
func TestParts(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 5))
		sessions := slices.DeleteFunc(randomList(random, 500), func(s client.Session) bool { return s.Created.After(read) })
		window := []time.Duration{time.Hour, day, 3 * day, 10 * day}[seed%4]
		later := read.Add(time.Duration(random.Int64N(int64(3 * day))))
		cut := read.Add(-window)
		var old, recent []client.Session
		for _, s := range sessions {
			if s.Created.Before(cut) {
				old = append(old, s)
			} else {
				recent = append(recent, s)
			}
		}
		got := tallied(read, old).Plus(tallied(later, recent))
		if other := tallied(later, recent).Plus(tallied(read, old)); *got != *other {
			t.Errorf("seed %d: the sum depends on the order", seed)
		}
		exact := bruteforce.Sessions{List: sessions, Now: later, Spread: later}.Activity()
		want := bruteforce.Sessions{List: sessions, Now: later, Spread: later.Add(-1)}.Activity() // all spread
		activity := got.At(later).Activity
		for kind := range want.Recent {
			for i, recentWindow := range tally.RecentWindows {
				if recentWindow <= window || activity.Recent[kind][i] == exact.Recent[kind][i] {
					want.Recent[kind][i] = exact.Recent[kind][i]
				}
			}
			if len(old) == 0 {
				want.Missing[kind] = exact.Missing[kind]
			}
		}
		if difference := differ(activity, want); difference != "" {
			t.Errorf("seed %d, %v later: %s", seed, later.Sub(read), difference)
		}
	}
}
