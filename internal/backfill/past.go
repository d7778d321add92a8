package backfill

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/model"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// Source passes all sessions of a chatbot to read, as [fetch.Source] does, and again
// from the first after a transient failure. Its error names the chatbot.
type Source interface {
	Stream(ctx context.Context, chatbot client.Chatbot, read func(iter.Seq2[client.Session, error]) error) error
}

// Chatbot is a chatbot whose past is written.
type Chatbot struct {
	client.Chatbot
	// Account is the value of the label account; empty: the series do not have it.
	Account string
	// Source has its sessions.
	Source Source
}

// Config describes the past to write.
type Config struct {
	Chatbots []Chatbot
	// SkipFailed leaves out chatbots that cannot be read.
	SkipFailed bool
	// Start is when the first sample is. Zero: the first full second, as promtool may
	// round fractions, after the first session of all chatbots was created in the
	// maxYears before End.
	Start time.Time
	// End is when the last sample is, not before Start.
	End time.Time
	// Step is the time between samples. The last step may be shorter.
	Step time.Duration
	// Labels are given to all series, in addition to the chatbot.
	Labels model.LabelSet
	// OnRead is called, concurrently, with the number of sessions of a chatbot that
	// were read since the last call.
	OnRead func(chatbot Chatbot, sessions int)
	// Logger gets the numbers of sessions without a usable creation time, and the chatbots
	// that cannot be read, unless Read returns the only one as its error.
	Logger log.Logger
}

// maxYears is the length of the past without a Config.Start. A single session with a
// wrong date would otherwise make gigabytes of samples.
const maxYears = 10

// Past is what chatbots were in a span of time. Its memory depends on the number of
// sessions, not of samples; see [tally.Past].
type Past struct {
	Config                 // with those of its chatbots that could be read
	chatbots []chatbotPast // in the order of Config.Chatbots
}

// chatbotPast is the past of a chatbot.
type chatbotPast struct {
	*tally.Past
	counted int // number of sessions that count at the end
	undated int // number of sessions without a readable creation time
	early   int // number of sessions from before the last maxYears, without a Config.Start
	future  int // number of sessions that are left out because they are created in the future
}

// Read fetches the sessions of all chatbots. It fails if any fetch fails, unless failed ones
// are to be left out, and if all do.
func Read(ctx context.Context, config Config) (*Past, error) {
	pasts := make([]chatbotPast, len(config.Chatbots))
	errs := make([]error, len(config.Chatbots))
	var fetches sync.WaitGroup
	for i, chatbot := range config.Chatbots {
		fetches.Go(func() {
			errs[i] = chatbot.Source.Stream(ctx, chatbot.Chatbot, func(sessions iter.Seq2[client.Session, error]) (err error) {
				pasts[i], err = config.read(chatbot, sessions)
				return err
			})
		})
	}
	fetches.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := config.failure(errs); err != nil {
		return nil, err
	}
	past := &Past{Config: config}
	past.Chatbots = nil
	for i, chatbot := range config.Chatbots {
		if errs[i] == nil {
			past.Chatbots, past.chatbots = append(past.Chatbots, chatbot), append(past.chatbots, pasts[i])
		}
	}
	if past.Start.IsZero() {
		past.Start = past.first()
	}
	past.report()
	return past, nil
}

// failure returns why nothing is to be written after fetches ended with errs, nil if they
// succeeded or failed ones are left out. It logs what it does not return.
func (c Config) failure(errs []error) error {
	var failed []error
	for i, err := range errs {
		if err == nil {
			continue
		}
		if account := c.Chatbots[i].Account; account != "" {
			err = fmt.Errorf("account %q: %w", account, err)
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 || len(failed) == 1 && !c.SkipFailed {
		return errors.Join(failed...)
	}
	for _, err := range failed {
		level.Error(c.Logger).Log("msg", "A chatbot cannot be read", "err", err)
	}
	switch {
	case len(failed) == len(errs):
		return errors.New("no chatbot could be read")
	case c.SkipFailed:
		return nil
	}
	return fmt.Errorf("%d of %d chatbots could not be read; correct that, or write the others with --skip-failed", len(failed), len(errs))
}

// read reads the sessions of a chatbot.
func (c Config) read(chatbot Chatbot, sessions iter.Seq2[client.Session, error]) (chatbotPast, error) {
	const often = 1 << 12
	earliest := c.earliest()
	past := chatbotPast{Past: tally.NewPast(earliest)}
	n := 0
	for session, err := range sessions {
		if err != nil {
			return chatbotPast{}, err
		}
		past.add(session, c, earliest)
		if n++; n%often == 0 {
			c.OnRead(chatbot, often)
		}
	}
	c.OnRead(chatbot, n%often)
	return past, nil
}

func (p *chatbotPast) add(session client.Session, c Config, earliest time.Time) {
	created := session.Created
	if created.After(c.End) {
		if created.After(time.Now()) {
			p.future++
		}
		return
	}
	p.counted++
	p.Add(session)
	switch {
	case created.IsZero():
		p.undated++
	case c.Start.IsZero() && created.Unix() > 0 && created.Before(earliest):
		p.early++
	}
}

// earliest returns when the first sample is at the earliest.
func (c Config) earliest() time.Time {
	if c.Start.IsZero() {
		return c.End.AddDate(-maxYears, 0, 0)
	}
	return c.Start
}

// first returns the default of Config.Start, or End if there is no session.
func (p *Past) first() time.Time {
	first := p.End
	for i := range p.chatbots {
		if at, ok := p.chatbots[i].First(); ok && at.Before(first) {
			first = at
		}
	}
	if second := first.Truncate(time.Second); second.Before(first) {
		first = second.Add(time.Second)
	}
	if first.After(p.End) {
		return p.End
	}
	return first
}

// report logs the numbers of sessions without a usable creation time.
func (p *Past) report() {
	for i, past := range p.chatbots {
		logger := p.Logger
		if account := p.Chatbots[i].Account; account != "" {
			logger = log.With(logger, accounts.Label, account)
		}
		if past.undated > 0 {
			level.Warn(logger).Log("msg", "Sessions without a readable creation time are counted from the first sample on",
				"chatbot", p.Chatbots[i].UUID, "sessions", past.undated, "from", rfc3339(p.Start))
		}
		if past.early > 0 {
			level.Warn(logger).Log("msg", fmt.Sprintf("sessions from more than %d years before the end are counted from the first sample on", maxYears),
				"chatbot", p.Chatbots[i].UUID, "sessions", past.early, "from", rfc3339(p.Start),
				"hint", "set a start to write earlier samples")
		}
		if past.future > 0 {
			level.Warn(logger).Log("msg", "Sessions with a creation time in the future are left out",
				"chatbot", p.Chatbots[i].UUID, "sessions", past.future, "hint", "compare the clock of this machine with that of the API")
		}
	}
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// moments yields the times of the samples: from Start by steps, and End.
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

// Sessions returns the number of sessions that the last samples count.
func (p *Past) Sessions() int {
	sessions := 0
	for _, past := range p.chatbots {
		sessions += past.counted
	}
	return sessions
}

// MaxSamples returns the maximum number of samples. There are fewer if a chatbot had no
// session at first, or not enough to compare with.
func (p *Past) MaxSamples() int64 {
	span := p.End.Sub(p.Start)
	moments := 1 + int64((span+p.Step-1)/p.Step)
	return int64(len(collector.DatedMetrics())) * int64(len(p.chatbots)) * moments
}
