package backfill_test

import (
	"context"
	"io"
	"iter"
	"runtime"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/backfill"
)

const (
	million = 1_000_000
	years   = 3 * 365 * 24 * time.Hour
)

var began = time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)

// generated has a million sessions over three years, in disorder, and takes no memory.
type generated struct{}

func (generated) Stream(_ context.Context, _ client.Chatbot, read func(iter.Seq2[client.Session, error]) error) error {
	return read(func(yield func(client.Session, error) bool) {
		for i := range million {
			session := client.Session{
				// 7919 has no divisor in common with a million.
				Created: began.Add(time.Duration(i*7919%million) * (years / million)),
				HasLead: i%3 == 0, IdentityVerified: i%7 == 0,
			}
			if !yield(session, nil) {
				return
			}
		}
	})
}

func nothing(backfill.Chatbot, int) {}

func generatedPast() backfill.Config {
	return backfill.Config{
		Chatbots: []backfill.Chatbot{{Chatbot: client.Chatbot{UUID: "7f5e5376dbf045cd8c72c60f428653d1"}, Source: generated{}}},
		Start:    began.Add(-time.Hour), End: began.Add(years), Step: 5 * time.Minute, OnRead: nothing,
	}
}

// inUse returns the bytes of memory that are in use.
func inUse() int64 {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return int64(memory.HeapAlloc)
}

// counter counts bytes.
type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// BenchmarkMillion writes the past of a million sessions over three years, a sample
// every five minutes.
func BenchmarkMillion(b *testing.B) {
	config := generatedPast()
	before := inUse()
	past, err := backfill.Read(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	perSession := float64(inUse()-before) / million
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := backfill.Read(b.Context(), config); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(perSession, "held-B/session")
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		var written counter
		for b.Loop() {
			if err := past.Write(b.Context(), &written, nothing); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(written) / int64(b.N))
		b.ReportMetric(float64(past.MaxSamples()), "samples/op")
	})
}

// A session takes 9 bytes at most, and a sample none.
func TestMemory(t *testing.T) {
	before := inUse()
	config := generatedPast()
	config.Step = time.Hour
	past, err := backfill.Read(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	read := inUse()
	most := read
	onWritten := func(backfill.Chatbot, int) {
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		most = max(most, int64(memory.HeapAlloc))
	}
	if err := past.Write(t.Context(), io.Discard, onWritten); err != nil {
		t.Fatal(err)
	}
	if got := float64(read-before) / million; got > 9 {
		t.Errorf("a session takes %.1f bytes", got)
	}
	if grown := most - read; grown > 1<<20 {
		t.Errorf("writing %d samples takes %d bytes", past.MaxSamples(), grown)
	}
	t.Logf("a session takes %.1f bytes, writing %d samples %d", float64(read-before)/million, past.MaxSamples(), most-read)
}
