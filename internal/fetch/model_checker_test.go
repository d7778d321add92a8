package fetch_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// modelScrape is a FetchAll that a caller waits for.
type modelScrape struct {
	chatbots   []client.Chatbot
	start, end time.Time
	deadline   time.Time // zero if it has none
	left       time.Time // when the caller disconnected, zero if it did not
	alone      bool      // no other scrape or discovery was under way
	before     map[string]int
	results    []fetch.Result
	shown      map[string]modelShown // at its start, by UUID
}

// explanation says on which versions of a chatbot's list a result rests: one for the
// sessions from the cut-off on, one for the others.
type explanation struct{ recent, old int }

// modelChecker checks what must hold, and keeps the history of a run. The server's mutex
// guards it.
type modelChecker struct {
	options     fetch.SourceOptions
	timeout     time.Duration // of a fetch
	concurrency int

	scrapes []*modelScrape // under way
	calls   map[string]int // how often each chatbot has been asked for, by UUID
	shown   map[string]modelShown
	// keyFailed are when the key could not be read.
	keyFailed   []time.Time
	discovering int
	// notAsked are until when chatbots must not be asked with the parameter, by UUID.
	notAsked map[string]time.Time
	keys     map[string]bool // that were current at some time

	history []string
	faults  []string
}

func (c *modelChecker) note(format string, values ...any) {
	c.history = append(c.history, time.Now().UTC().Format("02T15:04:05.000 ")+fmt.Sprintf(format, values...))
}

// fault remembers what does not hold.
func (c *modelChecker) fault(format string, values ...any) {
	c.note("FAULT: "+format, values...)
	c.faults = append(c.faults, fmt.Sprintf(format, values...))
}

// request checks a request when it begins.
func (c *modelChecker) request(s *modelServer, request *http.Request, endpoint string, isFirst bool) {
	now := time.Now()
	c.note("%s: request %s, conditional: %t", short(endpoint), request.URL.RawQuery, isConditional(request))
	if request.URL.Scheme != "http" || !strings.EqualFold(request.URL.Hostname(), modelHost) || request.URL.Port() != "" && request.URL.Port() != "80" {
		c.fault("a request to %s", request.URL)
	}
	if !c.keys[strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer ")] {
		c.fault("a request with another key")
	}
	underWay := 0
	for _, n := range s.underWay {
		underWay += n
	}
	if underWay > c.concurrency {
		c.fault("%d requests at a time, more than %d", underWay, c.concurrency)
	}
	if !isFirst {
		return
	}
	if until, _ := s.paused(endpoint, now); !until.IsZero() {
		c.fault("a request for %s during a pause until %v", short(endpoint), until)
	}
	if endpoint == "chatbots" {
		return
	}
	if request.URL.RawQuery != "" && now.Before(c.notAsked[endpoint]) {
		c.fault("a request for %s with the parameter, which its server cannot", short(endpoint))
	}
	if !slices.ContainsFunc(c.scrapes, func(scrape *modelScrape) bool { return scrape.waits(endpoint, now) }) {
		// A caller may leave between the last check and the request, at the same moment. At
		// the moment of a deadline, a request may only follow on an answer.
		answers := s.answers[endpoint]
		if !slices.ContainsFunc(c.scrapes, func(scrape *modelScrape) bool {
			followsOn := len(answers) > 0 && !answers[len(answers)-1].received.Before(scrape.start)
			return scrape.wants(endpoint) && (scrape.left.Equal(now) || scrape.deadline.Equal(now) && followsOn)
		}) {
			c.fault("a request for %s that nobody waits for", short(endpoint))
		}
	}
}

// waits reports whether a caller waits for a chatbot.
func (s *modelScrape) waits(uuid string, now time.Time) bool {
	return s.left.IsZero() && (s.deadline.IsZero() || now.Before(s.deadline)) &&
		slices.ContainsFunc(s.chatbots, func(c client.Chatbot) bool { return c.UUID == uuid })
}

// begin remembers a scrape.
func (c *modelChecker) begin(s *modelServer, scrape *modelScrape) {
	scrape.start, scrape.shown, scrape.before = time.Now(), map[string]modelShown{}, map[string]int{}
	scrape.alone = len(c.scrapes) == 0 && c.discovering == 0
	for _, other := range c.scrapes {
		other.alone = false
	}
	c.scrapes = append(c.scrapes, scrape)
	for _, chatbot := range scrape.chatbots {
		c.calls[chatbot.UUID]++
		for kind := range maxRequests(chatbot.UUID) {
			scrape.before[kind] = s.requests[kind]
		}
		if shown, ok := c.shown[chatbot.UUID]; ok {
			scrape.shown[chatbot.UUID] = shown
		}
	}
	c.note("scrape of %d begins, until %s", len(scrape.chatbots), scrape.deadline.Format("15:04:05.000"))
}

// maxRequests returns how many requests of each kind a fetch of a chatbot takes at most:
// three tries, in incremental mode each of them for the recent and then for all sessions,
// and one 304 that does not fit the time.
func maxRequests(uuid string) map[string]int {
	return map[string]int{uuid: 3, uuid + "?": 3, uuid + notModified: 1, uuid + "?" + notModified: 1}
}

// end checks the results of a scrape.
func (c *modelChecker) end(s *modelServer, scrape *modelScrape) {
	scrape.end = time.Now()
	c.scrapes = slices.DeleteFunc(c.scrapes, func(other *modelScrape) bool { return other == scrape })
	if len(scrape.results) != len(scrape.chatbots) {
		c.fault("%d results for %d chatbots", len(scrape.results), len(scrape.chatbots))
		return
	}
	for i, chatbot := range scrape.chatbots {
		uuid, result := chatbot.UUID, scrape.results[i]
		c.note("%s: result %+v, received %s, finished %s, took %v: %v", short(uuid), result.Numbers,
			result.Received.Format("15:04:05.000"), result.Finished.Format("15:04:05.000"), result.Took, result.Err)
		if result.Err != nil {
			c.checkFailure(s, scrape, uuid, result)
		} else {
			c.checkSuccess(s, scrape, uuid, result)
		}
		for kind, most := range maxRequests(uuid) {
			n, all := s.requests[kind]-scrape.before[kind], s.requests[kind]
			if scrape.alone && n > most || all > most*c.calls[uuid] {
				c.fault("%d requests for %s in this scrape, %d in %d scrapes", n, kind, all, c.calls[uuid])
			}
		}
		if !slices.ContainsFunc(c.scrapes, func(other *modelScrape) bool { return other.wants(uuid) }) && s.underWay[uuid] > 0 {
			c.fault("a request for %s goes on when nobody waits any more", short(uuid))
		}
	}
}

// wants reports whether a scrape has a chatbot.
func (s *modelScrape) wants(uuid string) bool {
	return slices.ContainsFunc(s.chatbots, func(c client.Chatbot) bool { return c.UUID == uuid })
}

// refused reports whether the API refused the key during a scrape.
func (c *modelChecker) refused(s *modelServer, scrape *modelScrape) bool {
	for _, answers := range s.answers {
		for _, answer := range answers {
			if !answer.received.Before(scrape.start) && (answer.status == 401 || answer.status == 422) {
				return true
			}
		}
	}
	return false
}

// checkFailure checks that the reason is one of those that the fetch met.
func (c *modelChecker) checkFailure(s *modelServer, scrape *modelScrape, uuid string, result fetch.Result) {
	if result.Numbers != nil || !result.Received.IsZero() {
		c.fault("%s: numbers with an error", short(uuid))
	}
	if finished := scrape.shown[uuid].finished; c.options.CacheTTL > 0 && scrape.start.Before(finished.Add(c.options.CacheTTL)) {
		c.fault("%s is down, with numbers in the cache from %v", short(uuid), finished)
	}
	if strings.Contains(result.Err.Error(), visitor) {
		c.fault("%s: the error quotes the body", short(uuid))
	}
	begun := result.Finished.Add(-result.Took)
	var reasons []client.Reason
	permanent := 0
	for _, answer := range s.answers[uuid] {
		if !answer.received.Before(begun) && !answer.received.After(result.Finished) {
			reasons = append(reasons, answer.reasons...)
			if answer.since.IsZero() && answer.received.After(begun) && (answer.status/100 == 4 || answer.status == 500) {
				permanent++
			}
		}
	}
	if permanent > 1 && scrape.alone {
		c.fault("%s: asked again after a failure that is not transient", short(uuid))
	}
	_, pauses := s.paused(uuid, result.Finished)
	reasons = append(reasons, pauses...)
	if slices.ContainsFunc(c.keyFailed, func(at time.Time) bool { return !at.Before(begun) && !at.After(result.Finished) }) {
		reasons = append(reasons, client.Unauthorized)
	}
	if !scrape.left.IsZero() || !scrape.deadline.IsZero() && !scrape.end.Before(scrape.deadline) || result.Took >= c.timeout {
		reasons = append(reasons, client.Timeout)
	}
	if strings.Contains(result.Err.Error(), "not tried") {
		reasons = []client.Reason{client.Unauthorized}
		if !c.refused(s, scrape) || result.Took != 0 {
			c.fault("%s was not tried for %v, though the key was not refused", short(uuid), result.Took)
		}
	}
	if reason := fetch.ReasonOf(result.Err); !slices.Contains(reasons, reason) {
		c.fault("%s is down for the reason %q, want one of %q", short(uuid), reason, reasons)
	}
}

// checkSuccess checks that what is shown was true.
func (c *modelChecker) checkSuccess(s *modelServer, scrape *modelScrape, uuid string, result fetch.Result) {
	begun := result.Finished.Add(-result.Took)
	switch {
	case result.Finished.After(scrape.end), result.Took > c.timeout, result.Received.Before(begun), result.Received.After(result.Finished):
		c.fault("%s: impossible times", short(uuid))
	case result.Finished.Before(scrape.start) && !scrape.start.Before(result.Finished.Add(c.options.CacheTTL)):
		c.fault("%s: numbers from %v", short(uuid), result.Finished)
	case begun.Before(scrape.shown[uuid].begun):
		c.fault("%s: a fetch from %v, after one from %v", short(uuid), begun, scrape.shown[uuid].begun)
	}
	explanations := c.explain(s, uuid, result)
	if len(explanations) == 0 {
		c.fault("%s: shown %+v, which was not true; last %+v", short(uuid), result.Numbers.Counts, tallyOf(s.chatbot(uuid).now()))
		return
	}
	oldest, newest := explanations[0], explanations[0]
	for _, e := range explanations {
		oldest = explanation{min(oldest.recent, e.recent), min(oldest.old, e.old)}
		newest = explanation{max(newest.recent, e.recent), max(newest.old, e.old)}
	}
	if scrape.alone && !result.Finished.Before(scrape.start) && c.refusesParameter(s.answers[uuid], begun, result.Received) {
		c.notAsked[uuid] = result.Finished.Add(24 * time.Hour)
	}
	// Of two fetches at the same time, each may have the newer list.
	before := scrape.shown[uuid]
	if !before.overlapped && !begun.Before(before.finished) && (newest.recent < before.recent || newest.old < before.old) {
		c.fault("%s: versions %+v, older than %+v, which were shown before", short(uuid), newest, before)
	}
	if last := c.shown[uuid]; begun.Before(last.begun) {
		last.overlapped = true
		c.shown[uuid] = last
	} else {
		overlapped := begun.After(last.begun) && begun.Before(last.finished)
		c.shown[uuid] = modelShown{oldest, begun, result.Finished, overlapped}
	}
}

// refusesParameter reports whether a full list, which came at the end of a fetch, was
// fetched because the server cannot filter.
func (c *modelChecker) refusesParameter(answers []modelAnswer, begun, end time.Time) bool {
	last := slices.IndexFunc(answers, func(a modelAnswer) bool { return a.isList && a.since.IsZero() && a.received.Equal(end) })
	if last < 1 {
		return false
	}
	answer := answers[last-1]
	if answer.since.IsZero() || answer.received.Before(begun) {
		return false
	}
	return slices.Contains([]int{400, 404, 405, 422}, answer.status) || answer.isList &&
		slices.ContainsFunc(answer.sent, func(s modelSession) bool { return !s.created.IsZero() && s.created.Before(answer.since) })
}

// modelShown is what was shown of a chatbot: the oldest versions that it may rest on,
// and when they were fetched.
type modelShown struct {
	explanation
	begun, finished time.Time
	overlapped      bool // with another fetch
}

func (s *modelServer) chatbot(uuid string) *modelChatbot {
	return s.chatbots[slices.IndexFunc(s.chatbots, func(c *modelChatbot) bool { return c.uuid == uuid })]
}

// explain returns on which true lists a result may rest. Full lists are used until the
// next full fetch.
func (c *modelChecker) explain(s *modelServer, uuid string, result fetch.Result) (explanations []explanation) {
	answers, versions := s.answers[uuid], s.chatbot(uuid).versions
	use := c.options.FullInterval + 2*c.timeout
	for _, answer := range answers {
		if !answer.received.Equal(result.Received) || !answer.isList {
			continue
		}
		if answer.since.IsZero() {
			if tallyOf(versions[answer.version]) == result.Numbers.Counts {
				explanations = append(explanations, explanation{answer.version, answer.version})
			}
			continue
		}
		sent, _ := createdSince(answer.sent, answer.since)
		for _, full := range answers {
			if !full.isList || !full.since.IsZero() || full.received.After(answer.received) || full.received.Before(answer.received.Add(-use)) ||
				full.status != http.StatusNotModified && answer.since.After(full.date.Add(-c.options.Window)) || !cannotBeTold(answer, full, versions) {
				continue
			}
			_, old := createdSince(versions[full.version], answer.since)
			if tallyOf(old).Plus(tallyOf(sent)) == result.Numbers.Counts {
				explanations = append(explanations, explanation{answer.version, full.version})
			}
		}
	}
	return explanations
}

// cannotBeTold reports whether an answer to the parameter has what was true, or differs
// from it in a way that nobody can know.
//
// Nobody can know of an answer to the parameter
//   - that it lacks sessions that the last full list did not have: an end of the filter
//     before them, a replica that lags, a cap on the oldest first that they exceed;
//   - that it has sessions twice that are newer than all of the last full list.
//
// Nobody can know of the whole list, so that the model leaves it out,
//   - that sessions are missing, twice or of another chatbot;
//   - that it is an old copy, from a cache that answers in spite of no-cache;
//   - that a 304 is wrong: an ETag stays while the list changes, Last-Modified has
//     another clock than Date, or a clock that was set back, or Date is later than the
//     list was read;
//   - which of several sessions of the same creation time was deleted or is twice.
func cannotBeTold(answer, full modelAnswer, versions [][]modelSession) bool {
	recent, _ := createdSince(versions[answer.version], answer.since)
	before, _ := createdSince(versions[full.version], answer.since)
	inFull := map[int]bool{}
	var newest time.Time
	for _, session := range before {
		inFull[session.id] = true
		newest = latest(newest, session.created)
	}
	sent := map[int]bool{}
	for _, session := range answer.sent {
		if session.created.IsZero() {
			continue
		}
		if session.created.Before(answer.since) || sent[session.id] && !session.created.After(newest) {
			return false
		}
		sent[session.id] = true
	}
	return !slices.ContainsFunc(recent, func(session modelSession) bool { return !sent[session.id] && inFull[session.id] })
}
