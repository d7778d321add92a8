package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	stdlog "log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

const (
	healthy = shop
	faulty  = desk
	// marker is in everything that must not be shown.
	marker = "MARKER"
	// secretKey is the key of the accounts in this file.
	secretKey = marker + "-key"
	// session is a session with personal data.
	session = `{"uuid":"MARKER","created_at":"2026-01-01T00:00:00Z","modified_at":"2026-01-01T00:00:00Z",` +
		`"ip_address":"MARKER","MARKER":"MARKER","meta":{"country":"MARKER","page_url":"https://MARKER.example",` +
		`"user":{"name":"MARKER","email":"MARKER@MARKER.example","MARKER":"MARKER"},"auth_data":{"MARKER":["MARKER"]}}}`
)

// pair is the handler of an account with two chatbots, one healthy and one with a
// fault that can be set.
type pair struct {
	handler  http.Handler
	log      *logBuffer
	fault    atomic.Pointer[http.HandlerFunc]
	requests atomic.Int64 // for the faulty chatbot
	asked    chan bool    // gets a value for each request for the healthy one
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{log: newLogBuffer(), asked: make(chan bool, 1000)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+secretKey:
			w.WriteHeader(http.StatusUnauthorized)
		case strings.Contains(r.URL.Path, healthy):
			p.asked <- true
			_, _ = io.WriteString(w, "["+session+","+session+"]")
		default:
			p.requests.Add(1)
			(*p.fault.Load())(w, r)
		}
	}))
	t.Cleanup(server.Close)
	p.set(body("[" + session + "]"))
	p.handler = newPairHandler(t, server.URL, p.log)
	return p
}

// newPairHandler returns the handler of an account with two chatbots.
func newPairHandler(t *testing.T, base string, log io.Writer) http.Handler {
	t.Helper()
	address, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	logger, _ := newLoggers(log, "logfmt", "debug")
	return handlerOf(t, web.Options{TelemetryPath: "/metrics", TimeoutOffset: 100 * time.Millisecond}, logger, accounts.Config{
		URL: address, Key: accounts.InlineKey(secretKey), Concurrency: 4, Timeout: 30 * time.Second,
		Chatbots: []client.Chatbot{{UUID: healthy, Name: "Healthy"}, {UUID: faulty, Name: "Faulty"}},
	})
}

func (p *pair) set(fault http.HandlerFunc) { p.fault.Store(&fault) }

// scrape returns the metrics of a scrape with a timeout in seconds.
func scrape(t *testing.T, handler http.Handler, timeout string) string {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", timeout)
	response := httptest.NewRecorder()
	start := time.Now()
	handler.ServeHTTP(response, request)
	// The exact time is tested with the clock of synctest; here a busy machine may be late.
	const late = 5 * time.Second
	limit, err := time.ParseDuration(timeout + "s")
	if took := time.Since(start); err != nil || response.Code != http.StatusOK || took > limit+late {
		t.Errorf("got %d after %v of %s s", response.Code, took, timeout)
	}
	return response.Body.String()
}

// errorCounts finds the counters of failed fetches that are not 0.
var errorCounts = regexp.MustCompile(`(?m)^chatwize_api_errors_total\{reason="(\w+)"\} ([1-9].*)$`)

// failures returns the counters of failed fetches that are not 0, by reason.
func failures(page string) map[string]string {
	failures := map[string]string{}
	for _, match := range errorCounts.FindAllStringSubmatch(page, -1) {
		failures[match[1]] = match[2]
	}
	return failures
}

// wantFailures checks that n fetches failed, all with the same reason.
func wantFailures(t *testing.T, page string, reason client.Reason, n int) {
	t.Helper()
	if got := failures(page); !maps.Equal(got, map[string]string{string(reason): fmt.Sprint(n)}) {
		t.Errorf("failed fetches: %v, want %d %s", got, n, reason)
	}
}

// wantLog checks that the log, apart from debugging, has a line that names chatbots, or
// nothing if there are none.
func wantLog(t *testing.T, logged string, reason client.Reason, chatbots ...string) {
	t.Helper()
	var lines []string
	for line := range strings.Lines(logged) {
		if !strings.Contains(line, "level=debug") {
			lines = append(lines, line)
		}
	}
	if len(lines) != min(1, len(chatbots)) {
		t.Errorf("logged %d lines, want one for %v:\n%s", len(lines), chatbots, logged)
	}
	for _, line := range lines {
		contains(t, line, "level=warn ", "reason="+string(reason)+" ", "err=", "hint=", fmt.Sprintf(" failures=%d ", len(chatbots)))
		contains(t, line, chatbots...)
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

// Responses for the faulty chatbot.

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

// raw sends bytes and then closes or resets the connection.
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

func silence(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// stalled sends the beginning of a list.
func stalled(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "["+session+",")
	_ = http.NewResponseController(w).Flush()
	silence(w, r)
}

func zipped(content string) string {
	var buffer bytes.Buffer
	compressor := gzip.NewWriter(&buffer)
	_, _ = io.WriteString(compressor, content)
	_ = compressor.Close()
	return buffer.String()
}

// A failed fetch of one chatbot is on the page and in the log, with its reason and
// without any content of the response. The other chatbot keeps its numbers, and the
// faulty one has its numbers again when the fault ends. The client's own tests have
// more faults.
func TestFaults(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another host was asked, with the key %q", r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	tests := map[string]struct {
		fault    http.HandlerFunc
		want     client.Reason // empty: the fetch succeeds
		requests int64         // including retries
		timeout  string        // of the scrape; 20 s if empty
	}{
		"401":                       {fault: status(401), want: client.Unauthorized, requests: 1},
		"404":                       {fault: status(404), want: client.NotFound, requests: 1},
		"500":                       {fault: status(500), want: client.ServerError, requests: 1},
		"503":                       {fault: status(503), want: client.ServerError, requests: 3},
		"400":                       {fault: status(400), want: client.UnexpectedStatus, requests: 1},
		"redirect to another host":  {fault: redirect(302, elsewhere.URL+"/MARKER"), want: client.UnexpectedStatus, requests: 1},
		"redirect to the same host": {fault: redirect(307, "{url}/moved"), requests: 2},
		"no response":               {fault: silence, want: client.Timeout, requests: 1, timeout: "3"},
		"a list that stalls":        {fault: stalled, want: client.Timeout, requests: 1, timeout: "3"},
		"not HTTP":                  {fault: raw("220 MARKER ESMTP\r\n", false), want: client.Network, requests: 1},
		"reset in the body":         {fault: raw(head+"Content-Length: 1000\r\n\r\n["+session, true), want: client.Network, requests: 3},
		"text after the array":      {fault: body("[" + session + "]MARKER"), want: client.InvalidResponse, requests: 1},
		"gzip cut off":              {fault: body(zipped("[" + session + "]")[:100], "Content-Encoding", "gzip"), want: client.InvalidResponse, requests: 3},
	}
	t.Run("all", func(t *testing.T) { // so that elsewhere is closed after all of them
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				p.set(test.fault)
				page := scrape(t, p.handler, cmp.Or(test.timeout, "20"))
				contains(t, page, `chatwize_up{chatbot="`+healthy+`"} 1`, `chatwize_sessions{chatbot="`+healthy+`"} 2`)
				logged := p.log.take()
				if got := p.requests.Load(); got != test.requests {
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

				p.set(body("[" + session + "]"))
				recovered := scrape(t, p.handler, "20")
				contains(t, recovered, `chatwize_up{chatbot="`+faulty+`"} 1`, `chatwize_sessions{chatbot="`+faulty+`"} 1`)
				wantNoMarker(t, page, recovered, logged, p.log.take())
			})
		}
	})
}

// After 429 no request is sent for the account, after 503 with Retry-After none for the
// chatbot. Fetches fail meanwhile and are not logged. The end of a pause is tested where
// pauses are.
func TestRateLimit(t *testing.T) {
	tests := map[string]struct {
		code      int
		reason    client.Reason
		healthyUp string // during the pause
		failures  string // after it
	}{
		"429":                  {http.StatusTooManyRequests, client.RateLimited, "0", "3"},
		"503 with Retry-After": {http.StatusServiceUnavailable, client.ServerError, "1", "2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.set(func(w http.ResponseWriter, _ *http.Request) {
				<-p.asked // so that the pause begins after the request for the healthy chatbot
				w.Header().Set("Retry-After", "600")
				status(test.code)(w, nil)
			})
			page := scrape(t, p.handler, "20")
			contains(t, page, `chatwize_up{chatbot="`+healthy+`"} 1`, `chatwize_up{chatbot="`+faulty+`"} 0`)
			wantFailures(t, page, test.reason, 1)
			logged := p.log.take()
			wantLog(t, logged, test.reason, faulty)
			contains(t, logged, "no_requests_until=")

			p.set(body("[" + session + "]"))
			paused := scrape(t, p.handler, "20")
			contains(t, paused, `chatwize_up{chatbot="`+healthy+`"} `+test.healthyUp, `chatwize_up{chatbot="`+faulty+`"} 0`,
				`chatwize_fetch_failure_info{chatbot="`+faulty+`",reason="`+string(test.reason)+`"} 1`)
			if got, want := failures(paused), map[string]string{string(test.reason): test.failures}; !maps.Equal(got, want) {
				t.Errorf("failed fetches: %v, want %v", got, want)
			}
			if (len(p.asked) == 0) != (test.healthyUp == "0") || p.requests.Load() != 1 {
				t.Error("requests were sent during the pause")
			}
			wantLog(t, p.log.take(), "")
			wantNoMarker(t, page, paused, logged)
		})
	}
}

// A fault between the exporter and the API makes all chatbots of the account fail.
func TestUnreachable(t *testing.T) {
	refused := httptest.NewServer(nil)
	refused.Close()
	untrusted := httptest.NewUnstartedServer(nil)
	untrusted.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	tests := map[string]struct{ url, err string }{
		"connection refused":  {refused.URL, "refused"},
		"no such host":        {"http://api..invalid", "no such host"}, // DNS is not asked for such a name
		"unknown certificate": {untrusted.URL, "certificate"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			log := newLogBuffer()
			page := scrape(t, newPairHandler(t, test.url, log), "20")
			contains(t, page, `chatwize_up{chatbot="`+healthy+`"} 0`, `chatwize_up{chatbot="`+faulty+`"} 0`)
			wantFailures(t, page, client.Network, 2)
			logged := log.take()
			wantLog(t, logged, client.Network, healthy, faulty)
			contains(t, logged, test.err)
			wantNoMarker(t, page, logged)
		})
	}
}

// A client that disconnects during a scrape is not counted or logged as a failure. Its
// request to the API ends.
func TestClientDisconnects(t *testing.T) {
	p := newPair(t)
	asked, ended := make(chan bool), make(chan bool)
	p.set(func(_ http.ResponseWriter, r *http.Request) {
		asked <- true
		<-r.Context().Done()
		ended <- true
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	left := make(chan bool)
	go func() {
		defer close(left)
		p.handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil).WithContext(ctx))
	}()
	<-asked
	cancel()
	<-ended
	<-left
	p.set(body("[" + session + "]"))
	page := scrape(t, p.handler, "20")
	contains(t, page, `chatwize_up{chatbot="`+faulty+`"} 1`,
		`promhttp_metric_handler_errors_total{cause="encoding"} 0`, `promhttp_metric_handler_errors_total{cause="gathering"} 0`)
	if failed := failures(page); len(failed) > 0 {
		t.Errorf("failed fetches: %v", failed)
	}
	wantLog(t, p.log.take(), "")
}
