package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/klauspost/readahead"
)

// timestampLayout is how the API wants timestamps in a query: ISO 8601 in UTC with
// milliseconds.
const timestampLayout = "2006-01-02T15:04:05.000Z"

// Session holds what is counted of a visitor's session. Personal data is skipped
// in the response and never becomes a Go value.
type Session struct {
	// Created and Modified are the session's created_at and modified_at, zero if
	// missing or unreadable.
	Created, Modified time.Time
	// HasLead reports whether the visitor submitted the lead form.
	HasLead bool
	// IdentityVerified reports whether the visitor's identity was verified and saved.
	IdentityVerified bool
	// Malformed reports whether the session breaks the documented shape: its uuid,
	// created_at or modified_at is missing or unreadable, or its meta, meta.user
	// or meta.auth_data is neither object nor null.
	Malformed bool
}

// SessionsOptions restricts a request for sessions. Its zero value asks for all of
// them.
type SessionsOptions struct {
	// Since asks only for sessions created at this time or later, in milliseconds.
	// Servers may ignore it: only GPT-trainer documents the parameter.
	Since time.Time
	// Validator, if not zero, makes the request conditional: the response is
	// NotModified if the list is the one that the Validator came with.
	Validator Validator
}

// SessionsResponse is a response to a request for sessions.
type SessionsResponse struct {
	// NotModified reports whether the list is the one of the request's Validator.
	NotModified bool
	// Validator identifies the list in a later request.
	Validator Validator
	// Received is when the headers of the response came.
	Received time.Time
	// Date is the Date header of the response: the time by the clock of the API. It is
	// Received if the header is missing or unreadable.
	Date time.Time
	// Sessions yields the sessions while the response arrives; none if NotModified.
	// It yields a failure once, last, as an [*Error]: then discard the sessions
	// before it, as the list is incomplete. Range over it exactly once, which
	// also closes the response.
	Sessions iter.Seq2[Session, error]
}

// Sessions requests the sessions of a chatbot and returns when the headers of the
// response are there. The error is an [*Error].
//
// Source: "Fetch all Sessions" of the Chatwize API; SessionsOptions.Since: of the
// GPT-trainer API.
func (c *Client) Sessions(ctx context.Context, uuid string, options SessionsOptions) (*SessionsResponse, error) {
	query := url.Values{}
	if !options.Since.IsZero() {
		query.Set("start_timestamp", options.Since.UTC().Format(timestampLayout))
	}
	response, err := c.get(ctx, request{
		endpoint: EndpointSessions, path: []string{"api/v1/chatbot", uuid, "sessions"},
		query: query, validator: options.Validator,
	})
	if err != nil {
		return nil, err
	}
	answer := &SessionsResponse{Received: time.Now()}
	answer.Date, _ = date(response.Header, answer.Received)
	if response.StatusCode == http.StatusNotModified {
		response.Body.Close()
		answer.NotModified, answer.Validator = true, options.Validator
		answer.Sessions = func(func(Session, error) bool) {}
		return answer, nil
	}
	body, err := newBody(ctx, response)
	if err != nil {
		response.Body.Close()
		return nil, err
	}
	answer.Validator, answer.Sessions = newValidator(response.Header), c.readSessions(body)
	return answer, nil
}

// date returns the Date header of a response and reports true, or received if the
// header is missing or unreadable. Neither has a monotonic clock, as the other may not.
func date(header http.Header, received time.Time) (time.Time, bool) {
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return received.Round(0), false
	}
	return at, true
}

// readSessions yields the sessions in a body and closes it. A body that hangs before its
// first kilobytes takes no more memory than these.
func (c *Client) readSessions(body *body) iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		defer body.Close()
		start := c.config.Buffers.start()
		defer c.config.Buffers.starts.Put(start)
		n, err := readStart(body, start.read[:])
		rest := io.Reader(body)
		if err != nil {
			rest = failed{err} // there is no more
		}
		source := io.MultiReader(bytes.NewReader(start.read[:n]), rest)
		buffers := (*buffers)(nil)
		if err == nil {
			buffers = c.config.Buffers.get()
		}
		if buffers == nil {
			yieldAll(body, decodeSessions(source, start.decoding[:]), yield)
			return
		}
		defer c.config.Buffers.put(buffers)
		// Receive and decompress while earlier bytes are decoded.
		ahead, err := readahead.NewReaderBuffer(source, buffers.ahead)
		if err != nil {
			yield(Session{}, &Error{Reason: Network, Err: fmt.Errorf("reading ahead: %w", err)})
			return
		}
		defer ahead.Close()
		defer body.Close() // before ahead.Close, which waits for the current read
		yieldAll(body, decodeSessions(ahead, buffers.decoding), yield)
	}
}

// yieldAll yields the sessions in a body.
func yieldAll(body *body, sessions iter.Seq2[Session, error], yield func(Session, error) bool) {
	for session, err := range sessions {
		if err != nil {
			err = body.explain(err)
		}
		if !yield(session, err) || err != nil {
			return
		}
	}
}

// failed is a reader of what has ended or failed.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

// readStart fills start from source. It returns the error of source.
func readStart(source io.Reader, start []byte) (n int, err error) {
	for n < len(start) && err == nil {
		var more int
		more, err = source.Read(start[n:])
		n += more
	}
	return n, err
}

// Buffers is memory for reading lists, which is used again. The zero value is ready to use.
// It is safe for concurrent use.
type Buffers struct {
	starts sync.Pool // of *startBuffers
	pool   sync.Pool // of *buffers

	mutex sync.Mutex
	inUse int // number of *buffers
}

// startBuffers is the memory for reading the start of a list, which may be all of it.
type startBuffers struct{ read, decoding [16 << 10]byte }

// maxLong is the maximum number of lists that are read with buffers of their own at a time.
// Others are read with their startBuffers, which takes a little more time. They do not wait:
// those that have the buffers may hang.
const maxLong = 16

func (b *Buffers) start() *startBuffers {
	if free, ok := b.starts.Get().(*startBuffers); ok {
		return free
	}
	return new(startBuffers)
}

// get returns buffers for a long list, nil if too many are in use.
func (b *Buffers) get() *buffers {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.inUse == maxLong {
		return nil
	}
	b.inUse++
	if free, ok := b.pool.Get().(*buffers); ok {
		return free
	}
	return newBuffers()
}

func (b *Buffers) put(free *buffers) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.inUse--
	b.pool.Put(free)
}

// buffers is the memory for reading a long list.
type buffers struct {
	decoding []byte
	ahead    [][]byte
}

func newBuffers() *buffers {
	b := &buffers{decoding: make([]byte, bufferSize)}
	for range 2 {
		b.ahead = append(b.ahead, make([]byte, bufferSize))
	}
	return b
}
