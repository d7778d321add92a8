// Package simulator plays a Chatwize account over HTTP: growing session lists of
// any length, errors, delays, answers that break off or never end. It drives the
// exporter's demo, its tests and its benchmarks.
package simulator

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"
)

// Account is an [http.Handler] that answers like the Chatwize API for one account.
type Account struct {
	// Key is the API key that requests must carry.
	Key string
	// Chatbots are the account's chatbots.
	Chatbots []Chatbot
	// Now is the account's clock; nil means [time.Now].
	Now func() time.Time
	// Gzip compresses session lists for those who accept it.
	Gzip bool
	// IgnoreTimestamps answers with the whole list whatever span was asked for,
	// as Chatwize is free to: only GPT-trainer documents the parameters.
	IgnoreTimestamps bool
}

// Chatbot is one chatbot of an account.
type Chatbot struct {
	UUID, Name string
	// Sessions returns the sessions that the chatbot has at a time; nil means none.
	Sessions func(now time.Time) iter.Seq[Session]
	// Fault returns what goes wrong at a time; nil means nothing ever does.
	Fault func(now time.Time) Fault
}

// Fault is what goes wrong with an answer. Its zero value is a right answer.
type Fault struct {
	// Delay passes before the answer begins.
	Delay time.Duration
	// Status is the answer's status code; 0 means 200.
	Status int
	// Header is added to the answer's.
	Header http.Header
	// Body is sent in place of the session list; other statuses than 200 have one
	// of their own.
	Body string
	// CutAfter breaks the connection after so many bytes of the list.
	CutAfter int64
	// Endless makes the list go on for as long as somebody reads it.
	Endless bool
}

// ServeHTTP answers the requests that the API documents.
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

// answer sends a status with a body as unhelpful as they come.
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
		sessions = Uniform(1<<62, time.Unix(0, 0), 1)(now)
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

// span reads the timestamps of a query as GPT-trainer documents them: both ends
// inclusive, ISO 8601 in UTC with milliseconds.
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

// between yields the sessions created in a span; a zero time leaves that end open.
func between(sessions iter.Seq[Session], from, to time.Time) iter.Seq[Session] {
	if from.IsZero() && to.IsZero() {
		return sessions
	}
	return func(yield func(Session) bool) {
		for session := range sessions {
			// The API writes milliseconds, so that is what it compares.
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

// cuttingWriter breaks the connection, in the way net/http has for that, once it
// has let so many bytes through.
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
