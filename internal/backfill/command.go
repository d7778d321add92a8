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
	// SkipFailed leaves out chatbots that cannot be read.
	SkipFailed bool
}

// Run writes the past of the chatbots of accounts to stdout or to the output file. It reports
// whether it left out none.
func (c Command) Run(ctx context.Context, set *accounts.Set, stdout io.Writer, terminal *progress.Terminal, logger log.Logger) (ok bool, err error) {
	now := time.Now().Truncate(time.Second)
	if c.End.IsZero() {
		c.End = now
	}
	switch {
	case c.End.After(now):
		return false, errors.New("--end: is in the future; remove it to write until now")
	case c.Start.After(now):
		return false, errors.New("--start: is in the future; give an earlier time")
	case c.Start.After(c.End):
		return false, errors.New("--end: is before --start; give a later --end or an earlier --start")
	}
	done, err := c.output(stdout, func(out io.Writer) (written, error) {
		return c.write(ctx, set, out, terminal, logger)
	})
	if err != nil {
		return false, err
	}
	level.Info(logger).Log("msg", "Wrote history", "chatbots", len(done.past.Chatbots), "sessions", done.past.Sessions(), "samples", done.samples,
		"from", rfc3339(done.past.Start), "to", rfc3339(done.past.End))
	return !done.skipped, nil
}

// written is what was written.
type written struct {
	past    *Past
	samples int64
	skipped bool // whether chatbots were left out
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

// chatbots returns the chatbots of accounts, asked side by side. It reports whether accounts
// were left out, which it logs.
func (c Command) chatbots(ctx context.Context, set *accounts.Set, logger log.Logger) (chatbots []Chatbot, skipped bool, err error) {
	lists := set.Lists(ctx)
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	var failed []error
	for _, list := range lists {
		if err := listError(list); err != nil {
			failed = append(failed, err)
			continue
		}
		for _, chatbot := range list.Chatbots {
			chatbots = append(chatbots, Chatbot{Chatbot: chatbot, Account: list.Account.Name, Source: list.Account.Source})
		}
	}
	if len(failed) == 1 && (!c.SkipFailed || len(lists) == 1) {
		return nil, false, failed[0]
	}
	for _, err := range failed {
		level.Error(logger).Log("msg", "An account cannot be read", "err", err)
	}
	if len(failed) > 0 && (!c.SkipFailed || len(failed) == len(lists)) {
		return nil, false, fmt.Errorf("%d of %d accounts could not be read; correct that, or write the others with --skip-failed", len(failed), len(lists))
	}
	return chatbots, len(failed) > 0, nil
}

// listError returns why the chatbots of an account cannot be read, nil if they can. It names
// the account, if that has a name.
func listError(list accounts.List) error {
	err := list.Problem()
	if list.Err != nil { // the log has it with a hint
		err = errors.New("without the list of chatbots, there is nothing to write")
	}
	if err != nil && list.Account.Name != "" {
		return fmt.Errorf("account %q: %w", list.Account.Name, err)
	}
	return err
}

// write fetches the sessions of all chatbots and then writes their past to out.
func (c Command) write(ctx context.Context, set *accounts.Set, out io.Writer, terminal *progress.Terminal, logger log.Logger) (written, error) {
	if _, given := c.Labels[model.JobLabel]; !given {
		level.Warn(logger).Log("msg", "Without the label job, dashboard and alerts will not show the history",
			"hint", "set the labels job and instance as in the scrape configuration")
	}
	chatbots, skipped, err := c.chatbots(ctx, set, logger)
	if err != nil {
		return written{}, err
	}
	bar := terminal.Bar(progress.Unknown, "reading sessions")
	past, err := Read(ctx, Config{
		Chatbots: chatbots, SkipFailed: c.SkipFailed, Start: c.Start, End: c.End, Step: c.Step, Labels: c.Labels, Logger: logger,
		OnRead: func(chatbot Chatbot, sessions int) {
			bar.Describe("reading sessions of " + chatbot.UUID)
			_ = bar.Add(sessions)
		},
	})
	_ = bar.Finish()
	if err != nil {
		return written{}, err
	}
	level.Info(logger).Log("msg", "Writing samples", "max_samples", past.MaxSamples(), "chatbots", len(past.Chatbots),
		"from", rfc3339(past.Start), "to", rfc3339(past.End), "step", c.Step)
	bar = terminal.Bar(past.MaxSamples(), "writing samples")
	done := written{past: past, skipped: skipped || len(past.Chatbots) < len(chatbots)}
	err = past.Write(ctx, out, func(chatbot Chatbot, samples int) {
		done.samples += int64(samples)
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
