package web_test

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/apimetrics"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// slowAPI has one session for every chatbot, but needs a second to say so; the
// chatbot named never needs for ever. It counts the requests.
type slowAPI struct{ requests *atomic.Int64 }

func (a slowAPI) Sessions(ctx context.Context, chatbot string, _ client.SessionsOptions) (*client.SessionsResponse, error) {
	return &client.SessionsResponse{Sessions: func(yield func(client.Session, error) bool) {
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
	}}, nil
}

func (slowAPI) Chatbots(context.Context) (*client.ChatbotsResponse, error) {
	return &client.ChatbotsResponse{}, nil
}

func newHandler(t *testing.T, path string, chatbots ...client.Chatbot) http.Handler {
	t.Helper()
	return newHandlerOf(t, slowAPI{new(atomic.Int64)}, path, chatbots...)
}

func newHandlerOf(t *testing.T, api slowAPI, path string, chatbots ...client.Chatbot) http.Handler {
	t.Helper()
	return newHandlerWith(t, api, web.Config{Options: web.Options{TelemetryPath: path}, Registry: prometheus.NewRegistry()}, chatbots...)
}

// newConfig returns a Config of an account for up to four requests at a time.
func newConfig(api fetch.API, metrics *apimetrics.Metrics) fetch.Config {
	return fetch.Config{API: api, Gate: fetch.NewGate(4, 30*time.Second), Failures: fetch.NewFailures(metrics.CountFailure, log.NewNopLogger()), Logger: log.NewNopLogger()}
}

// oneAccount returns the accounts of a handler: one without a name.
func oneAccount(config fetch.Config, directory fetch.Directory) func() *accounts.Set {
	account := newAccount("", config, directory)
	return func() *accounts.Set { return accounts.NewSet(account) }
}

func newAccount(name string, config fetch.Config, directory fetch.Directory) *accounts.Account {
	return &accounts.Account{
		Name: name, Source: fetch.NewSource(config, fetch.SourceOptions{}), Directory: directory,
		Metrics: prometheus.NewRegistry(), Logger: config.Logger,
	}
}

// newHandlerWith completes a Config, whose default path is /metrics.
func newHandlerWith(t *testing.T, api fetch.API, config web.Config, chatbots ...client.Chatbot) http.Handler {
	t.Helper()
	if config.Logger == nil {
		config.Logger = log.NewNopLogger()
	}
	config.TelemetryPath = cmp.Or(config.TelemetryPath, "/metrics")
	config.Accounts = oneAccount(newConfig(api, apimetrics.New(config.Registry)), fetch.Configured(chatbots))
	config.TimeoutOffset = 500 * time.Millisecond
	handler, err := web.NewHandler(config)
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

// Each path has its page, and there are no others.
func TestEndpoints(t *testing.T) {
	const (
		numbers = "\nchatwize_api_errors_total{reason=\"timeout\"} 0\n"
		nowhere = "404 page not found\n"
		text    = "text/plain; charset=utf-8"
		metrics = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
		page    = "text/html; charset=UTF-8"
	)
	tests := []struct {
		telemetryPath, method, path string
		status                      int
		contentType                 string
		whole, part                 string // the body or a part of it
	}{
		{"/metrics", "GET", "/", 200, page, "", "<h1>Chatwize exporter</h1>"},
		{"/metrics", "GET", "/metrics", 200, metrics, "", numbers},
		{"/metrics", "GET", "/metrics", 200, metrics, "", "\npromhttp_metric_handler_requests_in_flight 1\n"},
		{"/metrics", "GET", "/metrics?x=1", 200, metrics, "", numbers},
		{"/metrics", "HEAD", "/metrics", 200, metrics, "", numbers},
		{"/metrics", "GET", "/-/healthy", 200, text, "OK\n", ""},
		{"/metrics", "HEAD", "/-/healthy", 200, text, "OK\n", ""},
		{"/metrics", "GET", "/-/ready", 200, text, "OK\n", ""},
		{"/metrics", "GET", "/sd", 200, "application/json", "[]\n", ""},
		{"/metrics", "GET", "/metrics/", 404, text, nowhere, ""},
		{"/metrics", "GET", "/-/healthy/", 404, text, nowhere, ""},
		{"/metrics", "GET", "/sd/", 404, text, nowhere, ""},
		{"/metrics", "GET", "/probe/?target=" + shop, 404, text, nowhere, ""},
		{"/metrics", "GET", "/debug/pprof/", 404, text, nowhere, ""},
		{"/metrics", "GET", "/favicon.ico", 404, text, nowhere, ""},
		{"/metrics", "HEAD", "/favicon.ico", 404, text, nowhere, ""},
		{"/chatwize/numbers", "GET", "/", 200, page, "", `<a href="chatwize/numbers">Metrics</a>`},
		{"/chatwize/numbers", "GET", "/chatwize/numbers", 200, metrics, "", numbers},
		{"/chatwize/numbers", "GET", "/metrics", 404, text, nowhere, ""},
		{"/", "GET", "/", 200, metrics, "", numbers},
		{"/", "GET", "/metrics", 404, text, nowhere, ""},
		{"/", "GET", "/-/healthy", 200, text, "OK\n", ""},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.path+" with "+test.telemetryPath, func(t *testing.T) {
			got := get(newHandler(t, test.telemetryPath), test.method, test.path, nil)
			body := got.Body.String()
			if test.whole != "" && body != test.whole || !strings.Contains(body, test.part) ||
				got.Code != test.status || got.Header().Get("Content-Type") != test.contentType {
				t.Errorf("got %d, %v with %s\nwant %+v", got.Code, got.Header(), body, test)
			}
		})
	}
}

// The path of the metrics is escaped. The link leads to it, also behind a path prefix.
func TestOverviewLink(t *testing.T) {
	base, err := url.Parse("http://proxy.example/prefix/")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/metrics", "/a/b", `/"><script>alert(1)</script>`, "/a&amp;b", "/javascript:alert(1)", "/'x'", "/Zoë"} {
		page := get(newHandler(t, path), "GET", "/", nil).Body.String()
		link := regexp.MustCompile(`<a href="([^"]*)">Metrics</a>`).FindStringSubmatch(page)
		if link == nil || strings.Contains(page, "<script") {
			t.Errorf("%s: got\n%s", path, page)
			continue
		}
		address, err := base.Parse(html.UnescapeString(link[1]))
		if err != nil || address.Host != base.Host || address.Path != "/prefix"+path {
			t.Errorf("%s: the link is %s, which leads to %v, %v", path, link[1], address, err)
		}
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
		{"0.1", 50 * time.Millisecond},
		{"0.05", 50 * time.Millisecond}, // as 0.1
		{"0.000001", 50 * time.Millisecond},
		{"1e-300", 50 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				handler := newHandler(t, "/metrics", client.Chatbot{UUID: "never"}, client.Chatbot{UUID: "healthy"})
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
		handler := newHandlerOf(t, api, "/metrics", client.Chatbot{UUID: "shared"})
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

// A page is compressed with gzip, at its fastest, for those who accept that and for
// no one else, and is the same.
func TestCompression(t *testing.T) {
	var chatbots []client.Chatbot
	for i := range 100 {
		chatbots = append(chatbots, client.Chatbot{UUID: fmt.Sprintf("%032x", i), Name: "Zoë"})
	}
	tests := []struct {
		accepts  []string // none: no such header
		encoding string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"gzip"}, "gzip"}, // Prometheus
		{[]string{"gzip, deflate, br, zstd"}, "gzip"},
		{[]string{"zstd;q=1, gzip;q=0.1"}, "gzip"},
		{[]string{"deflate, gzip;q=0"}, ""},
		{[]string{"zstd"}, ""},
		{[]string{"br, deflate"}, ""},
		{[]string{"identity"}, ""},
	}
	pages := map[string]struct {
		contentType, shows string
		times              int
	}{
		"/metrics":                           {"text/plain", `name="Zoë"} 1`, len(chatbots)},
		"/sd":                                {"application/json", `"Zoë"`, len(chatbots)},
		"/probe?target=" + chatbots[50].UUID: {"text/plain", `name="Zoë"} 1`, 1},
	}
	synctest.Test(t, func(t *testing.T) {
		handler := newHandler(t, "/metrics", chatbots...)
		for path, want := range pages {
			for _, test := range tests {
				header := http.Header{}
				if test.accepts != nil {
					header["Accept-Encoding"] = test.accepts
				}
				got := get(handler, "GET", path, header)
				page := io.Reader(got.Body)
				if test.encoding == "gzip" {
					// RFC 1952: this byte is 4 where the fastest algorithm was used.
					if raw := got.Body.Bytes(); len(raw) < 10 || raw[8] != 4 {
						t.Errorf("%s for %q: not of the fastest compression", path, test.accepts)
					}
					var err error
					if page, err = gzip.NewReader(page); err != nil {
						t.Fatal(err)
					}
				}
				text, err := io.ReadAll(page)
				if err != nil || got.Code != 200 || got.Header().Get("Content-Encoding") != test.encoding ||
					got.Header().Get("Vary") != "Accept-Encoding" ||
					!strings.HasPrefix(got.Header().Get("Content-Type"), want.contentType) ||
					strings.Count(string(text), want.shows) != want.times {
					t.Errorf("%s for %q: got %v and %v\n%s", path, test.accepts, got.Header(), err, text)
				}
			}
		}
	})
}

// A scrape gets the format that it asks for.
func TestFormat(t *testing.T) {
	tests := map[string]struct{ contentType, end string }{
		"":           {"text/plain; version=0.0.4;", "\n"},
		"text/plain": {"text/plain; version=0.0.4;", "\n"},
		"application/openmetrics-text;version=1.0.0,text/plain;q=0.5": {"application/openmetrics-text; version=1.0.0;", "\n# EOF\n"},
	}
	synctest.Test(t, func(t *testing.T) {
		handler := newHandler(t, "/metrics", client.Chatbot{UUID: shop})
		for accepts, want := range tests {
			for _, path := range []string{"/metrics", "/probe?target=" + shop} {
				got := get(handler, "GET", path, http.Header{"Accept": {accepts}})
				page := got.Body.String()
				if !strings.HasPrefix(got.Header().Get("Content-Type"), want.contentType) || !strings.HasSuffix(page, want.end) ||
					strings.Contains(page, "# EOF") != strings.Contains(want.end, "# EOF") ||
					!strings.Contains(page, `chatwize_sessions{chatbot="`+shop+`"} 1`) {
					t.Errorf("%s for %q: got %v\n%s", path, accepts, got.Header(), page)
				}
			}
		}
	})
}

// A metric that cannot be gathered is logged and counted, and the page has the others.
// When the caller has left, nothing is logged or counted.
func TestGatheringFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		description := prometheus.NewDesc("broken", "Cannot be gathered.", nil, nil)
		registry.MustRegister(invalid{prometheus.NewInvalidMetric(description, errors.New("two\nlines"))})
		var logged strings.Builder
		handler := newHandlerWith(t, slowAPI{new(atomic.Int64)}, web.Config{
			Registry: registry, Logger: level.NewFilter(log.NewLogfmtLogger(&logged), level.AllowInfo()),
		},
			client.Chatbot{UUID: shop})

		ctx, leave := context.WithCancel(t.Context())
		leave()
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil).WithContext(ctx))
		if logged.Len() > 0 {
			t.Errorf("when the caller had left, logged %s", logged.String())
		}
		for failures := range 2 {
			page := get(handler, "GET", "/metrics", nil)
			for _, want := range []string{
				fmt.Sprintf("promhttp_metric_handler_errors_total{cause=\"gathering\"} %d\n", failures), `chatwize_sessions{chatbot="` + shop + `"} 1`,
			} {
				if page.Code != 200 || !strings.Contains(page.Body.String(), want) {
					t.Errorf("got %d; %s is missing in\n%s", page.Code, want, page.Body)
				}
			}
			if lines := strings.Count(logged.String(), "\n"); lines != failures+1 || !strings.Contains(logged.String(), "level=error") ||
				!strings.Contains(logged.String(), "two lines") {
				t.Errorf("logged %s", logged.String())
			}
		}
	})
}

// invalid is a collector of one metric.
type invalid struct{ prometheus.Metric }

func (c invalid) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- c.Desc() }

func (c invalid) Collect(metrics chan<- prometheus.Metric) { metrics <- c.Metric }

// The counters on a page include the scrape that made the page.
func TestCountersOfThisScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := get(newHandler(t, "/metrics", client.Chatbot{UUID: "never"}), "GET", "/metrics", nil)
		if want := `chatwize_api_errors_total{reason="timeout"} 1`; !strings.Contains(got.Body.String(), want) {
			t.Errorf("%s is missing in\n%s", want, got.Body)
		}
	})
}

// A path is taken where metrics can be served at it, else an error says what is wrong.
func TestCheckTelemetryPath(t *testing.T) {
	const (
		slash = "must begin with a slash, such as /metrics"
		taken = "is taken by another page; choose another path, such as /metrics"
		plain = "must be a plain path, such as /metrics"
	)
	tests := map[string]string{ // to the error
		"/metrics": "", "/": "", "/a/b.c": "", "/probes": "", "/-/metrics": "",
		"": slash, "metrics": slash, "key-0815": slash,
		"/probe": taken, "/sd": taken, "/-/healthy": taken, "/-/ready": taken,
		"/{x}": plain, "/a}": plain, "/a b": plain, "/a\tb": plain, "/a\x01": plain, "/a\n": plain, "//": plain, "/m?x=1": plain, "/m#x": plain, "/m%20": plain,
		"/a/../b": plain, "/./a": plain, "/a/": plain, "//a": plain,
	}
	for path, want := range tests {
		err := web.CheckTelemetryPath(path)
		if err == nil && want == "" {
			if got := get(newHandler(t, path), "GET", path, nil); got.Code != 200 || !strings.Contains(got.Body.String(), "chatwize_api_errors_total") {
				t.Errorf("%q: got %d with %s", path, got.Code, got.Body)
			}
			continue
		}
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %q", path, err, want)
		}
	}
}
