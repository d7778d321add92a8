package collector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Read lets read have all sessions of a chatbot, fetched anew for it alone: from the
// first again where a try fails for a transient cause. Where the API wants no
// requests for a while, it waits for the end of that, unless the fetch had to end
// before. read must go on until the sequence ends and return its error. The error
// names the chatbot and says what can be done about it.
func (s *Source) Read(ctx context.Context, chatbot Chatbot, read func(iter.Seq2[client.Session, error]) error) error {
	err := s.read(ctx, chatbot, read)
	var failure *client.Error
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &failure):
		name := chatbot.UUID
		if chatbot.Name != "" {
			name = fmt.Sprintf("%s (%q)", chatbot.UUID, chatbot.Name)
		}
		return fmt.Errorf("fetching the sessions of chatbot %s: %w; %s", name, err, readRemedy(failure))
	}
	return err
}

func (s *Source) read(ctx context.Context, chatbot Chatbot, read func(iter.Seq2[client.Session, error]) error) error {
	if s.requests.Acquire(ctx, 1) != nil {
		return s.starved(context.Cause(ctx))
	}
	defer s.requests.Release(1)
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	for {
		_, err := try(ctx, &s.pause, func() (struct{}, error) {
			return struct{}{}, read(s.API.Sessions(ctx, chatbot.UUID, time.Time{}, &client.Validator{}))
		})
		var failure *client.Error
		if !errors.As(err, &failure) || failure.RetryAt.IsZero() || !wait(ctx, s.pause.until(failure.RetryAt)) {
			return err
		}
	}
}

// wait waits until a time, and tells whether ctx lets it.
func wait(ctx context.Context, until time.Time) bool {
	if deadline, ok := ctx.Deadline(); ok && !until.Before(deadline) {
		return false
	}
	select {
	case <-time.After(time.Until(until)):
		return true
	case <-ctx.Done():
		return false
	}
}
