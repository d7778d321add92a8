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

func tallied(at time.Time, sessions []client.Session) *tally.Tally {
	t := tally.New(at)
	for _, s := range sessions {
		t.Add(s)
	}
	return t
}

// checkRead compares the activity at the time when a list was read with the contract.
func checkRead(t *testing.T, what string, at time.Time, sessions []client.Session) {
	t.Helper()
	got := tallied(at, sessions).At(at).Activity
	want := bruteforce.Sessions{List: sessions, Now: at, Spread: at}.Activity()
	if difference := bruteforce.Difference(got, want); difference != "" {
		t.Errorf("%s: %s", what, difference)
	}
	if got.Recent != want.Recent {
		t.Errorf("%s: recent: got %v, want exactly %v", what, got.Recent, want.Recent)
	}
}

// The activity is that of the contract, at its edges.
func TestActivity(t *testing.T) {
	for name, sessions := range bruteforce.Edges(read) {
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
		sessions := bruteforce.Random(random, read, []int{3, 30, 300, 1000}[seed%4])
		checkRead(t, fmt.Sprint("seed ", seed), read.Add(time.Duration(random.Int64N(int64(time.Hour)))), sessions)
	}
}

// While a list is not read again, time goes on, until sessions count that did not.
func TestActivityLater(t *testing.T) {
	check := func(what string, sessions []client.Session) {
		tallied := tallied(read, sessions)
		for _, after := range []time.Duration{-5 * day, -22*time.Hour - 1, -22 * time.Hour, -37 * time.Minute, -38 * time.Minute, -time.Second, 0, time.Second, 21 * time.Minute, 23 * time.Minute, time.Hour, 23 * time.Hour, 25 * time.Hour, 36 * time.Hour, 2 * day, 3*day - time.Minute, 9 * day, 40 * day} {
			now := read.Add(after)
			covered := after >= -22*time.Hour && !slices.ContainsFunc(sessions, func(s client.Session) bool {
				return s.Created.After(read.Add(2*day)) != s.Created.After(now.Add(2*day))
			})
			if tallied.Covers(now) != covered {
				t.Errorf("%s, %v later: covered: %t, want %t", what, after, !covered, covered)
			}
			if !covered {
				continue
			}
			want := bruteforce.Sessions{List: sessions, Now: now, Spread: read}.Activity()
			if difference := bruteforce.Difference(tallied.At(now).Activity, want); difference != "" {
				t.Errorf("%s, %v later: %s", what, after, difference)
			}
		}
	}
	for name, sessions := range bruteforce.Edges(read) {
		check(name, sessions)
	}
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 2))
		sessions := slices.DeleteFunc(bruteforce.Random(random, read, []int{3, 30, 100, 300}[seed%4]), func(s client.Session) bool { return s.Created.After(read) })
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
		if difference := bruteforce.Difference(tallied(now, sessions).At(now).Activity, want); difference != "" {
			t.Errorf("seed %d: %s", seed, difference)
		}
	}
}

// A spread session is an hour off at most, so the numbers are near the exact ones.
func TestSpread(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 4))
		sessions := bruteforce.Every(read, time.Duration(10+random.IntN(600))*time.Minute, 70*day, time.Duration(random.Int64N(int64(3*day))))
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
		sessions := slices.DeleteFunc(bruteforce.Random(random, read, 500), func(s client.Session) bool { return s.Created.After(read) })
		window := []time.Duration{time.Hour, day, 3 * day, 10 * day}[seed%4]
		later := read.Add(time.Duration(random.Int64N(int64(3*day))) - 20*time.Hour) // or earlier
		cut := read.Add(-window)
		var old, recent []client.Session
		for _, s := range sessions {
			if s.Created.Before(cut) {
				old = append(old, s)
			} else {
				recent = append(recent, s)
			}
		}
		got := tallied(later, recent).Plus(tallied(read, old))
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
		if difference := bruteforce.Difference(activity, want); difference != "" {
			t.Errorf("seed %d, %v later: %s", seed, later.Sub(read), difference)
		}
	}
}
