package fetch_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// modelQuery is a request with the parameter.
type modelQuery struct {
	since, now time.Time
	random     *rand.Rand
}

// modelWay is what a server does with the parameter.
type modelWay struct {
	name string
	// filter returns the sessions that the server sends, or a status instead.
	filter func([]modelSession, modelQuery) ([]modelSession, int)
}

// filterBy returns a filter that keeps sessions.
func filterBy(keep func(modelSession, modelQuery) bool) func([]modelSession, modelQuery) ([]modelSession, int) {
	return func(sessions []modelSession, query modelQuery) ([]modelSession, int) {
		return slices.DeleteFunc(sessions, func(s modelSession) bool { return !keep(s, query) }), 0
	}
}

// filterShifted keeps sessions from some time after the parameter on.
func filterShifted(by time.Duration) func([]modelSession, modelQuery) ([]modelSession, int) {
	return filterBy(func(s modelSession, query modelQuery) bool {
		return !s.created.IsZero() && !s.created.Before(query.since.Add(by))
	})
}

// answering answers with a status.
func answering(status int) func([]modelSession, modelQuery) ([]modelSession, int) {
	return func([]modelSession, modelQuery) ([]modelSession, int) { return nil, status }
}

// capped filters rightly, and then keeps n sessions, the oldest or the newest.
func capped(n int, newest bool) func([]modelSession, modelQuery) ([]modelSession, int) {
	return func(sessions []modelSession, query modelQuery) ([]modelSession, int) {
		sessions, _ = filterShifted(0)(sessions, query)
		slices.SortStableFunc(sessions, func(a, b modelSession) int { return cmp.Or(a.created.Compare(b.created), a.id-b.id) })
		if newest {
			return sessions[max(0, len(sessions)-n):], 0
		}
		return sessions[:min(n, len(sessions))], 0
	}
}

// modelWays are ways of servers with the parameter.
var modelWays = []modelWay{
	{"filters", filterShifted(0)},
	{"filters, with undated ones", filterBy(func(s modelSession, q modelQuery) bool {
		return s.created.IsZero() || !s.created.Before(q.since)
	})},
	{"ignores", filterBy(func(modelSession, modelQuery) bool { return true })},
	{"whole date", filterBy(func(s modelSession, q modelQuery) bool {
		return !s.created.IsZero() && !s.created.Before(q.since.Truncate(24*time.Hour))
	})},
	{"next date", filterBy(func(s modelSession, q modelQuery) bool {
		return !s.created.Before(q.since.Truncate(24 * time.Hour).Add(24 * time.Hour))
	})},
	{"an hour early", filterShifted(-time.Hour)},
	{"an hour late", filterShifted(time.Hour)},
	{"a minute early", filterShifted(-time.Minute)},
	{"a minute late", filterShifted(time.Minute)},
	{"nine hours early", filterShifted(-9 * time.Hour)},
	{"nine hours late", filterShifted(9 * time.Hour)},
	{"by modification", filterBy(func(s modelSession, q modelQuery) bool { return !s.modified.Before(q.since) })},
	{"without the start", filterBy(func(s modelSession, q modelQuery) bool { return s.created.After(q.since) })},
	{"until now", filterBy(func(s modelSession, q modelQuery) bool {
		return !s.created.Before(q.since) && !s.created.After(q.now) && !s.created.IsZero()
	})},
	{"until today", filterBy(func(s modelSession, q modelQuery) bool {
		return !s.created.Before(q.since) && s.created.Before(q.now.Truncate(24*time.Hour)) && !s.created.IsZero()
	})},
	{"the last half hour", filterBy(func(s modelSession, q modelQuery) bool { return s.created.After(q.now.Add(-30 * time.Minute)) })},
	{"before instead of after", filterBy(func(s modelSession, q modelQuery) bool { return s.created.Before(q.since) })},
	{"none", filterBy(func(modelSession, modelQuery) bool { return false })},
	{"newest 3", capped(3, true)},
	{"newest 10", capped(10, true)},
	{"newest 25", capped(25, true)},
	{"oldest 3", capped(3, false)},
	{"oldest 10", capped(10, false)},
	{"oldest 25", capped(25, false)},
	{"twice", func(sessions []modelSession, q modelQuery) ([]modelSession, int) {
		sessions, _ = filterShifted(0)(sessions, q)
		return append(sessions, sessions...), 0
	}},
	{"one twice", func(sessions []modelSession, q modelQuery) ([]modelSession, int) {
		sessions, _ = filterShifted(0)(sessions, q)
		return append(sessions, sessions[:min(1, len(sessions))]...), 0
	}},
	{"with lead", filterBy(func(s modelSession, q modelQuery) bool { return s.lead && !s.created.Before(q.since) })},
	{"at random", filterBy(func(s modelSession, q modelQuery) bool { return q.random.IntN(10) > 0 && !s.created.Before(q.since) })},
	{"400", answering(400)},
	{"404", answering(404)},
	{"405", answering(405)},
	{"414", answering(414)},
	{"422", answering(422)},
	{"500", answering(500)},
	{"501", answering(501)},
	{"502", answering(502)},
	{"503", answering(503)},
}
