package web_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// countingAPI counts requests for chatbots too.
type countingAPI struct{ slowAPI }

func (a countingAPI) Chatbots(context.Context) (*client.ChatbotsResponse, error) {
	a.requests.Add(1)
	return &client.ChatbotsResponse{}, nil
}

// counted finds the counters that are not 0.
var counted = regexp.MustCompile(`(?m)^\w+_total\{.*\} [^0].*$`)

// A refused request is answered with its status and one sentence, and does nothing
// else: it asks the API for nothing and is in no counter.
func TestRefused(t *testing.T) {
	const (
		method    = "Method Not Allowed\n"
		body      = "requests must not have a body\n"
		oneTarget = "give one target, as in /probe?target=UUID\n"
		noUUID    = "the target is not a UUID; write 32 hexadecimal digits, with or without dashes\n"
		unknown   = "the target is not one of the configured chatbots; add it to the settings of the exporter\n"
	)
	known, one := func() io.Reader { return strings.NewReader("x") }, func() io.Reader { return io.MultiReader(strings.NewReader("x")) }
	tests := []struct {
		method, path string
		body         func() io.Reader // nil: none
		status       int
		want         string
	}{
		{"POST", "/metrics", nil, 405, method},
		{"POST", "/metrics", known, 405, method},
		{"PUT", "/metrics", one, 405, method},
		{"OPTIONS", "/metrics", nil, 405, method},
		{"get", "/metrics", nil, 405, method},
		{"DELETE", "/-/healthy", nil, 405, method},
		{"POST", "/", nil, 405, method},
		{"POST", "/sd", nil, 405, method},
		{"POST", "/probe?target=" + shop, nil, 405, method},
		{"POST", "/nowhere", nil, 404, "404 page not found\n"},
		{"GET", "/metrics", known, 413, body},
		{"GET", "/metrics", one, 413, body},
		{"HEAD", "/metrics", known, 413, body},
		{"GET", "/probe?target=" + shop, known, 413, body},
		{"GET", "/sd", one, 413, body},
		{"GET", "/nowhere", known, 413, body},
		{"GET", "/probe", nil, 400, oneTarget},
		{"GET", "/probe?target=", nil, 400, oneTarget},
		{"GET", "/probe?target=" + shop + "&target=" + shop, nil, 400, oneTarget},
		{"GET", "/probe?Target=" + shop, nil, 400, oneTarget},
		{"GET", "/probe?target=" + shop[1:], nil, 400, noUUID},
		{"GET", "/probe?target=" + shop + "0", nil, 400, noUUID},
		{"GET", "/probe?target=g" + shop[1:], nil, 400, noUUID},
		{"GET", "/probe?target=" + shop[1:] + "0", nil, 400, unknown},
		{"HEAD", "/probe?target=" + shop[1:] + "0", nil, 400, unknown},
	}
	synctest.Test(t, func(t *testing.T) {
		api := countingAPI{slowAPI{new(atomic.Int64)}}
		handler := newHandlerWith(t, api, web.Config{Registry: prometheus.NewRegistry()}, client.Chatbot{UUID: shop}, client.Chatbot{UUID: desk})
		for _, test := range tests {
			request := httptest.NewRequest(test.method, test.path, nil)
			if test.body != nil {
				request = httptest.NewRequest(test.method, test.path, test.body())
			}
			response := httptest.NewRecorder()
			handler.ServeHTTP(response, request)
			name := test.method + " " + test.path
			if response.Code != test.status || response.Body.String() != test.want ||
				response.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("%s: got %d, %v with %s\nwant %d with %s", name, response.Code, response.Header(), response.Body, test.status, test.want)
			}
			allow := ""
			if test.status == http.StatusMethodNotAllowed {
				allow = "GET, HEAD"
			}
			if got := response.Header().Get("Allow"); got != allow {
				t.Errorf("%s: allowed are %q, want %q", name, got, allow)
			}
			if n := api.requests.Swap(0); n != 0 {
				t.Errorf("%s: the API got %d requests", name, n)
			}
		}
		if counters := counted.FindAllString(get(handler, "GET", "/metrics", nil).Body.String(), -1); counters != nil {
			t.Errorf("counted %v", counters)
		}
	})
}

// pipe is a listener for the one connection that it holds.
type pipe struct {
	connections chan net.Conn
	closed      chan struct{}
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case connection := <-p.connections:
		return connection, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error {
	close(p.closed)
	return nil
}

func (p *pipe) Addr() net.Addr { return &net.UnixAddr{} }

// readTimeout is the program's: what a caller has for the whole request.
const readTimeout = 10 * time.Second

// dial returns a connection to a server with a handler, in memory, so that
// synctest's clock is the connection's.
func dial(t *testing.T, handler http.Handler) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	listener := &pipe{connections: make(chan net.Conn, 1), closed: make(chan struct{})}
	listener.connections <- theirs
	server := &http.Server{Handler: handler, ReadTimeout: readTimeout}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		_ = ours.Close()
		_ = server.Close()
	})
	return ours
}

// A request with a body is answered before the body has come, and its connection is
// closed. Other connections are kept.
func TestRequestBody(t *testing.T) {
	const sized, chunked, asks = "Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n"
	tests := map[string]struct {
		request string
		status  int
		keeps   bool
	}{
		"no body":                      {"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n", 200, true},
		"an empty body":                {"GET /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 200, true},
		"no body of a wrong method":    {"POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405, true},
		"whole":                        {"GET /metrics HTTP/1.1\r\nHost: x\r\n" + sized + "\r\n0123456789", 413, false},
		"slow":                         {"GET /metrics HTTP/1.1\r\nHost: x\r\n" + sized + "\r\n0", 413, false},
		"slow, of a byte":              {"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", 413, false},
		"slow, in chunks":              {"GET /metrics HTTP/1.1\r\nHost: x\r\n" + chunked + "\r\n5\r\n0", 413, false},
		"slow, large":                  {"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n0", 413, false},
		"slow, of a wrong method":      {"POST /metrics HTTP/1.1\r\nHost: x\r\n" + sized + "\r\n0", 405, false},
		"waits to be asked":            {"GET /metrics HTTP/1.1\r\nHost: x\r\n" + asks + sized + "\r\n", 413, false},
		"waits, and of a wrong method": {"PUT /metrics HTTP/1.1\r\nHost: x\r\n" + asks + chunked + "\r\n", 405, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connection := dial(t, newHandler(t, "/metrics"))
				start := time.Now()
				if _, err := io.WriteString(connection, test.request); err != nil {
					t.Fatal(err)
				}
				answers := bufio.NewReader(connection)
				response, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(response.Body); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); response.StatusCode != test.status || took != 0 || response.Close == test.keeps {
					t.Errorf("got %s after %v, connection closed: %t", response.Status, took, response.Close)
				}
				if test.keeps {
					return
				}
				// net/http waits half a second for the answer to be read.
				if _, err := answers.ReadByte(); !errors.Is(err, io.EOF) || time.Since(start) > time.Second {
					t.Errorf("got %v after %v, want the connection closed", err, time.Since(start))
				}
			})
		})
	}
}

// slowReader is a ResponseWriter whose reader takes eight seconds for each piece.
type slowReader struct {
	*httptest.ResponseRecorder
	t        *testing.T
	deadline time.Time
	pieces   int
}

func (r *slowReader) SetWriteDeadline(deadline time.Time) error {
	r.deadline = deadline
	return nil
}

func (r *slowReader) Write(p []byte) (int, error) {
	r.pieces++
	r.wantDeadline("for a piece")
	time.Sleep(8 * time.Second)
	return r.ResponseRecorder.Write(p)
}

func (r *slowReader) wantDeadline(what string) {
	r.t.Helper()
	if r.deadline.IsZero() || time.Until(r.deadline) != 10*time.Second {
		r.t.Errorf("the deadline %s is in %v, want 10s", what, time.Until(r.deadline))
	}
}

// An answer may take as long as it needs, but the caller has ten seconds for each
// piece of it, and for what the server still holds when the handler is done.
func TestWriteDeadline(t *testing.T) {
	tests := map[string]struct {
		request *http.Request
		pieces  int // at least
	}{
		"scrape":       {httptest.NewRequest(http.MethodGet, "/metrics", nil), 2}, // begins after 30 s
		"probe":        {httptest.NewRequest(http.MethodGet, "/probe?target="+shop, nil), 1},
		"discovery":    {httptest.NewRequest(http.MethodGet, "/sd", nil), 1},
		"page":         {httptest.NewRequest(http.MethodGet, "/", nil), 1},
		"health":       {httptest.NewRequest(http.MethodGet, "/-/healthy", nil), 1},
		"not found":    {httptest.NewRequest(http.MethodGet, "/nowhere", nil), 1},
		"wrong method": {httptest.NewRequest(http.MethodPost, "/metrics", nil), 1},
		"with a body":  {httptest.NewRequest(http.MethodGet, "/metrics", strings.NewReader("x")), 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				response := &slowReader{ResponseRecorder: httptest.NewRecorder(), t: t}
				newHandler(t, "/metrics", client.Chatbot{UUID: "never"}, client.Chatbot{UUID: shop}).ServeHTTP(response, test.request)
				response.wantDeadline("for the rest")
				if response.pieces < test.pieces {
					t.Errorf("wrote %d pieces, want %d or more", response.pieces, test.pieces)
				}
			})
		})
	}
}
