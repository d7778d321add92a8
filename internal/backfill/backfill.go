// Package backfill writes the past of chatbots as OpenMetrics, as far as the
// creation times of their sessions tell it.
package backfill

import (
	"context"
	"iter"
	"math"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

// Source lets read have all sessions of a chatbot, as [collector.Source] does: from
// the first again where it tries again. The error names the chatbot.
type Source interface {
	Read(ctx context.Context, chatbot collector.Chatbot, read func(iter.Seq2[client.Session, error]) error) error
}

// Config says what past to write.
type Config struct {
	Source   Source
	Chatbots collector.Chatbots
	// Start is when the first sample is; zero: when the first session of all
	// chatbots was created, or the next full second. Prometheus has milliseconds.
	Start time.Time
	// End is when the last sample is, not before Start.
	End time.Time
	// Step is what lies between samples; the last step may be shorter.
	Step time.Duration
	// Labels are given to all series, beside that of the chatbot.
	Labels model.LabelSet
	// Sessions and Samples are told of the progress, chatbot by chatbot, Sessions
	// from several goroutines: how many more were read or written.
	Sessions, Samples func(chatbot collector.Chatbot, more int)
	// Logger is told of sessions that are not where they belong in the past.
	Logger log.Logger
}

// Past is what chatbots were in a span of time. It takes up to 12 bytes of memory per
// session, however many samples it has.
type Past struct {
	Config
	histories []history // in the order of Chatbots
}

// Read reads the sessions of all chatbots. It fails where any of them does.
func Read(ctx context.Context, config Config) (*Past, error) {
	past := &Past{Config: config, histories: make([]history, len(config.Chatbots))}
	reads, ctx := errgroup.WithContext(ctx)
	for i, chatbot := range config.Chatbots {
		reads.Go(func() error {
			return config.Source.Read(ctx, chatbot, func(sessions iter.Seq2[client.Session, error]) (err error) {
				past.histories[i], err = read(sessions, config.Start, config.End, func(more int) { config.Sessions(chatbot, more) })
				return err
			})
		})
	}
	if err := reads.Wait(); err != nil {
		return nil, err
	}
	if past.Start.IsZero() {
		past.Start = past.first()
	}
	past.report()
	return past, nil
}

// first returns when the first session was created, rounded up to a full second as
// promtool may take a fraction for a millisecond less; the end if there was none.
func (p *Past) first() time.Time {
	first := int64(math.MaxInt64)
	for _, h := range p.histories {
		first = min(first, h.first)
	}
	at := time.Unix(0, first)
	if second := at.Truncate(time.Second); second.Before(at) {
		at = second.Add(time.Second)
	}
	if at.After(p.End) {
		return p.End
	}
	return at
}

// report logs what is not where it belongs.
func (p *Past) report() {
	for i, h := range p.histories {
		if h.undated > 0 {
			level.Warn(p.Logger).Log("msg", "sessions without a readable creation time are counted from --start on",
				"chatbot", p.Chatbots[i].UUID, "sessions", h.undated, "from", p.Start.UTC().Format(time.RFC3339))
		}
		if h.future > 0 {
			level.Warn(p.Logger).Log("msg", "sessions with a creation time in the future are left out",
				"chatbot", p.Chatbots[i].UUID, "sessions", h.future, "todo", "compare this machine's clock with the API's")
		}
	}
}

// moments yields when there is a sample: from the start by steps, and at the end.
func (p *Past) moments() iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		for at := p.Start; at.Before(p.End); at = at.Add(p.Step) {
			if !yield(at) {
				return
			}
		}
		yield(p.End)
	}
}

// MaxSamples returns how many samples there are at most; there are less where a
// chatbot had no session yet.
func (p *Past) MaxSamples() int {
	span := p.End.Sub(p.Start)
	moments := 1 + int((span+p.Step-1)/p.Step)
	return len(datedSums()) * len(p.histories) * moments
}

// datedSums returns the metrics whose past is known.
func datedSums() (dated []collector.Sum) {
	for _, sum := range collector.Sums() {
		if sum.Dated {
			dated = append(dated, sum)
		}
	}
	return dated
}
