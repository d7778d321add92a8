package fetch

import (
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// state is what is remembered of a chatbot from one fetch to the next.
type state struct {
	last Result // last success; its Finished is zero if there was none
	seen Result // result of the last call, for [Source.Known]; its Finished is zero if there was none

	// The last fetch, successful or not.
	tried     time.Time // when it began
	took      time.Duration
	succeeded bool
	timedOut  bool

	// old is the tally of those sessions of the last full list that were created before
	// span.from or have no readable creation time. recent is the tally of the others, by
	// the last response that had them. Neither changes.
	old, recent *tally.Tally
	// fullValidator is the validator of the last full list, zero if recent has changed since.
	fullValidator client.Validator

	// For incremental mode. nextFull is when the next full fetch is due, offUntil until
	// when all fetches are full because the server does not filter as it should.
	nextFull, offUntil time.Time
	// span begins at the cut-off and ends with the newest session of the full list that is
	// not far in the future. inSpan are the sessions of the full list in it.
	span   span
	inSpan census

	undated int // number of sessions in old without a readable creation time

	// recentValidator is the validator of the response that recent came from, zero after a
	// full list.
	recentValidator client.Validator
}

// tally returns the tally of all sessions.
func (s *state) tally() *tally.Tally {
	if s.recent == nil {
		return s.old
	}
	return s.recent.Plus(s.old)
}

// span is a span of time, both ends inclusive, and all time after far. Sessions that come
// until the next full list are created in neither, unless their dates are wrong.
type span struct{ from, to, far time.Time }

func (s span) contains(at time.Time) bool {
	return !at.Before(s.from) && (!at.After(s.to) || at.After(s.far))
}

// census identifies a set of sessions by their number and creation times, whatever
// their order.
type census struct {
	n   int
	sum uint64
}

func (c *census) add(created time.Time) {
	c.n++
	// The finalizer of MurmurHash3. Without it, sums of different times are often equal.
	h := uint64(created.UnixNano())
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	c.sum += h ^ h>>33
}

// afterFailure returns the state after a fetch that failed and left the state failed. It
// keeps what the fetch learned: that the next one must be full or unconditional.
func (s state) afterFailure(failed state) state {
	if failed.nextFull.IsZero() {
		s.nextFull = time.Time{}
	}
	if failed.fullValidator == (client.Validator{}) {
		s.fullValidator = client.Validator{}
	}
	return s
}

// needsFull reports whether the next fetch in incremental mode must be a full one.
// Without a session in the span, an answer to the parameter cannot be checked.
func (s *state) needsFull(now time.Time) bool {
	return !now.Before(s.nextFull) || now.Before(s.offUntil) || s.inSpan.n == 0
}
