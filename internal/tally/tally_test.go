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
