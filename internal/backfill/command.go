// Package backfill writes the past of chatbots as OpenMetrics, from the creation times
// of their sessions.
package backfill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/model"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/progress"
)

// Command is the command backfill with its flags.
type Command struct {
	// Start is when the first sample is; zero: see [Config].
	Start time.Time
	// End is when the last sample is; zero: now.
	End time.Time
	// Step is the time between samples.
	Step time.Duration
	// Labels are given to all series.
	Labels model.LabelSet
	// Output is the file to write, as a whole or not at all; empty: standard output.
	Output string
}

// Run writes the past of an account's chatbots to stdout or to the output file.
func (c Command) Run(ctx context.Context, account *accounts.Account, stdout io.Writer, terminal *progress.Terminal, logger log.Logger) error {
	now := time.Now().Truncate(time.Second)
	if c.End.IsZero() {
		c.End = now
	}
	switch {
	case c.End.After(now):
		return errors.New("--end: is in the future; remove it to write until now")
	case c.Start.After(now):
		return errors.New("--start: is in the future; give an earlier time")
	case c.Start.After(c.End):
		return errors.New("--end: is before --start; give a later --end or an earlier --start")
	}
	done, err := c.output(stdout, func(out io.Writer) (written, error) {
		return c.write(ctx, account, out, terminal, logger)
	})
	if err != nil {
		return err
	}
	level.Info(logger).Log("msg", "wrote history", "chatbots", len(done.past.Chatbots), "sessions", done.past.Sessions(), "samples", done.samples,
		"from", rfc3339(done.past.Start), "to", rfc3339(done.past.End))
	return nil
}

// written is what was written.
type written struct {
	past    *Past
	samples int
}

// output calls write with stdout or the output file.
func (c Command) output(stdout io.Writer, write func(io.Writer) (written, error)) (written, error) {
	if c.Output == "" {
		done, err := write(stdout)
		return done, writeError("writing to standard output: %w", err)
	}
	const hint = "--output: cannot be written: %w; name a file in a folder that exists, that you may write and that has space"
	file, err := Create(c.Output)
	if err != nil {
		return written{}, fmt.Errorf(hint, err)
	}
	defer file.Discard()
	done, err := write(file)
	if err != nil {
		return written{}, writeError(hint, err)
	}
	if err := file.Keep(); err != nil {
		return written{}, fmt.Errorf(hint, err)
	}
	return done, nil
}

// outputError is an error of writing the output.
type outputError struct{ error }

func (e outputError) Unwrap() error { return e.error }

// writeError adds format to err if err is about the output.
func writeError(format string, err error) error {
	if output := (outputError{}); errors.As(err, &output) {
		return fmt.Errorf(format, output.error)
	}
	return err
}

// write fetches the sessions of all chatbots and then writes their past to out.
func (c Command) write(ctx context.Context, account *accounts.Account, out io.Writer, terminal *progress.Terminal, logger log.Logger) (written, error) {
	if _, given := c.Labels[model.JobLabel]; !given {
		level.Warn(logger).Log("msg", "without the label job, dashboard and alerts will not show the history",
			"hint", "set the labels job and instance as in the scrape configuration")
	}
	chatbots, err := account.Directory.Chatbots(ctx)
	switch {
	case ctx.Err() != nil:
		return written{}, context.Cause(ctx)
	case err != nil: // the log has it with a hint
		return written{}, errors.New("without the list of chatbots, there is nothing to write")
	case len(chatbots) == 0:
		return written{}, errors.New("the account has no chatbots; check the base URL and the API key")
	}
	bar := terminal.Bar(progress.Unknown, "reading sessions")
	past, err := Read(ctx, Config{
		Source: account.Source, Chatbots: chatbots, Start: c.Start, End: c.End, Step: c.Step, Labels: c.Labels, Logger: logger,
		OnRead: func(chatbot client.Chatbot, sessions int) {
			bar.Describe("reading sessions of " + chatbot.UUID)
			_ = bar.Add(sessions)
		},
	})
	_ = bar.Finish()
	if err != nil {
		return written{}, err
	}
	level.Info(logger).Log("msg", "writing samples", "max_samples", past.MaxSamples(), "chatbots", len(chatbots),
		"from", rfc3339(past.Start), "to", rfc3339(past.End), "step", c.Step)
	bar = terminal.Bar(past.MaxSamples(), "writing samples")
	done := written{past: past}
	err = past.Write(ctx, out, func(chatbot client.Chatbot, samples int) {
		done.samples += samples
		bar.Describe("writing samples of " + chatbot.UUID)
		_ = bar.Add(samples)
	})
	_ = bar.Finish()
	switch {
	case ctx.Err() != nil:
		return written{}, context.Cause(ctx)
	case err != nil:
		return written{}, outputError{err}
	}
	return done, nil
}
