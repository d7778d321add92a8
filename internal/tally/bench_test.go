package tally_test

import (
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/internal/bruteforce"
)

// BenchmarkAdd adds sessions of the last 30 days, the most expensive ones.
func BenchmarkAdd(b *testing.B) {
	sessions := bruteforce.Every(read, 30*time.Second, 30*day, 0)
	b.ReportAllocs()
	for b.Loop() {
		tallied(read, sessions)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(sessions)), "ns/session")
}

// BenchmarkAt computes the numbers of a chatbot: when the list was read, later, and after
// two weeks without a session, which compares the longest spans.
func BenchmarkAt(b *testing.B) {
	for name, after := range map[string]time.Duration{"read": 0, "later": time.Hour, "silent": 14 * day} {
		b.Run(name, func(b *testing.B) {
			tallied := tallied(read, bruteforce.Every(read, 10*time.Minute, 100*day, 0))
			for b.Loop() {
				tallied.At(read.Add(after))
			}
		})
	}
}
