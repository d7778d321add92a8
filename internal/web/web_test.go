package web_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// slowAPI has one session for every chatbot, but needs a second to say so; the
// chatbot named never needs for ever. It counts the requests.
type slowAPI struct{ requests *atomic.Int64 }

func (a slowAPI) Sessions(ctx context.Context, chatbot string, _ time.Time, _ *client.Validator) iter.Seq2[client.Session, error] {
	return func(yield func(client.Session, error) bool) {
		a.requests.Add(1)
		takes := time.Second
		if chatbot == "never" {
			takes = 24 * time.Hour
		}
		select {
		case <-time.After(takes):
			yield(client.Session{HasLead: true}, nil)
		case <-ctx.Done():
			yield(client.Session{}, &client.Error{Reason: client.Timeout, Err: ctx.Err()})
		}
	}
}

func (slowAPI) Chatbots(context.Context) ([]client.Chatbot, int, error) { return nil, 0, nil }

func newHandler(t *testing.T, path string, chatbots ...collector.Chatbot) http.Handler {
	t.Helper()
	return newHandlerOf(t, slowAPI{new(atomic.Int64)}, path, chatbots...)
}

func newHandlerOf(t *testing.T, api slowAPI, path string, chatbots ...collector.Chatbot) http.Handler {
	t.Helper()
	registry := prometheus.NewRegistry()
	source := collector.NewSource(collector.SourceConfig{
		API: api, Concurrency: 4, Timeout: 30 * time.Second, Registerer: registry, Logger: log.NewNopLogger(),
	})
	handler, err := web.NewHandler(web.Config{
		TelemetryPath: path,
		Directory:     collector.Chatbots(chatbots),
		Chatbots:      collector.New(source, collector.Chatbots(chatbots)),
		Registry:      registry,
		TimeoutOffset: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

const (
	shop = "7f5e5376dbf045cd8c72c60f428653d1"
	desk = "7F5E5376-DBF0-45CD-8C72-C60F428653D2"
)

func get(handler http.Handler, method, path string, header http.Header) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, nil)
	for name, values := range header {
		request.Header[name] = values
	}
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, request)
	return response
}

func TestEndpoints(t *testing.T) {
	tests := []struct {
		telemetryPath, method, path string
		status                      int
		body                        string // a part of it
	}{
		{"/metrics", "GET", "/", 200, `<a href="/metrics">`},
		{"/metrics", "GET", "/", 200, `<a href="/-/healthy">`},
		{"/metrics", "GET", "/", 200, `<a href="/-/ready">`},
		{"/metrics", "GET", "/metrics", 200, `chatwize_api_errors_total{reason="timeout"} 0`},
		{"/metrics", "GET", "/metrics", 200, `promhttp_metric_handler_requests_in_flight 1`},
		{"/metrics", "HEAD", "/metrics", 200, ""},
		{"/metrics", "GET", "/-/healthy", 200, "OK"},
		{"/metrics", "GET", "/-/ready", 200, "OK"},
		{"/metrics", "GET", "/metrics/", 404, ""},
		{"/metrics", "GET", "/debug/pprof/", 404, ""},
		{"/metrics", "GET", "/favicon.ico", 404, ""},
		{"/metrics", "POST", "/metrics", 405, ""},
		{"/metrics", "DELETE", "/-/healthy", 405, ""},
		{"/metrics", "POST", "/", 405, ""},
		{"/metrics", "POST", "/nowhere", 405, ""},
		{"/metrics", "PUT", "//metrics", 405, ""},
		{"/metrics", "OPTIONS", "/metrics", 405, ""},
		{"/chatwize/numbers", "GET", "/", 200, `<a href="/chatwize/numbers">`},
		{"/chatwize/numbers", "GET", "/chatwize/numbers", 200, "chatwize_api_errors_total"},
		{"/chatwize/numbers", "GET", "/metrics", 404, ""},
		{"/", "GET", "/", 200, "chatwize_api_errors_total"},
		{"/", "GET", "/metrics", 404, ""},
		{"/metrics", "GET", "/", 200, `<a href="/sd">`},
		{"/metrics", "GET", "/", 200, `<a href="/probe">`},
		{"/metrics", "GET", "/sd", 200, "[]"},
		{"/metrics", "POST", "/sd", 405, ""},
		{"/metrics", "GET", "/probe", 400, "give one target, as in /probe?target=UUID"},
		{"/metrics", "GET", "/probe?target=", 400, "give one target"},
		{"/metrics", "GET", "/probe?target=" + shop + "&target=" + shop, 400, "give one target"},
		{"/metrics", "GET", "/probe?target=" + shop[1:], 400, "not a UUID"},
		{"/metrics", "GET", "/probe?target=" + shop, 400, "--chatwize.chatbot"},
		{"/metrics", "GET", "/probe/?target=" + shop, 404, ""},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.path+" with "+test.telemetryPath, func(t *testing.T) {
			got := get(newHandler(t, test.telemetryPath), test.method, test.path, nil)
			if got.Code != test.status || !strings.Contains(got.Body.String(), test.body) {
				t.Errorf("got %d with %s\nwant %d with %s", got.Code, got.Body, test.status, test.body)
			}
		})
	}
}

func TestLandingPageShowsNoProfiler(t *testing.T) {
	if page := get(newHandler(t, "/metrics"), "GET", "/", nil).Body.String(); strings.Contains(page, "/debug/") {
		t.Error("the landing page links to a profiler that is not there")
	}
}

// A scrape takes as long as it may and then answers 200 with what there is.
func TestScrapeTimeout(t *testing.T) {
	tests := []struct {
		header string
		want   time.Duration
	}{
		{"", 30 * time.Second},
		{"10", 9500 * time.Millisecond},
		{"10.25", 9750 * time.Millisecond},
		{"30.5", 30 * time.Second},
		{"31", 30 * time.Second},
		{"1e300", 30 * time.Second},
		{"+Inf", 30 * time.Second},
		{"NaN", 30 * time.Second},
		{"0", 30 * time.Second},
		{"-5", 30 * time.Second},
		{"soon", 30 * time.Second},
		{"2.5", 2 * time.Second},
		{"1", 500 * time.Millisecond},
		{"0.6", 300 * time.Millisecond}, // the offset takes half at the most
	}
	for _, test := range tests {
		t.Run(test.header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				handler := newHandler(t, "/metrics", collector.Chatbot{UUID: "never"}, collector.Chatbot{UUID: "healthy"})
				start := time.Now()
				got := get(handler, "GET", "/metrics", http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {test.header}})
				if took := time.Since(start); got.Code != 200 || took != test.want {
					t.Errorf("got %d after %v, want 200 after %v", got.Code, took, test.want)
				}
				up := `chatwize_up{chatbot="healthy"} 1`
				if test.want < time.Second {
					up = `chatwize_up{chatbot="healthy"} 0`
				}
				for _, want := range []string{`chatwize_up{chatbot="never"} 0`, up} {
					if !strings.Contains(got.Body.String(), want) {
						t.Errorf("%s is missing in\n%s", want, got.Body)
					}
				}
			})
		})
	}
}

// Twenty scrapes that overlap cost one request, also when who came first leaves.
func TestOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := slowAPI{new(atomic.Int64)}
		handler := newHandlerOf(t, api, "/metrics", collector.Chatbot{UUID: "shared"})
		first, leave := context.WithCancel(t.Context())
		var scrapes sync.WaitGroup
		scrapes.Go(func() {
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil).WithContext(first))
		})
		synctest.Wait()
		for range 19 {
			time.Sleep(10 * time.Millisecond)
			scrapes.Go(func() {
				if page := get(handler, "GET", "/metrics", nil).Body.String(); !strings.Contains(page, `chatwize_sessions{chatbot="shared"} 1`) {
					t.Errorf("no numbers in\n%s", page)
				}
			})
		}
		synctest.Wait()
		leave()
		scrapes.Wait()
		if got := api.requests.Load(); got != 1 {
			t.Errorf("the API got %d requests, want 1", got)
		}
	})
}

// A page is compressed for whoever accepts that, and is the same.
func TestCompression(t *testing.T) {
	var chatbots []collector.Chatbot
	for i := range 100 {
		chatbots = append(chatbots, collector.Chatbot{UUID: fmt.Sprint("chatbot ", i), Name: "Zoë"})
	}
	synctest.Test(t, func(t *testing.T) {
		handler := newHandler(t, "/metrics", chatbots...)
		for accepts, encoding := range map[string]string{"": "", "gzip": "gzip", "deflate, gzip;q=0": "", "zstd": ""} {
			if got := get(handler, "GET", "/sd", http.Header{"Accept-Encoding": {accepts}}); got.Header().Get("Content-Encoding") != encoding {
				t.Errorf("/sd for %q: got %v", accepts, got.Header())
			}
			got := get(handler, "GET", "/metrics", http.Header{"Accept-Encoding": {accepts}})
			page := io.Reader(got.Body)
			if encoding == "gzip" {
				var err error
				if page, err = gzip.NewReader(page); err != nil {
					t.Fatal(err)
				}
			}
			text, err := io.ReadAll(page)
			if err != nil || got.Header().Get("Content-Encoding") != encoding ||
				!strings.HasPrefix(got.Header().Get("Content-Type"), "text/plain") ||
				strings.Count(string(text), `name="Zoë"} 1`) != len(chatbots) {
				t.Errorf("for %q: got %v and %v\n%s", accepts, got.Header(), err, text)
			}
		}
	})
}

// The counters on a page include the scrape that made the page.
func TestCountersOfThisScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := get(newHandler(t, "/metrics", collector.Chatbot{UUID: "never"}), "GET", "/metrics", nil)
		if want := `chatwize_api_errors_total{reason="timeout"} 1`; !strings.Contains(got.Body.String(), want) {
			t.Errorf("%s is missing in\n%s", want, got.Body)
		}
	})
}

func TestCheckTelemetryPath(t *testing.T) {
	tests := map[string]bool{
		"/metrics": true, "/": true, "/a/b.c": true,
		"": false, "metrics": false, "/probe": false, "/sd": false, "/-/healthy": false, "/-/ready": false, "/{x}": false, "/a b": false,
		"//": false, "/m?x=1": false, "/m#x": false, "/a/../b": false, "/./a": false,
	}
	for path, valid := range tests {
		if err := web.CheckTelemetryPath(path); (err == nil) != valid {
			t.Errorf("%q: got %v, want valid: %t", path, err, valid)
		}
		if valid {
			newHandler(t, path)
		}
	}
}

// Who sends a body is not listened to.
func TestRequestBody(t *testing.T) {
	server := httptest.NewServer(newHandler(t, "/metrics"))
	defer server.Close()
	for name, body := range map[string]io.Reader{
		"of a known length":    strings.NewReader("x"),
		"of an unknown length": io.MultiReader(strings.NewReader("x")),
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/metrics", body)
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusRequestEntityTooLarge || !response.Close {
			t.Errorf("a body %s: got %s, connection closed: %t", name, response.Status, response.Close)
		}
	}
}

// deadlines is a ResponseWriter that remembers its write deadlines.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Duration // from the start
}

func (d *deadlines) SetWriteDeadline(deadline time.Time) error {
	d.set = append(d.set, deadline.Sub(midnight))
	return nil
}

// The clock of synctest stands at midnight when a test begins.
var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// A scrape may take as long as it needs, but whoever reads it has ten seconds for
// each piece.
func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		response := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		newHandler(t, "/metrics", collector.Chatbot{UUID: "never"}).ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if len(response.set) < 2 {
			t.Fatalf("set deadlines %v, want one for the page and one for the rest", response.set)
		}
		for _, deadline := range response.set {
			if deadline != 40*time.Second { // the scrape took 30
				t.Errorf("set deadline %v, want 40s", deadline)
			}
		}
	})
}
