package fetch

import (
	"context"
	"errors"
	"time"

	"github.com/go-kit/log/level"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// state is what is remembered of a chatbot from one fetch to the next.
type state struct {
	last Result        // last success; its Finished is zero if there was none
	took time.Duration // of the last fetch, successful or not

	// The last full list.
	full          tally.Tally
	fullValidator client.Validator

	// Incremental mode: old is the tally of the sessions of the full list that were
	// created before cutOff or have no readable creation time.
	nextFull time.Time
	cutOff   time.Time
	old      tally.Tally

	// The last response with the sessions from cutOff on.
	recent          tally.Tally
	recentValidator client.Validator

	// unfiltered reports whether the server ignores or refuses the parameter. Then
	// all fetches are full until nextFull.
	unfiltered bool
}

// fetchTally returns the tally of a chatbot, from its full list, or from its recent
// sessions and the remembered tally of the old ones.
func (s *Source) fetchTally(ctx context.Context, chatbot client.Chatbot, state *state) (tally.Tally, error) {
	now := time.Now()
	if s.Window <= 0 || state.unfiltered || !now.Before(state.nextFull) {
		return s.fetchFull(ctx, chatbot, state, now)
	}
	list, err := s.fetchList(ctx, chatbot, client.SessionsOptions{Since: state.cutOff, Validator: state.recentValidator}, state.cutOff)
	var failure *client.Error
	switch {
	case errors.As(err, &failure) && failure.RefusesQuery():
		s.setUnfiltered(chatbot, state)
		return s.fetchFull(ctx, chatbot, state, now)
	case err != nil:
		return tally.Tally{}, err
	case list.notModified:
		return state.old.Plus(state.recent), nil
	case list.before.Sessions > 0:
		s.setUnfiltered(chatbot, state)
		return list.all(), nil
	}
	// Sessions without a readable creation time are already among the old ones.
	state.recent, state.recentValidator = list.recent, list.validator
	return state.old.Plus(state.recent), nil
}

// fetchFull returns the tally of the full list. If a full fetch is due, incremental
// fetches follow until the next one.
func (s *Source) fetchFull(ctx context.Context, chatbot client.Chatbot, state *state, now time.Time) (tally.Tally, error) {
	cutOff := now.Add(-s.Window).Truncate(time.Second)
	list, err := s.fetchList(ctx, chatbot, client.SessionsOptions{Validator: state.fullValidator}, cutOff)
	if err != nil {
		return tally.Tally{}, err
	}
	if !list.notModified {
		// Also if no full fetch was due: the validator and the tallies must be of the
		// same list.
		state.full, state.fullValidator = list.all(), list.validator
		state.cutOff, state.old = cutOff, list.before.Plus(list.undated)
		state.recent, state.recentValidator = tally.Tally{}, client.Validator{}
	}
	if !now.Before(state.nextFull) {
		state.nextFull, state.unfiltered = now.Add(s.FullInterval), false
	}
	return state.full, nil
}

// setUnfiltered makes all fetches of a chatbot full until the next full fetch is due.
func (s *Source) setUnfiltered(chatbot client.Chatbot, state *state) {
	state.unfiltered = true
	level.Info(s.Logger).Log("msg", "the API does not filter sessions by time; fetching the full list",
		"chatbot", chatbot.UUID, "until", state.nextFull.UTC().Format(time.RFC3339))
}

// list is a fetched list of sessions, tallied in parts: those created before a
// cut-off, those without a readable creation time, and the others.
type list struct {
	before, undated, recent tally.Tally
	validator               client.Validator
	notModified             bool // the list of the request's validator; the tallies are zero
}

func (l list) all() tally.Tally { return l.before.Plus(l.undated).Plus(l.recent) }

// fetchList fetches sessions and tallies them.
func (s *Source) fetchList(ctx context.Context, chatbot client.Chatbot, options client.SessionsOptions, cutOff time.Time) (list, error) {
	response, err := s.API.Sessions(ctx, chatbot.UUID, options)
	if err != nil {
		return list{}, err
	}
	fetched := list{validator: response.Validator, notModified: response.NotModified}
	for session, err := range response.Sessions {
		switch {
		case err != nil:
			return list{}, err
		case session.Created.IsZero():
			fetched.undated.Add(session)
		case session.Created.Before(cutOff):
			fetched.before.Add(session)
		default:
			fetched.recent.Add(session)
		}
	}
	return fetched, nil
}
