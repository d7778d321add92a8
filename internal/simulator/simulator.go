// Package simulator simulates a Chatwize account over HTTP: session lists of any length
// that grow, errors, delays, and responses that are cut off or never end. The demo, tests
// and benchmarks use it.
package simulator

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"iter"
	"math"
	"net/http"
	"strings"
	"time"
)

// Account is an [http.Handler] that responds like the Chatwize API of one account.
type Account struct {
	// Key is the API key that requests must carry.
	Key string
	// Chatbots are the account's chatbots.
	Chatbots []Chatbot
	// Now is the account's clock; nil means [time.Now].
	Now func() time.Time
	// Gzip compresses session lists if the request accepts it.
	Gzip bool
	// IgnoreTimestamps makes the account ignore the parameters of a query. A brand may
	// do that: only GPT-trainer documents them.
	IgnoreTimestamps bool
}

// Chatbot is one chatbot of an account.
type Chatbot struct {
	UUID, Name string
	// Sessions returns the sessions of the chatbot at a time; nil means none.
	Sessions func(now time.Time) iter.Seq[Session]
	// Fault returns what goes wrong at a time; nil means nothing.
	Fault func(now time.Time) Fault
}

// Fault is what is wrong with a response. Its zero value is a correct response.
type Fault struct {
	// Delay is the time before the response begins.
	Delay time.Duration
	// Status is the status code; 0 means 200.
	Status int
	// Header is added to that of the response.
	Header http.Header
	// Body replaces the session list. Empty: the list, or a default for other
	// statuses than 200.
	Body string
	// CutAfter closes the connection after this number of bytes of the list.
	CutAfter int64
	// Endless makes a list without an end.
	Endless bool
}

// ServeHTTP responds to the requests that the API documents.
func (a *Account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if a.Now != nil {
		now = a.Now()
	}
	if r.Header.Get("Authorization") != "Bearer "+a.Key {
		answer(w, http.StatusUnauthorized)
		return
	}
	if r.Method != http.MethodGet {
		answer(w, http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == "/api/v1/chatbots" {
		a.serveChatbots(w)
		return
	}
	uuid, isSessions := strings.CutSuffix(r.URL.Path, "/sessions")
	uuid, isChatbot := strings.CutPrefix(uuid, "/api/v1/chatbot/")
	if !isSessions || !isChatbot {
		answer(w, http.StatusNotFound)
		return
	}
	for _, chatbot := range a.Chatbots {
		if strings.EqualFold(chatbot.UUID, uuid) {
			a.serveSessions(w, r, chatbot, now)
			return
		}
	}
	answer(w, http.StatusNotFound)
}

// answer sends a status with a body that says no more than the status.
func answer(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"error":"`+http.StatusText(status)+`"}`)
}

func (a *Account) serveChatbots(w http.ResponseWriter) {
	type chatbot struct {
		UUID string         `json:"uuid"`
		Name string         `json:"name"`
		Meta map[string]any `json:"meta"`
	}
	list := make([]chatbot, 0, len(a.Chatbots))
	for _, c := range a.Chatbots {
		list = append(list, chatbot{UUID: c.UUID, Name: c.Name, Meta: map[string]any{"visibility": "public"}})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

func (a *Account) serveSessions(w http.ResponseWriter, r *http.Request, chatbot Chatbot, now time.Time) {
	var fault Fault
	if chatbot.Fault != nil {
		fault = chatbot.Fault(now)
	}
	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-r.Context().Done():
			return
		}
	}
	for name, values := range fault.Header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/json")
	if fault.Body != "" {
		if fault.Status != 0 {
			w.WriteHeader(fault.Status)
		}
		_, _ = io.WriteString(w, fault.Body)
		return
	}
	if fault.Status != 0 && fault.Status != http.StatusOK {
		answer(w, fault.Status)
		return
	}

	sessions := none
	if chatbot.Sessions != nil {
		sessions = chatbot.Sessions(now)
	}
	if fault.Endless {
		sessions = Uniform(math.MaxInt, time.Unix(0, 0), 1)(now)
	}
	if !a.IgnoreTimestamps {
		from, to, ok := span(r.URL.Query())
		if !ok {
			answer(w, http.StatusBadRequest)
			return
		}
		sessions = between(sessions, from, to)
	}

	out := io.Writer(w)
	if fault.CutAfter > 0 {
		out = &cuttingWriter{out: w, left: fault.CutAfter}
	}
	if a.Gzip && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		compressor := gzip.NewWriter(out)
		writeSessions(compressor, sessions)
		_ = compressor.Close()
		return
	}
	writeSessions(out, sessions)
}

func none(func(Session) bool) {}

// span parses the timestamps of a query: ISO 8601 in UTC with milliseconds. Both ends
// are inclusive. Source: GPT-trainer.
func span(query map[string][]string) (from, to time.Time, ok bool) {
	for name, end := range map[string]*time.Time{"start_timestamp": &from, "end_timestamp": &to} {
		for _, value := range query[name] {
			t, err := time.Parse("2006-01-02T15:04:05.000Z", value)
			if err != nil {
				return from, to, false
			}
			*end = t
		}
	}
	return from, to, true
}

// between yields the sessions created in a span. A zero time leaves that end open.
func between(sessions iter.Seq[Session], from, to time.Time) iter.Seq[Session] {
	if from.IsZero() && to.IsZero() {
		return sessions
	}
	return func(yield func(Session) bool) {
		for session := range sessions {
			// The API writes milliseconds, so it compares milliseconds.
			created := session.Created.Truncate(time.Millisecond)
			if created.Before(from) || !to.IsZero() && created.After(to) {
				continue
			}
			if !yield(session) {
				return
			}
		}
	}
}

// cuttingWriter closes the connection after left bytes.
type cuttingWriter struct {
	out  http.ResponseWriter
	left int64
}

func (c *cuttingWriter) Write(p []byte) (int, error) {
	if int64(len(p)) <= c.left {
		c.left -= int64(len(p))
		return c.out.Write(p)
	}
	_, _ = c.out.Write(p[:c.left])
	_ = http.NewResponseController(c.out).Flush()
	panic(http.ErrAbortHandler)
}
