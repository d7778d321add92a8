package collector

import (
	"context"
	"errors"
	"time"

	"github.com/go-kit/log/level"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// history is what is remembered of a chatbot from its fetches before.
type history struct {
	last Fetch         // the last that succeeded; its Finished is zero if none has
	took time.Duration // the last fetch of all

	// The last full list.
	full          Summary
	fullValidator client.Validator

	// The last full list that began an interval of incremental fetches: when the
	// next is due, the cut-off, and what the sessions created before it and those
	// without a readable creation time added up to.
	nextFull time.Time
	cutOff   time.Time
	old      Summary

	// The last answer with sessions from the cut-off on.
	recent          Summary
	recentValidator client.Validator

	// unfiltered says that the server does not filter; until nextFull all lists are
	// full.
	unfiltered bool
}

// sum returns what the sessions of a chatbot add up to, from its whole list or from
// the recent sessions and what is remembered of the old ones.
func (s *Source) sum(ctx context.Context, chatbot Chatbot, h *history) (Summary, error) {
	now := time.Now()
	if s.Window <= 0 || h.unfiltered || !now.Before(h.nextFull) {
		return s.sumFull(ctx, chatbot, h, now)
	}
	known := h.recentValidator
	got, err := s.count(ctx, chatbot, h.cutOff, h.cutOff, &known)
	var failure *client.Error
	switch {
	case errors.Is(err, client.ErrNotModified):
		return h.old.plus(h.recent), nil
	case errors.As(err, &failure) && failure.RefusesQuery():
		s.setUnfiltered(chatbot, h)
		return s.sumFull(ctx, chatbot, h, now)
	case err != nil:
		return Summary{}, err
	case got.before.Sessions > 0:
		s.setUnfiltered(chatbot, h)
		return got.before.plus(got.undated).plus(got.recent), nil
	}
	// Sessions without a readable creation time are among the old ones already.
	h.recent, h.recentValidator = got.recent, known
	return h.old.plus(h.recent), nil
}

// sumFull returns what the whole list adds up to. Where the time for it has come,
// an interval of incremental fetches begins.
func (s *Source) sumFull(ctx context.Context, chatbot Chatbot, h *history, now time.Time) (Summary, error) {
	cutOff := now.Add(-s.Window).Truncate(time.Second)
	known := h.fullValidator
	got, err := s.count(ctx, chatbot, time.Time{}, cutOff, &known)
	due := !now.Before(h.nextFull)
	switch {
	case errors.Is(err, client.ErrNotModified):
		// What was true of the list at the cut-off before still is.
	case err != nil:
		return Summary{}, err
	default:
		// Also before it is due, or else what is not modified then would not be what
		// the sums are of.
		h.full, h.fullValidator = got.before.plus(got.undated).plus(got.recent), known
		h.cutOff, h.old = cutOff, got.before.plus(got.undated)
		h.recent, h.recentValidator = Summary{}, client.Validator{}
	}
	if due {
		h.nextFull, h.unfiltered = now.Add(s.FullInterval), false
	}
	return h.full, nil
}

// setUnfiltered has a chatbot's lists be full until the next interval begins.
func (s *Source) setUnfiltered(chatbot Chatbot, h *history) {
	h.unfiltered = true
	level.Info(s.Logger).Log("msg", "the API does not filter sessions by time; fetching the whole list",
		"chatbot", chatbot.UUID, "until", h.nextFull.UTC().Format(time.RFC3339))
}

// counted is what a list adds up to: the sessions created before a cut-off, those
// without a readable creation time, and the rest.
type counted struct{ before, undated, recent Summary }

// count fetches the sessions created since a time, or all if that is zero, and
// adds them up.
func (s *Source) count(ctx context.Context, chatbot Chatbot, since, cutOff time.Time, known *client.Validator) (counted, error) {
	var got counted
	for session, err := range s.API.Sessions(ctx, chatbot.UUID, since, known) {
		switch {
		case err != nil:
			return counted{}, err
		case session.Created.IsZero():
			got.undated.Add(session)
		case session.Created.Before(cutOff):
			got.before.Add(session)
		default:
			got.recent.Add(session)
		}
	}
	return got, nil
}
