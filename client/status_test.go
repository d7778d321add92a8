package client_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

func TestStatus(t *testing.T) {
	tests := map[int]client.Reason{
		201: client.UnexpectedStatus, 204: client.UnexpectedStatus, 206: client.UnexpectedStatus,
		304: client.UnexpectedStatus, 400: client.UnexpectedStatus, 401: client.Unauthorized,
		403: client.Unauthorized, 404: client.NotFound, 405: client.UnexpectedStatus, 407: client.UnexpectedStatus,
		410: client.UnexpectedStatus, 418: client.UnexpectedStatus, 422: client.Unauthorized,
		429: client.RateLimited, 500: client.ServerError, 501: client.ServerError, 502: client.ServerError,
		503: client.ServerError, 504: client.ServerError, 599: client.ServerError, 600: client.UnexpectedStatus,
	}
	for status, want := range tests {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				if status >= 400 {
					_, _ = io.WriteString(w, `[{"secret":"of the body"}]`)
				}
			})
			got, err := sessions(t.Context(), newClient(t, base))
			failure := failure(t, err)
			if failure.Reason != want || failure.Status != status || len(got) != 0 {
				t.Errorf("got %+v after %d sessions, want reason %s", failure, len(got), want)
			}
			who := "API"
			if status == http.StatusProxyAuthRequired {
				who = "proxy"
			}
			if want := fmt.Sprintf("the %s answered %d %s", who, status, http.StatusText(status)); err.Error() != want {
				t.Errorf("the error says %q, want %q", err, want)
			}
		})
	}
}

// 422 means a garbled key only to a request without parameters.
func TestStatusOfQuery(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnprocessableEntity) })
	_, err := newClient(t, base).Sessions(t.Context(), chatbot, client.SessionsOptions{Since: time.Unix(1, 0)})
	if failure := failure(t, err); failure.Reason != client.UnexpectedStatus {
		t.Errorf("got %+v", failure)
	}
	_, err = newClient(t, base).Chatbots(t.Context())
	if failure := failure(t, err); failure.Reason != client.Unauthorized {
		t.Errorf("the list of chatbots: got %+v", failure)
	}
}

// A failure with a short body does not cost the connection; one with a long body is
// not read.
func TestConnectionIsKept(t *testing.T) {
	const chunked = -1
	for size, want := range map[int]int{0: 1, 4 << 10: 1, 1 << 20: 10, chunked: 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var connections atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				body := "x"
				if size != chunked {
					w.Header().Set("Content-Length", strconv.Itoa(size))
					body = strings.Repeat("x", size)
				}
				w.WriteHeader(http.StatusUnauthorized)
				_ = http.NewResponseController(w).Flush()
				_, _ = io.WriteString(w, body)
			}))
			count(server, &connections)
			server.Start()
			defer server.Close()
			c := newClient(t, server.URL)
			for range 10 {
				_, err := sessions(t.Context(), c)
				if failure(t, err).Reason != client.Unauthorized {
					t.Error(err)
				}
			}
			if got := int(connections.Load()); got != want {
				t.Errorf("10 requests took %d connections, want %d", got, want)
			}
		})
	}
}

// count has connections count the connections to server.
func count(server *httptest.Server, connections *atomic.Int32) {
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
}

// As many connections are kept as there may be requests at a time.
func TestConnectionsAreKept(t *testing.T) {
	const concurrency = 110 // more than net/http keeps
	var connections atomic.Int32
	var meeting sync.WaitGroup
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		meeting.Done()
		meeting.Wait()
		_, _ = io.WriteString(w, "[]")
	}))
	count(server, &connections)
	server.Start()
	defer server.Close()
	transport := client.NewTransport(concurrency)
	defer transport.CloseIdleConnections()
	c := newClientWith(t, server.URL, transport)
	for range 2 {
		meeting.Add(concurrency)
		var requests sync.WaitGroup
		for range concurrency {
			requests.Go(func() {
				if _, err := c.Chatbots(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		requests.Wait()
	}
	if got := connections.Load(); got != concurrency {
		t.Errorf("got %d connections, want %d", got, concurrency)
	}
}

// closing is a body that remembers that it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (b *closing) Close() error {
	b.closed = true
	return nil
}

// The body of an answer is closed, whatever becomes of it.
func TestBodyIsClosed(t *testing.T) {
	tests := map[string]struct {
		status         int
		encoding, body string
		left           bool // before the end
	}{
		"a list":              {status: 200, body: "[{}]"},
		"a list that is left": {status: 200, body: "[{},{}]", left: true},
		"no list":             {status: 200, body: "{}"},
		"a broken list":       {status: 200, body: "[{}"},
		"a broken encoding":   {status: 200, encoding: "gzip", body: "[{}]"},
		"another encoding":    {status: 200, encoding: "br", body: "[{}]"},
		"refused":             {status: 401, body: "{}"},
		"a redirect":          {status: 302, body: "{}"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, endpoint := range []string{client.EndpointSessions, client.EndpointChatbots} {
				body := &closing{Reader: strings.NewReader(test.body)}
				c := newClientWith(t, "http://api.example", roundTrip(func(*http.Request) *http.Response {
					header := http.Header{"Content-Encoding": {test.encoding}}
					return &http.Response{StatusCode: test.status, ContentLength: int64(len(test.body)), Header: header, Body: body}
				}))
				if endpoint == client.EndpointChatbots {
					_, _ = c.Chatbots(t.Context())
				} else {
					for range fetch(t.Context(), c, client.SessionsOptions{}) {
						if test.left {
							break
						}
					}
				}
				if !body.closed {
					t.Errorf("%s: the body is not closed", endpoint)
				}
			}
		})
	}
}

// lateBody is a body of a few bytes that come after a while.
type lateBody struct {
	after  time.Duration
	read   bool
	closed chan struct{}
}

func (b *lateBody) Read(p []byte) (int, error) {
	select {
	case <-time.After(b.after):
		b.read = true
		return copy(p, "late"), io.EOF
	case <-b.closed:
		return 0, errors.New("closed")
	}
}

func (b *lateBody) Close() error {
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
	return nil
}

// An error's status waits a moment for its body, and is told without it where it does
// not come.
func TestStalledErrorBody(t *testing.T) {
	for after, read := range map[time.Duration]bool{20 * time.Millisecond: true, time.Minute: false} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := &lateBody{after: after, closed: make(chan struct{})}
				begin := time.Now()
				_, err := sessions(t.Context(), newClientWith(t, "http://api.example", roundTrip(func(*http.Request) *http.Response {
					return &http.Response{StatusCode: http.StatusUnauthorized, ContentLength: int64(len("late")), Body: body}
				})))
				if failure(t, err).Reason != client.Unauthorized || body.read != read {
					t.Errorf("got %v, its body read: %t", err, body.read)
				}
				if took := time.Since(begin); took > 100*time.Millisecond {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// roundTrip is a function that is a RoundTripper.
type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(request *http.Request) (*http.Response, error) { return f(request), nil }
