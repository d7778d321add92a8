package fetch

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-kit/log/level"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// incrementalPause is for how long all fetches of a chatbot are full after its server
// was found not to filter as it should.
const incrementalPause = 24 * time.Hour

// maxSkew is how far the dates of sessions may be ahead of the Date of a response: of all of
// them, if they are local times of the east, or of a few that are wrong.
const maxSkew = 48 * time.Hour

// fetched is a tally, and the local time and the Date of the response that it rests on.
type fetched struct {
	tally          *tally.Tally
	received, date time.Time
}

// lists fetches lists of sessions, with the settings of one fetch.
type lists struct {
	*Source
	SourceOptions
}

// fetchTally returns the tally of a chatbot. Where the remembered one does not cover the
// Date of the response, the list is fetched again: one of the two was wrong.
func (s lists) fetchTally(ctx context.Context, chatbot client.Chatbot, state *state) (fetched, error) {
	result, err := s.fetchChanges(ctx, chatbot, state)
	if err != nil || result.tally.Covers(result.date) {
		return result, err
	}
	result, _, err = s.fetchAgain(ctx, chatbot, state)
	return result, err
}

// fetchChanges returns the tally of a chatbot, from its full list, or from its recent
// sessions and the remembered tally of the old ones.
func (s lists) fetchChanges(ctx context.Context, chatbot client.Chatbot, state *state) (fetched, error) {
	if s.Window <= 0 || state.needsFull(time.Now()) {
		result, _, err := s.fetchFull(ctx, chatbot, state)
		return result, err
	}
	part, err := s.fetchList(ctx, chatbot, client.SessionsOptions{Since: state.span.from, Validator: state.recentValidator},
		func(time.Time) time.Time { return state.span.from }, state.span)
	switch {
	case err != nil && !isOtherAnswer(err):
		if reason := ReasonOf(err); reason == client.Timeout || reason == client.Network {
			state.nextFull = time.Time{} // the parameter may be the cause
		}
		return fetched{}, err
	case err == nil && part.notModified:
		return part.with(state.tally()), nil
	case err == nil && part.early == 0 && part.inSpan == state.inSpan && part.undated <= state.undated:
		// Sessions without a readable creation time are already among the old ones.
		if part.recent.Counts != state.recent.Counts {
			state.fullValidator = client.Validator{} // a 304 would be wrong
		}
		state.recent, state.recentValidator = part.recent, part.validator
		return part.with(state.tally()), nil
	}
	// Sessions were deleted or added late, or this is not what was asked for. The full
	// list decides.
	before := state.inSpan
	result, inSpan, fullErr := s.fetchAgain(ctx, chatbot, state)
	if fullErr != nil {
		return result, fullErr
	}
	confirmed := err == nil && part.early == 0 && part.undated <= state.undated &&
		(inSpan == part.inSpan || part.inSpan.n < before.n && inSpan.n <= part.inSpan.n)
	if !confirmed && !isServerError(err) {
		state.offUntil = time.Now().Add(incrementalPause)
		level.Info(s.Logger).Log("msg", "The API does not filter sessions by creation time; fetching full lists",
			"chatbot", chatbot.UUID, "until", state.offUntil.UTC().Format(time.RFC3339))
	}
	return result, nil
}

// fetchAgain fetches the full list after a response that does not fit what is remembered.
// It must be a list: a 304 would contradict that response. If it cannot be fetched in time,
// the next fetch starts with it.
func (s lists) fetchAgain(ctx context.Context, chatbot client.Chatbot, state *state) (fetched, census, error) {
	if pause := s.Gate.checkPause(client.CanonicalUUID(chatbot.UUID)); pause != nil {
		return fetched{}, census{}, pause
	}
	state.fullValidator, state.nextFull = client.Validator{}, time.Time{}
	return s.fetchFull(ctx, chatbot, state)
}

// isOtherAnswer reports whether the API gave an answer to the parameter that is not a
// list and says nothing of the account.
func isOtherAnswer(err error) bool {
	var failure *client.Error
	if !errors.As(err, &failure) || failure.RetryAfter > 0 {
		return false
	}
	switch failure.Reason {
	case client.Network:
		return errors.Is(err, client.ErrNotHTTP) || errors.Is(err, client.ErrLargeHeaders)
	case client.Unauthorized, client.RateLimited, client.Timeout:
		return false
	default:
		return true
	}
}

// isServerError reports whether the API failed in a way that may be over soon.
func isServerError(err error) bool {
	var failure *client.Error
	return errors.As(err, &failure) && (failure.Status >= http.StatusInternalServerError || failure.Transient)
}

// fetchFull returns the tally of the full list, and which of its sessions are in the
// span of the full list before.
func (s lists) fetchFull(ctx context.Context, chatbot client.Chatbot, state *state) (result fetched, inSpan census, err error) {
	before := *state
	cutOff := func(date time.Time) time.Time {
		at := date.Add(-s.Window).Truncate(time.Second)
		if newest := before.span.to; !newest.IsZero() && newest.Before(at) {
			// Without recent sessions, an answer to the parameter cannot be checked.
			at = newest.Add(-s.Window).Truncate(time.Second)
		}
		return at
	}
	full, err := s.fetchList(ctx, chatbot, client.SessionsOptions{Validator: before.fullValidator}, cutOff, before.span)
	if err != nil {
		if isOtherAnswer(err) {
			state.fullValidator = client.Validator{} // the condition may be the cause
		}
		return fetched{}, census{}, err
	}
	inSpan = before.inSpan
	if !full.notModified {
		inSpan = full.inSpan
		state.old, state.recent = full.old, full.recent
		state.undated, state.fullValidator = full.undated, full.validator
		state.span, state.inSpan = span{full.cutOff, full.newest, full.far}, full.sinceCutOff
		state.recentValidator = client.Validator{}
	}
	state.nextFull = time.Now().Add(s.FullInterval)
	result = full.with(state.tally())
	if s.Window <= 0 && state.fullValidator == (client.Validator{}) {
		state.old = nil // only a 304 would need it
	}
	return result, inSpan, nil
}

// list is a fetched list of sessions, tallied in parts: those from a cut-off on, and the
// old ones, created before it or without a readable creation time. Without incremental
// mode, all are old ones, and nothing else is known of them.
type list struct {
	old, recent *tally.Tally
	// early and undated are the numbers of old sessions before the cut-off and of those
	// without a readable creation time.
	early, undated int

	cutOff time.Time
	// far is when no session can have been created before the next full list. newest is the
	// newest creation time until then.
	far, newest time.Time
	// sinceCutOff are the sessions from the cut-off on, inSpan those in a given span.
	sinceCutOff, inSpan census

	validator      client.Validator
	received, date time.Time
	notModified    bool // the list of the request's validator; there are no tallies
}

// with returns a tally that rests on the response of the list.
func (l *list) with(tally *tally.Tally) fetched { return fetched{tally, l.received, l.date} }

func (l *list) add(session client.Session, span span) {
	if l.recent == nil {
		l.old.Add(session)
		return
	}
	created := session.Created
	if created.IsZero() {
		l.undated++
		l.old.Add(session)
		return
	}
	if span.contains(created) {
		l.inSpan.add(created)
	}
	if created.After(l.newest) && !created.After(l.far) {
		l.newest = created
	}
	if created.Before(l.cutOff) {
		l.early++
		l.old.Add(session)
		return
	}
	l.recent.Add(session)
	l.sinceCutOff.add(created)
}

// fetchList fetches sessions and tallies them. In incremental mode, it divides them at the
// time that cutOff returns for the Date of the response.
func (s lists) fetchList(ctx context.Context, chatbot client.Chatbot, options client.SessionsOptions,
	cutOff func(date time.Time) time.Time, span span) (*list, error) {
	response, err := s.API.Sessions(ctx, chatbot.UUID, options)
	if err != nil {
		return nil, err
	}
	l := &list{
		validator: response.Validator, received: response.Received, date: response.Date, notModified: response.NotModified,
	}
	if l.notModified {
		return l, nil
	}
	l.old = tally.New(response.Date)
	if s.Window > 0 {
		l.recent, l.cutOff = tally.New(response.Date), cutOff(response.Date)
		l.far = response.Date.Add(s.FullInterval + maxSkew)
	}
	for session, err := range response.Sessions {
		if err != nil {
			return nil, err
		}
		l.add(session, span)
	}
	return l, nil
}
