package tally_test

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/bruteforce"
)

// FuzzTally adds sessions in any order and in up to three parts. All have the same tally,
// with the recent sessions that the contract counts.
func FuzzTally(f *testing.F) {
	f.Add([]byte(nil), uint64(0))
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 6))
		data := make([]byte, 5*random.IntN(100))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data, seed)
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		var sessions []client.Session
		for ; len(data) >= 5 && len(sessions) < 500; data = data[5:] {
			kind, ago := data[4], int32(binary.LittleEndian.Uint32(data))
			s := client.Session{HasLead: kind&1 > 0, IdentityVerified: kind&2 > 0, Malformed: kind&4 > 0}
			if kind&8 == 0 {
				// From 50 days ago until 50 days from now, or up to 68 years off.
				unit := []time.Duration{2 * time.Millisecond, time.Second}[kind>>4&1]
				s.Created = read.Add(-time.Duration(ago) * unit)
			}
			if kind&32 == 0 {
				s.Modified = s.Created
			}
			sessions = append(sessions, s)
		}
		random := rand.New(rand.NewPCG(seed, 7))
		want := *tallied(read, sessions)
		shuffled := slices.Clone(sessions)
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := *tallied(read, shuffled); got != want {
			t.Error("the tally depends on the order")
		}
		first := random.IntN(len(shuffled) + 1)
		second := first + random.IntN(len(shuffled)-first+1)
		a, b, c := tallied(read, shuffled[:first]), tallied(read, shuffled[first:second]), tallied(read, shuffled[second:])
		if got := *a.Plus(b).Plus(c); got != want {
			t.Error("the tally depends on the parts")
		}
		if got := *c.Plus(a.Plus(b)); got != want {
			t.Error("the tally depends on the order of the parts")
		}
		if got, want := want.At(read).Recent, (bruteforce.Sessions{List: sessions, Now: read}).Activity().Recent; got != want {
			t.Errorf("recent: got %v, want %v", got, want)
		}
		// Parts that were read at different times.
		b, c = tallied(read.Add(time.Duration(random.Int64N(int64(50*day)))), shuffled[first:second]), tallied(read.Add(day), shuffled[second:])
		if *a.Plus(b).Plus(c) != *a.Plus(c).Plus(b) {
			t.Error("the tally depends on the order of parts that were read at different times")
		}
	})
}
