package tally_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/bruteforce"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// longAgo is before all moments of tests.
var longAgo = time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC)

// randomMoments returns up to n moments from a time until another, in ascending order.
func randomMoments(random *rand.Rand, n int, from, to time.Time) []time.Time {
	moments := make([]time.Time, random.IntN(n)+1)
	for i := range moments {
		moments[i] = from.Add(time.Duration(random.Int64N(int64(to.Sub(from)))))
	}
	slices.SortFunc(moments, time.Time.Compare)
	return moments
}

// checkPast compares the past at moments with a count of the sessions created until then.
func checkPast(t *testing.T, what string, from time.Time, sessions []client.Session, moments []time.Time) {
	t.Helper()
	past := tally.NewPast(from)
	for _, s := range sessions {
		past.Add(s)
	}
	i := 0
	for m := range past.At(slices.Values(moments)) {
		until := slices.DeleteFunc(slices.Clone(sessions), func(s client.Session) bool { return s.Created.After(moments[i]) })
		want := count(until)
		got := m.Counts()
		got.Malformed, got.LastModified = want.Malformed, want.LastModified
		if !m.Time.Equal(moments[i]) || !got.LastCreated.Equal(want.LastCreated) {
			t.Errorf("%s: at %v got %+v, want %+v", what, m.Time, got, want)
		}
		if got.LastCreated = want.LastCreated; got != want {
			t.Errorf("%s: at %v got %+v, want %+v", what, m.Time, got, want)
		}
		activity := bruteforce.Sessions{List: until, Now: m.Time}.Activity()
		if difference := bruteforce.Difference(tally.ActivityOf(m.Arrivals(), m.Time), activity); difference != "" {
			t.Errorf("%s: at %v: %s", what, m.Time, difference)
		}
		i++
	}
	if i != len(moments) {
		t.Errorf("%s: got %d moments, want %d", what, i, len(moments))
	}
}

// The past at a moment is what the sessions created until then add up to.
func TestPast(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 6))
	lists := bruteforce.Edges(read)
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		sessions := lists[name]
		moments := append(randomMoments(random, 6, read.Add(-80*day), read.Add(40*day)), read.Add(50*day))
		checkPast(t, name, longAgo, sessions, moments)
		checkPast(t, name+", from a later time", moments[0], sessions, moments)
	}
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 6))
		sessions := bruteforce.Random(random, read, []int{3, 30, 300, 3000}[seed%4])
		moments := randomMoments(random, 8, read.Add(-70*day), read.Add(5*day))
		if len(sessions) > 0 && moments[0].Before(sessions[0].Created) {
			moments = append(moments, sessions[0].Created) // a session at a moment
			slices.SortFunc(moments, time.Time.Compare)
		}
		checkPast(t, fmt.Sprint("seed ", seed), moments[0], sessions, moments)
	}
}

// Sessions from long ago exist at all moments, and are the oldest.
func TestPastOfLongAgo(t *testing.T) {
	sessions := append(bruteforce.Every(read, 40*time.Minute, 10*day, 0), client.Session{Created: time.Unix(0, 0), HasLead: true})
	for _, created := range []time.Time{time.Unix(0, 0), time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)} {
		sessions[len(sessions)-1].Created = created
		checkPast(t, created.String(), longAgo, sessions, []time.Time{read.Add(-5 * day), read})
	}
}

// The answers do not depend on the moments and the questions before.
func TestPastInAnyOrder(t *testing.T) {
	for _, step := range []time.Duration{3 * time.Minute, day} { // several blocks, and one
		random := rand.New(rand.NewPCG(1, 7))
		past := tally.NewPast(longAgo)
		sessions := bruteforce.Every(read, step, 100*day, 0)
		random.Shuffle(len(sessions), func(i, j int) { sessions[i], sessions[j] = sessions[j], sessions[i] })
		for _, s := range sessions {
			past.Add(s)
		}
		moments := randomMoments(random, 500, read.Add(-100*day), read)
		for i := range moments {
			moments[i] = read.Add(moments[i].Sub(read).Truncate(step)) // when a session is created
		}
		i := 0
		for m := range past.At(slices.Values(moments)) {
			i++
			kind, from := tally.Kind(random.IntN(3)), moments[random.IntN(i)]
			for alone := range past.At(slices.Values(moments[i-1 : i])) {
				got, want := m.Arrivals().Since(kind, from), alone.Arrivals().Since(kind, from)
				if got != want || m.Counts() != alone.Counts() {
					t.Errorf("at %v got %v since %v and %v, want %v and %v", m.Time, got, from, m.Counts(), want, alone.Counts())
				}
			}
		}
	}
}

// The first session is the first at the time of the past or later.
func TestFirst(t *testing.T) {
	sessions := bruteforce.Every(read, time.Hour, 3*day, 0)
	for name, test := range map[string]struct {
		from  time.Time
		first time.Time
	}{
		"from any time on":           {longAgo, read.Add(-3 * day)},
		"from a session on":          {read.Add(-2 * day), read.Add(-2 * day)},
		"from between them on":       {read.Add(-2*day + 1), read.Add(-2*day + time.Hour)},
		"from the last one on":       {read, read},
		"from after the last one on": {read.Add(1), time.Time{}},
	} {
		past := tally.NewPast(test.from)
		for _, s := range sessions {
			past.Add(s)
		}
		if first, ok := past.First(); !first.Equal(test.first) || ok == test.first.IsZero() {
			t.Errorf("%s: the first is %v, %t", name, first, ok)
		}
	}
}
