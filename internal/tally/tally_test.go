package tally_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// randomSessions returns n sessions of one hour, by the second, some without times.
func randomSessions(random *rand.Rand, n int) []client.Session {
	sessions := make([]client.Session, n)
	for i := range sessions {
		s := &sessions[i]
		s.HasLead, s.IdentityVerified, s.Malformed = random.IntN(3) == 0, random.IntN(4) == 0, random.IntN(5) == 0
		if random.IntN(10) > 0 {
			s.Created = start.Add(time.Duration(random.IntN(3600)) * time.Second)
		}
		if random.IntN(10) > 0 {
			s.Modified = start.Add(time.Duration(random.IntN(3600)) * time.Second)
		}
	}
	return sessions
}

// count tallies sessions, each count on its own.
func count(sessions []client.Session) tally.Counts {
	number := func(has func(client.Session) bool) int {
		return len(slices.DeleteFunc(slices.Clone(sessions), func(s client.Session) bool { return !has(s) }))
	}
	newest := func(of func(client.Session) time.Time) (newest time.Time) {
		for _, s := range sessions {
			if of(s).After(newest) {
				newest = of(s)
			}
		}
		return newest
	}
	return tally.Counts{
		Sessions:             len(sessions),
		WithLead:             number(func(s client.Session) bool { return s.HasLead }),
		WithVerifiedIdentity: number(func(s client.Session) bool { return s.IdentityVerified }),
		Malformed:            number(func(s client.Session) bool { return s.Malformed }),
		LastCreated:          newest(func(s client.Session) time.Time { return s.Created }),
		LastModified:         newest(func(s client.Session) time.Time { return s.Modified }),
	}
}

func add(sessions []client.Session) (sum tally.Counts) {
	for _, s := range sessions {
		sum.Add(s)
	}
	return sum
}

// Sessions add up to the same tally in any order and in any parts.
func TestTally(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		sessions := randomSessions(random, random.IntN(50))
		want := count(sessions)
		random.Shuffle(len(sessions), func(i, j int) { sessions[i], sessions[j] = sessions[j], sessions[i] })
		if got := add(sessions); got != want {
			t.Errorf("seed %d: got %+v, want %+v", seed, got, want)
		}
		cut := random.IntN(len(sessions) + 1)
		if got := add(sessions[:cut]).Plus(add(sessions[cut:])); got != want {
			t.Errorf("seed %d: in two parts got %+v, want %+v", seed, got, want)
		}
	}
}

// The past at a time is the tally of the sessions created until then, and of those that
// exist at any time.
func TestPast(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		var past tally.Past
		var dated, always []client.Session
		for _, s := range randomSessions(random, random.IntN(200)) {
			if s.Created.IsZero() {
				always = append(always, s)
				past.AddAlways(s)
				continue
			}
			s.Modified, s.Malformed = time.Time{}, false
			dated = append(dated, s)
			past.Add(s)
		}
		byTime := func(a, b client.Session) int { return a.Created.Compare(b.Created) }
		first, ok := past.First()
		if ok != (len(dated) > 0) || ok && !first.Equal(slices.MinFunc(dated, byTime).Created) {
			t.Errorf("seed %d: the first is %v, %t", seed, first, ok)
		}
		var moments []time.Time
		for at := start.Add(-time.Minute); !at.After(start.Add(61 * time.Minute)); at = at.Add(time.Duration(1+random.IntN(600)) * time.Second) {
			moments = append(moments, at)
		}
		for range 2 { // asking does not change it
			i := 0
			for at, got := range past.At(slices.Values(moments)) {
				until := slices.DeleteFunc(slices.Clone(dated), func(s client.Session) bool { return s.Created.After(at) })
				want := count(slices.Concat(always, until))
				if !at.Equal(moments[i]) || !got.LastCreated.Equal(want.LastCreated) {
					t.Errorf("seed %d: at %v got %+v, want %+v", seed, at, got, want)
				}
				if got.LastCreated = want.LastCreated; got != want {
					t.Errorf("seed %d: at %v got %+v, want %+v", seed, at, got, want)
				}
				i++
			}
			if i != len(moments) {
				t.Errorf("seed %d: got %d moments, want %d", seed, i, len(moments))
			}
		}
	}
}
