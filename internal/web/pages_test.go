package web_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// pageReader is a ResponseWriter whose reader takes a time for the response.
type pageReader struct {
	*httptest.ResponseRecorder
	takes time.Duration
	last  []byte // of the memory that was written
}

func (r *pageReader) Write(p []byte) (int, error) {
	time.Sleep(r.takes)
	r.takes, r.last = 0, p
	return r.ResponseRecorder.Write(p)
}

// newPagesHandler returns a handler whose pages count themselves, from 1 on, in the
// metric pages_total.
func newPagesHandler(t *testing.T, chatbots ...client.Chatbot) http.Handler {
	t.Helper()
	registry := prometheus.NewRegistry()
	var pages atomic.Int64
	registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "pages_total", Help: "Pages."},
		func() float64 { return float64(pages.Add(1)) }))
	return newHandlerWith(t, slowAPI{new(atomic.Int64)}, web.Config{Registry: registry}, chatbots...)
}

// Scrapes share a page if they overlap, have the same timeout and begin within a second.
// The page is there when the time of the first is over, whoever leaves before.
func TestPages(t *testing.T) {
	const ms = time.Millisecond
	type scrape struct {
		begins  time.Duration
		timeout string
		leaves  time.Duration // after it began; 0: never
		reads   time.Duration // how long
		page    int           // 0: none
		ends    time.Duration
	}
	tests := map[string]struct {
		chatbot string
		scrapes []scrape
	}{
		"within a second": {"never", []scrape{
			{0, "10", 0, 0, 1, 9500 * ms}, {500 * ms, "10", 0, 0, 1, 9500 * ms}, {999 * ms, "10", 0, 0, 1, 9500 * ms},
			{1000 * ms, "10", 0, 0, 2, 10500 * ms}, {1999 * ms, "10", 0, 0, 2, 10500 * ms}, {2000 * ms, "10", 0, 0, 3, 11500 * ms},
		}},
		"other timeouts": {"never", []scrape{
			{0, "10", 0, 0, 2, 9500 * ms}, {0, "5", 0, 0, 1, 4500 * ms}, {100 * ms, "", 0, 0, 3, 30 * time.Second},
			{200 * ms, "10.0", 0, 0, 2, 9500 * ms}, {200 * ms, "5", 0, 0, 1, 4500 * ms}, {200 * ms, "", 0, 0, 3, 30 * time.Second},
		}},
		"in turn": {shop, []scrape{
			{0, "2", 0, 0, 1, 1000 * ms}, {1000*ms + 1, "2", 0, 0, 2, 2000*ms + 1},
		}},
		"the first leaves": {"never", []scrape{
			{0, "10", 600 * ms, 0, 0, 600 * ms}, {500 * ms, "10", 0, 0, 1, 9500 * ms}, {900 * ms, "10", 0, 0, 1, 9500 * ms},
		}},
		"all leave": {"never", []scrape{
			{0, "10", 300 * ms, 0, 0, 300 * ms}, {100 * ms, "10", 300 * ms, 0, 0, 400 * ms},
			{600 * ms, "10", 0, 0, 2, 10100 * ms},
		}},
		"a slow reader": {shop, []scrape{
			{0, "10", 0, 20 * time.Second, 1, 21 * time.Second}, {500 * ms, "10", 0, 0, 1, 1000 * ms},
			{1001 * ms, "10", 0, 0, 2, 2001 * ms}, {5 * time.Second, "10", 0, 0, 3, 6 * time.Second},
		}},
		"a fast page with a slow reader": {shop, []scrape{
			{0, "0.3", 0, 20 * time.Second, 1, 20150 * ms}, {999 * ms, "0.3", 0, 0, 1, 999 * ms}, {1000 * ms, "0.3", 0, 0, 2, 1150 * ms},
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				handler := newPagesHandler(t, client.Chatbot{UUID: test.chatbot})
				begun := time.Now()
				var scrapes sync.WaitGroup
				for i, scrape := range test.scrapes {
					time.Sleep(time.Until(begun.Add(scrape.begins)))
					ctx, cancel := context.WithCancel(t.Context())
					if scrape.leaves > 0 {
						time.AfterFunc(scrape.leaves, cancel)
					}
					scrapes.Go(func() {
						defer cancel()
						request := httptest.NewRequest(http.MethodGet, "/metrics", nil).WithContext(ctx)
						request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", scrape.timeout)
						response := &pageReader{ResponseRecorder: httptest.NewRecorder(), takes: scrape.reads}
						handler.ServeHTTP(response, request)
						var page int
						if _, line, ok := strings.Cut(response.Body.String(), "\npages_total "); ok {
							_, _ = fmt.Sscan(line, &page)
						}
						if ended := time.Since(begun); page != scrape.page || ended != scrape.ends {
							t.Errorf("scrape %d got page %d after %v, want %d after %v", i, page, ended, scrape.page, scrape.ends)
						}
					})
					synctest.Wait()
				}
				scrapes.Wait()
			})
		})
	}
}

// A page that nobody waits for ends its fetches, which are not counted as failures. A
// page that somebody waits for does not.
func TestPageEnds(t *testing.T) {
	for _, stays := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			handler := newHandler(t, "/metrics", client.Chatbot{UUID: "never"})
			ctx, leave := context.WithCancel(t.Context())
			begun := time.Now()
			var scrapes sync.WaitGroup
			for range 3 {
				scrapes.Go(func() {
					handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil).WithContext(ctx))
				})
			}
			if stays {
				scrapes.Go(func() { get(handler, "GET", "/metrics", nil) })
			}
			time.Sleep(100 * time.Millisecond)
			leave()
			scrapes.Wait()
			synctest.Wait()
			want, took := "0", 100*time.Millisecond
			if stays {
				want, took = "1", 30*time.Second
			}
			if got := time.Since(begun); got != took {
				t.Errorf("ended after %v, want %v", got, took)
			}
			// The next page does not fetch: its time is too short.
			page := get(handler, "GET", "/metrics?name[]=chatwize_api_errors_total", http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {"0.1"}})
			failures := map[string]string{"0": "1", "1": "2"}[want] // and its own
			if line := `chatwize_api_errors_total{reason="timeout"} ` + failures + "\n"; !strings.Contains(page.Body.String(), line) {
				t.Errorf("%s is missing in\n%s", line, page.Body)
			}
		})
	}
}

// Scrapes of a page in the same format get the same bytes, and others get theirs. A
// page is encoded once for each format.
func TestPageFormats(t *testing.T) {
	const openMetrics = "application/openmetrics-text;version=1.0.0"
	// Requests in a row have the same response.
	formats := [][]*http.Request{}
	request := func(path string, header ...string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	formats = append(formats,
		[]*http.Request{request("/metrics"), request("/metrics?x=1"), request("/metrics", "Accept", "text/plain"),
			request("/metrics", "Accept-Encoding", "br"), request("/metrics", "Accept-Encoding", "identity;q=0.3")},
		[]*http.Request{request("/metrics", "Accept-Encoding", "gzip"), request("/metrics", "Accept-Encoding", "gzip;q=0.1"),
			request("/metrics", "Accept-Encoding", "br, gzip")},
		[]*http.Request{request("/metrics", "Accept", openMetrics), request("/metrics", "Accept", openMetrics+";q=0.9,*/*;q=0.1")},
		[]*http.Request{request("/metrics", "Accept", openMetrics, "Accept-Encoding", "gzip")},
		[]*http.Request{request("/metrics?name[]=chatwize_up"), request("/metrics?name[]=chatwize_up&name[]=x")},
		[]*http.Request{request("/metrics?name[]=chatwize_up&x=1", "Accept-Encoding", "gzip")},
	)
	synctest.Test(t, func(t *testing.T) {
		handler := newPagesHandler(t, many(30)...)
		pages := make([]map[*byte]bool, len(formats))
		var scrapes sync.WaitGroup
		var mutex sync.Mutex
		bodies := map[string]bool{}
		for i, requests := range formats {
			pages[i] = map[*byte]bool{}
			for _, request := range slices.Concat(requests, requests) {
				scrapes.Go(func() {
					response := &pageReader{ResponseRecorder: httptest.NewRecorder()}
					handler.ServeHTTP(response, request.Clone(t.Context()))
					mutex.Lock()
					defer mutex.Unlock()
					pages[i][&response.last[0]] = true
					bodies[response.Body.String()] = true
					if want := fmt.Sprint(response.Body.Len()); response.Header().Get("Content-Length") != want {
						t.Errorf("got %v, want a length of %s", response.Header(), want)
					}
				})
			}
		}
		scrapes.Wait()
		for i, page := range pages {
			header := formats[i][0].Header
			want := 1 // responses are shared, and compressed
			switch {
			case formats[i][0].URL.Query().Has("name[]"):
				want = 2 * len(formats[i])
			case header.Get("Accept-Encoding") != "gzip":
				continue // each is uncompressed for its reader
			}
			if len(page) != want {
				t.Errorf("response %d is in memory %d times, want %d", i, len(page), want)
			}
		}
		if len(bodies) != len(formats) {
			t.Errorf("got %d bodies of %d formats", len(bodies), len(formats))
		}
		for body := range maps.Keys(bodies) {
			if strings.HasPrefix(body, "#") && strings.Contains(body, "pages_total") && !strings.Contains(body, "\npages_total 1") {
				t.Errorf("not of the first page: %s", body)
			}
		}
	})
}

// busyAPI needs a second, also for a caller who has left.
type busyAPI struct{ slowAPI }

func (a busyAPI) Sessions(ctx context.Context, chatbot string, options client.SessionsOptions) (*client.SessionsResponse, error) {
	return a.slowAPI.Sessions(context.WithoutCancel(ctx), chatbot, options)
}

// Who disconnects keeps its place until the fetches of its page have ended. Else others
// could begin as many as they like.
func TestDisconnectKeepsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := web.Config{Registry: prometheus.NewRegistry(), Options: web.Options{MaxRequests: 1}}
		handler := newHandlerWith(t, busyAPI{slowAPI{new(atomic.Int64)}}, config, client.Chatbot{UUID: shop})
		var scrapes sync.WaitGroup
		scrapes.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil))
		})
		time.Sleep(500 * time.Millisecond)
		if got := get(handler, "GET", "/metrics", nil); got.Code != http.StatusServiceUnavailable {
			t.Errorf("got %d while the fetch goes on", got.Code)
		}
		time.Sleep(time.Second)
		if got := get(handler, "GET", "/metrics", nil); got.Code != http.StatusOK {
			t.Errorf("got %d after its end", got.Code)
		}
		scrapes.Wait()
	})
}

// A scrape that is cut off costs the others nothing: the handler of a connection that
// is closed ends at once.
func TestPageDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := newPagesHandler(t, client.Chatbot{UUID: shop})
		first, second := dial(t, handler), dial(t, handler)
		for _, connection := range []io.Writer{first, second} {
			if _, err := io.WriteString(connection, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond)
		_ = first.Close()
		page, err := io.ReadAll(second)
		if err != nil || !strings.Contains(string(page), "\npages_total 1\n") || !strings.Contains(string(page), `chatwize_up{chatbot="`+shop+`"} 1`) {
			t.Errorf("got %v with %s", err, page)
		}
		time.Sleep(time.Second)
	})
}
