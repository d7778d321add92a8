package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

const (
	healthy = shop
	faulty  = desk
	// marker stands in everything that must not get out.
	marker = "MARKER"
	// secretKey is the key of the accounts in this file.
	secretKey = marker + "-key"
	// session is a session full of personal data.
	session = `{"uuid":"MARKER","created_at":"2026-01-01T00:00:00Z","modified_at":"2026-01-01T00:00:00Z",` +
		`"ip_address":"MARKER","MARKER":"MARKER","meta":{"country":"MARKER","page_url":"https://MARKER.example",` +
		`"user":{"name":"MARKER","email":"MARKER@MARKER.example","MARKER":"MARKER"},"auth_data":{"MARKER":["MARKER"]}}}`
)

// lockedBuffer is a buffer for concurrent use.
type lockedBuffer struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.Write(p)
}

// take returns what has been written since it was last called.
func (b *lockedBuffer) take() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	defer b.buffer.Reset()
	return b.buffer.String()
}

// exporter is the exporter's handler on an account of two chatbots, one healthy
// and one with a fault that can be changed.
type exporter struct {
	handler  http.Handler
	log      lockedBuffer
	fault    atomic.Pointer[http.HandlerFunc]
	requests atomic.Int64 // for the faulty chatbot
	asked    chan bool    // gets a value for each request for the healthy one
}

func newExporter(t *testing.T) *exporter {
	t.Helper()
	e := &exporter{asked: make(chan bool, 1000)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+secretKey:
			w.WriteHeader(http.StatusUnauthorized)
		case strings.Contains(r.URL.Path, healthy):
			e.asked <- true
			_, _ = io.WriteString(w, "["+session+","+session+"]")
		default:
			e.requests.Add(1)
			(*e.fault.Load())(w, r)
		}
	}))
	t.Cleanup(server.Close)
	e.set(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "["+session+"]") })
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	e.handler = newTestHandler(t, base, &e.log)
	return e
}

// newTestHandler returns the exporter's handler on the account at base.
func newTestHandler(t *testing.T, base *url.URL, writer io.Writer) http.Handler {
	t.Helper()
	logger, _ := newLoggers(writer, "logfmt", "debug")
	handler, err := newHandler(account{
		url:      base,
		key:      func(context.Context) (string, error) { return secretKey, nil },
		chatbots: []collector.Chatbot{{UUID: healthy, Name: "Healthy"}, {UUID: faulty, Name: "Faulty"}},
	}, options{telemetryPath: "/metrics", concurrency: 4, timeout: 30 * time.Second, timeoutOffset: 100 * time.Millisecond}, logger)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

func (e *exporter) set(fault http.HandlerFunc) { e.fault.Store(&fault) }

// scrape returns the metrics, of a scrape with a timeout in seconds.
func scrape(t *testing.T, handler http.Handler, timeout string) string {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", timeout)
	response := httptest.NewRecorder()
	start := time.Now()
	handler.ServeHTTP(response, request)
	// That it ends in time to the millisecond is tested where time stands still; here
	// a busy machine may be late.
	const late = 5 * time.Second
	limit, err := time.ParseDuration(timeout + "s")
	if took := time.Since(start); err != nil || response.Code != http.StatusOK || took > limit+late {
		t.Errorf("got %d after %v of %s s", response.Code, took, timeout)
	}
	return response.Body.String()
}

// errorCounts finds the counters of failed fetches that are not 0.
var errorCounts = regexp.MustCompile(`(?m)^chatwize_api_errors_total\{reason="(\w+)"\} ([1-9].*)$`)

// wantFailures checks that the counters of failed fetches add up to n of reason.
func wantFailures(t *testing.T, page string, reason client.Reason, n int) {
	t.Helper()
	counts := errorCounts.FindAllStringSubmatch(page, -1)
	if len(counts) != 1 || counts[0][1] != string(reason) || counts[0][2] != fmt.Sprint(n) {
		t.Errorf("failed fetches: %q, want %d %s", counts, n, reason)
	}
}

// wantLog checks that the log has a line for each of chatbots and nothing else
// but debugging.
func wantLog(t *testing.T, logged string, reason client.Reason, chatbots ...string) {
	t.Helper()
	var lines []string
	for line := range strings.Lines(logged) {
		if !strings.Contains(line, "level=debug") {
			lines = append(lines, line)
		}
	}
	if len(lines) != len(chatbots) {
		t.Errorf("logged %d lines, want %d:\n%s", len(lines), len(chatbots), logged)
	}
	for _, chatbot := range chatbots {
		if !strings.Contains(logged, "chatbot="+chatbot+" ") {
			t.Errorf("the log does not name %s:\n%s", chatbot, logged)
		}
	}
	for _, line := range lines {
		contains(t, line, "level=warn ", "reason="+string(reason)+" ", "err=", "todo=")
	}
}

// wantNoMarker checks that nothing private got out.
func wantNoMarker(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(strings.ToUpper(text), marker) {
			t.Errorf("private data got out:\n%s", text)
		}
	}
}

// Answers for the faulty chatbot.

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		if code != http.StatusNoContent {
			_, _ = io.WriteString(w, `{"error":"MARKER"}`)
		}
	}
}

func body(content string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		_, _ = io.WriteString(w, content)
	}
}

func redirect(code int, location string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/moved") {
			_, _ = io.WriteString(w, "["+session+"]")
			return
		}
		w.Header().Set("Location", strings.NewReplacer("{url}", r.URL.Path, "{host}", r.Host).Replace(location))
		w.WriteHeader(code)
	}
}

// raw answers with bytes of its own and then closes or resets the connection.
func raw(answer string, reset bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, answer)
		if reset {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}
		_ = conn.Close()
	}
}

// stream sends the pieces that next returns, pausing between them, for as long as
// somebody reads.
func stream(pause time.Duration, next func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := io.WriteString(w, next()); err != nil {
				return
			}
			if pause > 0 {
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(pause):
				case <-r.Context().Done():
					return
				}
			}
		}
	}
}

func always(piece string) func() string { return func() string { return piece } }

// opening returns first once and rest from then on.
func opening(first, rest string) func() string {
	return func() string {
		defer func() { first = rest }()
		return first
	}
}

func silence(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func zipped(content string) string {
	var buffer bytes.Buffer
	compressor := gzip.NewWriter(&buffer)
	_, _ = io.WriteString(compressor, content)
	_ = compressor.Close()
	return buffer.String()
}

func TestFaults(t *testing.T) {
	const (
		head    = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
		invalid = client.InvalidResponse
	)
	corrupt := []byte(zipped("[" + session + "]"))
	corrupt[len(corrupt)/2] ^= 0xff
	type test struct {
		name     string
		fault    func() http.HandlerFunc
		want     client.Reason // none: the answer is accepted
		requests int64
		timeout  string // of the scrape; 20 s if empty
		replays  int64  // more requests than that are fine
	}
	// once is a fault that is not tried again, thrice one that is.
	once := func(name string, want client.Reason, fault http.HandlerFunc) test {
		return test{name: name, want: want, requests: 1, fault: func() http.HandlerFunc { return fault }}
	}
	thrice := func(name string, want client.Reason, fault http.HandlerFunc) test {
		test := once(name, want, fault)
		test.requests = 3
		return test
	}
	// replayed is one that net/http itself tries again where the connection had been
	// used before.
	replayed := func(name string, want client.Reason, fault http.HandlerFunc) test {
		test := thrice(name, want, fault)
		test.replays = 3
		return test
	}
	tests := []test{
		once("204", client.UnexpectedStatus, status(204)),
		once("400", client.UnexpectedStatus, status(400)),
		once("401", client.Unauthorized, status(401)),
		once("403", client.Unauthorized, status(403)),
		once("404", client.NotFound, status(404)),
		once("405", client.UnexpectedStatus, status(405)),
		once("418", client.UnexpectedStatus, status(418)),
		once("500", client.ServerError, status(500)),
		thrice("502", client.ServerError, status(502)),
		thrice("503", client.ServerError, status(503)),
		thrice("504", client.ServerError, status(504)),

		replayed("closed without an answer", client.Network, raw("", false)),
		replayed("reset without an answer", client.Network, raw("", true)),
		thrice("reset in the body", client.Network, raw(head+"Content-Length: 1000\r\n\r\n["+session, true)),
		thrice("cut off before Content-Length", client.Network, raw(head+"Content-Length: 1000\r\n\r\n["+session, false)),
		thrice("cut off between chunks", client.Network, raw(head+"Transfer-Encoding: chunked\r\n\r\n5\r\n[{},", false)),
		thrice("cut off with a matching Content-Length", invalid, body("["+session+",")),
		thrice("cut off with no Content-Length", invalid, raw(head+"Connection: close\r\n\r\n["+session, false)),
		thrice("gzip cut off", invalid, body(zipped("[" + session + "]")[:100], "Content-Encoding", "gzip")),
		once("not HTTP", client.Network, raw("220 MARKER ESMTP\r\n", false)),
		once("header without end", client.Network, raw("HTTP/1.1 200 OK\r\nX-Marker: "+strings.Repeat(marker, 1<<20), false)),

		once("empty", invalid, body("")),
		once("null", invalid, body("null")),
		once("text", invalid, body(`"MARKER"`)),
		once("number", invalid, body("17")),
		once("an object with an error", invalid, body(`{"error":"MARKER"}`)),
		once("HTML", invalid, body("<html>MARKER</html>", "Content-Type", "text/html")),
		once("data behind the array", invalid, body("["+session+"]MARKER")),
		once("a comma missing", invalid, body("["+session+session+"]")),
		once("elements that are no objects", invalid, body(`["MARKER"]`)),
		once("corrupt gzip", invalid, body(string(corrupt), "Content-Encoding", "gzip")),
		once("nested too deep", invalid, body("["+strings.Repeat(`{"MARKER":`, 100000))),
		once("wrong Content-Type", "", body("["+session+"]", "Content-Type", "text/html")),
		once("invalid UTF-8", "", body("["+strings.Replace(session, `"email":"`, "\"email\":\"\xff\xfe", 1)+"]")),
		once("lone surrogates", "", body("["+strings.Replace(session, `"email":"`, `"email":"\udead`, 1)+"]")),
		once("duplicate keys", "", body("["+strings.Replace(session, `"country":`, `"country":1,"country":`, 1)+"]")),
	}
	for name, fault := range map[string]http.HandlerFunc{
		"no answer":            silence,
		"headers then silence": stream(time.Hour, always("")),
	} {
		tests = append(tests, test{name, func() http.HandlerFunc { return fault }, client.Timeout, 1, "1", 0})
	}
	tests = append(tests,
		test{"one byte at a time", func() http.HandlerFunc { return stream(50*time.Millisecond, opening("[", " ")) }, client.Timeout, 1, "1", 0},
		test{"endless list", func() http.HandlerFunc { return stream(0, opening("["+session, ","+session)) }, client.Timeout, 1, "1", 0},
	)
	for _, code := range []int{301, 302, 307, 308} {
		elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			t.Errorf("another host was asked, with the key %q", r.Header.Get("Authorization"))
		}))
		defer elsewhere.Close()
		same := once(fmt.Sprint(code, " to the same host"), "", redirect(code, "{url}/moved"))
		same.requests = 2
		loop := once(fmt.Sprint(code, " in a loop"), client.UnexpectedStatus, redirect(code, "{url}"))
		loop.requests = 11
		tests = append(tests, same, loop,
			once(fmt.Sprint(code, " to another host"), client.UnexpectedStatus, redirect(code, elsewhere.URL+"/MARKER")))
	}

	t.Run("all", func(t *testing.T) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				e := newExporter(t)
				e.set(test.fault())
				timeout := test.timeout
				if timeout == "" {
					timeout = "20"
				}
				page := scrape(t, e.handler, timeout)
				contains(t, page, `chatwize_up{chatbot="`+healthy+`"} 1`, `chatwize_sessions{chatbot="`+healthy+`"} 2`)
				logged := e.log.take()
				if got := e.requests.Load(); got < test.requests || got > test.requests+test.replays {
					t.Errorf("sent %d requests, want %d", got, test.requests)
				}
				if test.want == "" {
					contains(t, page, `chatwize_up{chatbot="`+faulty+`"} 1`, `chatwize_sessions_with_lead{chatbot="`+faulty+`"} 1`)
					wantLog(t, logged, "")
				} else {
					contains(t, page, `chatwize_up{chatbot="`+faulty+`"} 0`)
					if strings.Contains(page, `chatwize_sessions{chatbot="`+faulty) {
						t.Error("the faulty chatbot has numbers")
					}
					wantFailures(t, page, test.want, 1)
					wantLog(t, logged, test.want, faulty)
				}

				e.set(body("[" + session + "]"))
				recovered := scrape(t, e.handler, "20")
				contains(t, recovered, `chatwize_up{chatbot="`+faulty+`"} 1`, `chatwize_sessions{chatbot="`+faulty+`"} 1`)
				wantNoMarker(t, page, recovered, logged, e.log.take())
			})
		}
	})
}

// A rate limit of the account stops all requests until it is over.
func TestRateLimit(t *testing.T) {
	tests := map[string]struct {
		code   int
		reason client.Reason
	}{
		"429":                  {http.StatusTooManyRequests, client.RateLimited},
		"503 with Retry-After": {http.StatusServiceUnavailable, client.ServerError},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newExporter(t)
			var limitedAt time.Time
			e.set(func(w http.ResponseWriter, _ *http.Request) {
				<-e.asked // so that the healthy chatbot of this scrape is beyond the limit
				limitedAt = time.Now()
				w.Header().Set("Retry-After", "2")
				status(test.code)(w, nil)
			})
			page := scrape(t, e.handler, "20")
			contains(t, page, `chatwize_up{chatbot="`+healthy+`"} 1`, `chatwize_up{chatbot="`+faulty+`"} 0`)
			wantFailures(t, page, test.reason, 1)
			logged := e.log.take()
			wantLog(t, logged, test.reason, faulty)
			contains(t, logged, "no_requests_until=")

			e.set(body("[" + session + "]"))
			paused := scrape(t, e.handler, "20")
			if time.Since(limitedAt) < 2*time.Second { // else the machine is too slow to tell
				contains(t, paused, `chatwize_up{chatbot="`+healthy+`"} 0`, `chatwize_up{chatbot="`+faulty+`"} 0`)
				if test.reason == client.RateLimited {
					wantFailures(t, paused, client.RateLimited, 3)
				}
				if len(e.asked) != 0 || e.requests.Load() != 1 {
					t.Error("requests were sent in spite of the limit")
				}
				wantLog(t, e.log.take(), "")
			}
			time.Sleep(time.Until(limitedAt.Add(2 * time.Second)))
			// The pause counts from when the answer came, which may have been later.
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				page := scrape(t, e.handler, "20")
				if !strings.Contains(page, `chatwize_up{chatbot="`+healthy+`"} 0`) || time.Now().After(deadline) {
					contains(t, page, `chatwize_up{chatbot="`+healthy+`"} 1`, `chatwize_up{chatbot="`+faulty+`"} 1`)
					break
				}
			}
			wantNoMarker(t, page, paused, logged)
		})
	}
}

// Faults between here and the API hit the whole account, and no more than that.
func TestUnreachable(t *testing.T) {
	refused := httptest.NewServer(nil)
	refused.Close()
	untrusted := httptest.NewUnstartedServer(nil)
	untrusted.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	tests := map[string]struct{ url, err string }{
		"connection refused":  {refused.URL, "connection refused"},
		"no such host":        {"http://api..invalid", "no such host"}, // not a name that DNS is asked for
		"unknown certificate": {untrusted.URL, "certificate"},
		"http to an https":    {strings.Replace(untrusted.URL, "https:", "http:", 1), "status"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			base, err := url.Parse(test.url)
			if err != nil {
				t.Fatal(err)
			}
			var log lockedBuffer
			page := scrape(t, newTestHandler(t, base, &log), "20")
			contains(t, page, `chatwize_up{chatbot="`+healthy+`"} 0`, `chatwize_up{chatbot="`+faulty+`"} 0`)
			reason := client.Network
			if test.err == "status" { // net/http answers such a request with 400
				reason, test.err = client.UnexpectedStatus, "400"
			}
			wantFailures(t, page, reason, 2)
			logged := log.take()
			wantLog(t, logged, reason, healthy, faulty)
			contains(t, logged, test.err)
			wantNoMarker(t, page, logged)
		})
	}
}
