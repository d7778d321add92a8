package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/pipetest"
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
		unknown   = "the target is not one of the chatbots of this exporter, which /sd lists\n"
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

// readTimeout is the program's: what a caller has for the whole request.
const readTimeout = 10 * time.Second

// dial returns a connection to a server with a handler, in memory, so that
// synctest's clock is the connection's.
func dial(t *testing.T, handler http.Handler) net.Conn {
	t.Helper()
	ours, listener := pipetest.New()
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
	t         *testing.T
	deadlines int
	deadline  time.Time
}

func (r *slowReader) SetWriteDeadline(deadline time.Time) error {
	r.deadlines++
	r.deadline = deadline
	if left := time.Until(deadline); left != 30*time.Second {
		r.t.Errorf("the deadline is in %v, want 30s", left)
	}
	return nil
}

func (r *slowReader) Write(p []byte) (int, error) {
	if r.deadline.IsZero() {
		r.t.Error("writes without a deadline")
	}
	time.Sleep(8 * time.Second)
	return r.ResponseRecorder.Write(p)
}

// A response may begin as late as it needs. From then on there is one deadline for all
// of it, including what the server still holds when the handler has returned.
func TestWriteDeadline(t *testing.T) {
	tests := map[string]*http.Request{
		"scrape":       httptest.NewRequest(http.MethodGet, "/metrics", nil), // begins after 30 s
		"probe":        httptest.NewRequest(http.MethodGet, "/probe?target="+shop, nil),
		"discovery":    httptest.NewRequest(http.MethodGet, "/sd", nil),
		"page":         httptest.NewRequest(http.MethodGet, "/", nil),
		"health":       httptest.NewRequest(http.MethodGet, "/-/healthy", nil),
		"not found":    httptest.NewRequest(http.MethodGet, "/nowhere", nil),
		"wrong method": httptest.NewRequest(http.MethodPost, "/metrics", nil),
		"with a body":  httptest.NewRequest(http.MethodGet, "/metrics", strings.NewReader("x")),
	}
	for name, request := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				response := &slowReader{ResponseRecorder: httptest.NewRecorder(), t: t}
				newHandler(t, "/metrics", client.Chatbot{UUID: "never"}, client.Chatbot{UUID: shop}).ServeHTTP(response, request)
				if response.deadlines != 1 {
					t.Errorf("set %d deadlines, want 1", response.deadlines)
				}
				time.Sleep(30 * time.Second) // fetches of the page go on
			})
		})
	}
}

// readSlowly reads a byte of a connection every second.
func readSlowly(connection io.Reader) error {
	for {
		time.Sleep(time.Second)
		if _, err := connection.Read(make([]byte, 1)); err != nil {
			return err
		}
	}
}

// many returns n chatbots.
func many(n int) (chatbots []client.Chatbot) {
	for i := range n {
		chatbots = append(chatbots, client.Chatbot{UUID: fmt.Sprintf("%032x", i)})
	}
	return chatbots
}

// Clients that read too slowly, or not at all, lose their connection 30 seconds after
// the response has begun.
func TestSlowReader(t *testing.T) {
	for _, path := range []string{"/metrics", "/probe?target=" + many(1)[0].UUID, "/sd", "/"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connection := dial(t, newHandler(t, "/metrics", many(4)...))
				if _, err := io.WriteString(connection, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				if path != "/sd" { // waits for the API
					begun = begun.Add(time.Second)
				}
				err := readSlowly(connection)
				if took := time.Since(begun); !errors.Is(err, io.EOF) || took < 29*time.Second || took > 31*time.Second {
					t.Errorf("got %v after %v, want the connection closed after 30s", err, took)
				}
			})
		})
	}
}

// On HTTP/2, too, they lose the connection, not only the stream. Others do not.
func TestSlowReaderHTTP2(t *testing.T) {
	const window = 64 << 10 // bytes, less than the page
	for name, test := range map[string]struct {
		stalls bool // the client reads nothing from the connection
		reads  bool // the client reads the body
		closed time.Duration
	}{
		"reads no body":       {false, false, 30 * time.Second},
		"reads no connection": {true, false, 30 * time.Second},
		"reads all":           {false, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, listener := pipetest.New()
				protocols := new(http.Protocols)
				protocols.SetUnencryptedHTTP2(true)
				closed := make(chan time.Time, 1)
				server := &http.Server{
					Handler: newHandler(t, "/metrics", many(200)...), Protocols: protocols, ConnContext: web.ConnContext,
					ConnState: func(_ net.Conn, state http.ConnState) {
						if state == http.StateClosed {
							closed <- time.Now()
						}
					},
				}
				go func() { _ = server.Serve(listener) }()
				connection := &stallingConn{Conn: ours, stall: make(chan struct{}), closed: make(chan struct{})}
				transport := &http.Transport{
					Protocols:   protocols,
					HTTP2:       &http.HTTP2Config{MaxReceiveBufferPerStream: window, MaxReceiveBufferPerConnection: window},
					DialContext: func(context.Context, string, string) (net.Conn, error) { return connection, nil },
				}
				defer func() {
					transport.CloseIdleConnections()
					_ = connection.Close()
					_ = server.Close()
					time.Sleep(time.Minute)
				}()
				if test.stalls {
					time.AfterFunc(25*time.Second, func() { close(connection.stall) }) // before the end of fetching
				}
				begun := time.Now()
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/metrics", nil)
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "30.5")
				request.Header.Set("Accept-Encoding", "identity")
				done := make(chan bool)
				go func() {
					defer close(done)
					response, err := transport.RoundTrip(request)
					if err != nil {
						return
					}
					if test.reads {
						_, _ = io.Copy(io.Discard, response.Body)
					} else {
						<-connection.closed
					}
					_ = response.Body.Close()
				}()
				select {
				case at := <-closed:
					if took := at.Sub(begun); test.closed == 0 || took != 30*time.Second+test.closed {
						t.Errorf("closed after %v, want %v after the page began", took, test.closed)
					}
				case <-time.After(2 * time.Minute):
					if test.closed > 0 {
						t.Error("the connection was not closed")
					}
				}
				_ = connection.Close()
				<-done
			})
		})
	}
}

// stallingConn is a connection whose reads block from a time on.
type stallingConn struct {
	net.Conn
	stall, closed chan struct{}
	once          sync.Once
}

func (c *stallingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.stall:
		<-c.closed
	default:
	}
	return n, err
}

func (c *stallingConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// heldWriter is a ResponseWriter that does not take the last byte before it may.
type heldWriter struct {
	*httptest.ResponseRecorder
	release <-chan struct{}
}

func (w heldWriter) Flush() { <-w.release }

// Requests above the maximum get 503 until the last byte of another response is
// written. Metrics, probes, other pages and reloads are counted apart, health checks not at all.
func TestMaxRequests(t *testing.T) {
	const refusal = "too many requests at a time; try again later\n"
	tests := []struct {
		maximum int
		paths   []string
		served  int // of 500 requests
	}{
		{3, []string{"/metrics"}, 3},
		{3, []string{"/metrics", "/metrics?name[]=x"}, 3},
		{3, []string{"/probe?target=" + shop, "/probe"}, 30},
		{3, []string{"/", "/sd"}, 40},
		{3, []string{"/", "/sd", "POST /-/reload"}, 50},
		{0, []string{"POST /-/reload"}, 500},
		{40, []string{"/"}, 40},
		{40, []string{"/probe?target=" + shop}, 400},
		{3, []string{"/-/healthy", "/-/ready", "/nowhere"}, 500},
		{0, []string{"/metrics", "/", "/sd", "/probe?target=" + shop}, 500},
		{math.MaxInt, []string{"/metrics", "/probe?target=" + shop}, 500},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.maximum, test.paths), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				handler := newHandlerWith(t, slowAPI{new(atomic.Int64)}, web.Config{
					Options: web.Options{MaxRequests: test.maximum}, Registry: prometheus.NewRegistry(),
					Reload: func(context.Context) error { return nil },
				}, client.Chatbot{UUID: shop})
				release := make(chan struct{})
				var requests sync.WaitGroup
				var served, refused atomic.Int64
				ask := func(path string) {
					defer requests.Done()
					w := heldWriter{httptest.NewRecorder(), release}
					method := http.MethodGet
					if rest, ok := strings.CutPrefix(path, "POST "); ok {
						method, path = http.MethodPost, rest
					}
					handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
					switch {
					case w.Code != http.StatusServiceUnavailable:
						served.Add(1)
					case w.Body.String() != refusal || w.Header().Get("Connection") != "close":
						t.Errorf("got %v with %s", w.Header(), w.Body)
					default:
						refused.Add(1)
					}
				}
				askAll := func(n int) {
					for i := range n {
						requests.Add(1)
						go ask(test.paths[i%len(test.paths)])
					}
					synctest.Wait()
				}
				askAll(500)
				time.Sleep(2 * time.Second) // the responses are complete, but not read
				askAll(1)
				if n := refused.Load(); test.served < 500 && n != int64(501-test.served) || test.served == 500 && n != 0 {
					t.Errorf("%d refused of 501, want %d served", n, test.served)
				}
				for _, other := range []string{"/metrics", "/probe?target=" + shop, "/sd", "/-/healthy", "/-/ready"} {
					limited := test.served < 500 && (slices.Contains(test.paths, other) || other == "/sd" && test.paths[0] == "/")
					if !limited {
						requests.Add(1)
						before := refused.Load()
						go ask(other)
						synctest.Wait()
						if refused.Load() != before {
							t.Errorf("%s was refused", other)
						}
					}
				}
				time.Sleep(2 * time.Second)
				close(release)
				requests.Wait()
				// All places are free again.
				before := refused.Load()
				askAll(min(test.served, 3))
				requests.Wait()
				if refused.Load() != before {
					t.Error("refused when all had ended")
				}
				if slices.Contains(test.paths, "/metrics") {
					want := fmt.Sprintf("promhttp_metric_handler_requests_total{code=\"503\"} %d\n", refused.Load())
					if page := get(handler, "GET", "/metrics", nil).Body.String(); !strings.Contains(page, want) {
						t.Errorf("%s is missing in\n%s", want, page)
					}
				}
			})
		})
	}
}

// The connection of a refused request is closed.
func TestMaxRequestsCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := newHandlerWith(t, slowAPI{new(atomic.Int64)}, web.Config{
			Options: web.Options{MaxRequests: 1}, Registry: prometheus.NewRegistry(),
		}, client.Chatbot{UUID: shop})
		go get(handler, "GET", "/metrics", nil)
		synctest.Wait()
		connection := dial(t, handler)
		if _, err := io.WriteString(connection, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(connection)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") {
			t.Errorf("got %q, %v", answer, err)
		}
		time.Sleep(2 * time.Second)
	})
}
