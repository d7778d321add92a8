package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// recorded returns a server that sends a list of n sessions of the simulator from
// memory, so that making it takes no time.
func recorded(b *testing.B, n int) (*httptest.Server, []byte) {
	b.Helper()
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
		{UUID: shop, Sessions: simulator.Uniform(n, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Minute)},
	}}
	request := httptest.NewRequest(http.MethodGet, "/api/v1/chatbot/"+shop+"/sessions", nil)
	request.Header.Set("Authorization", "Bearer "+key)
	response := httptest.NewRecorder()
	account.ServeHTTP(response, request)
	list := response.Body.Bytes()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, bytes.NewReader(list))
	}))
	b.Cleanup(server.Close)
	return server, list
}

// BenchmarkMillion compares a scrape of a million sessions with downloading the same
// list.
func BenchmarkMillion(b *testing.B) {
	server, list := recorded(b, 1_000_000)
	b.Run("download", func(b *testing.B) {
		b.SetBytes(int64(len(list)))
		for b.Loop() {
			response, err := http.Get(server.URL)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				b.Fatal(err)
			}
			_ = response.Body.Close()
		}
	})
	b.Run("scrape", func(b *testing.B) {
		scrapeAll(b, server.URL, 1, accounts.Config{Concurrency: 1}, "", `chatwize_sessions{chatbot="`+uuid(0)+`"} 1e+06`)
		b.SetBytes(int64(len(list)))
	})
}

// uuid returns the UUID of the i-th chatbot.
func uuid(i int) string { return fmt.Sprintf("%032x", i) }

// scrapeAll measures scrapes, in a content encoding, of n chatbots of the account at
// a URL; the first must show want. It returns the page of the first.
func scrapeAll(b *testing.B, base string, n int, account accounts.Config, encoding, want string) string {
	b.Helper()
	var err error
	if account.URL, err = url.Parse(base); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		account.Chatbots = append(account.Chatbots, client.Chatbot{UUID: uuid(i), Name: fmt.Sprint("Chatbot ", i)})
	}
	account.Key, account.Timeout = accounts.InlineKey(key), time.Minute
	return scrapeConfigs(b, []accounts.Config{account}, encoding, want)
}

// scrapeConfigs measures scrapes, in a content encoding, of accounts; the first must show
// want. It returns the page of the first.
func scrapeConfigs(b *testing.B, configs []accounts.Config, encoding, want string) string {
	b.Helper()
	handler := handlerOf(b, web.Options{TelemetryPath: "/metrics"}, log.NewNopLogger(), configs...)
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	// The first scrape opens connections and fills caches. Its page is checked; the
	// later ones only have a similar length.
	first := httptest.NewRecorder()
	handler.ServeHTTP(first, request)
	if !strings.Contains(first.Body.String(), want) {
		b.Fatal(first.Body)
	}
	request.Header.Set("Accept-Encoding", encoding)
	least := first.Body.Len() * 9 / 10
	if encoding != "" {
		least = 1
	}
	b.ReportAllocs()
	for b.Loop() {
		page := measured{header: http.Header{}}
		handler.ServeHTTP(&page, request)
		if page.length < least || page.header.Get("Content-Encoding") != encoding {
			b.Fatal(page)
		}
	}
	return first.Body.String()
}

// measured is a ResponseWriter that discards the body.
type measured struct {
	header http.Header
	length int
}

func (m *measured) Header() http.Header { return m.header }
func (m *measured) WriteHeader(int)     {}
func (m *measured) Write(p []byte) (int, error) {
	m.length += len(p)
	return len(p), nil
}

// BenchmarkChatbots compares a scrape of 200 chatbots at a latency of 20 ms, ten at a
// time, with the ideal: 20 times 20 ms.
func BenchmarkChatbots(b *testing.B) {
	const n, concurrency, latency = 200, 10, 20 * time.Millisecond
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(latency)
		_, _ = io.WriteString(w, "[{}]")
	}))
	b.Cleanup(server.Close)
	b.Run("ideal", func(b *testing.B) {
		for b.Loop() {
			for range n / concurrency {
				time.Sleep(latency)
			}
		}
	})
	b.Run("scrape", func(b *testing.B) {
		scrapeAll(b, server.URL, n, accounts.Config{Concurrency: concurrency}, "", `chatwize_sessions{chatbot="`+uuid(n-1)+`"} 1`)
	})
}

// BenchmarkCached scrapes chatbots from the cache, with and without fetching.
func BenchmarkCached(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `[{"uuid":"a","created_at":"2026-01-01T00:00:00Z","modified_at":"2026-01-01T00:00:00Z"}]`)
	}))
	b.Cleanup(server.Close)
	caching := accounts.Config{Concurrency: 4, Source: fetch.SourceOptions{CacheTTL: time.Hour}}
	for _, n := range []int{1, 100, 1000} {
		want := `chatwize_sessions{chatbot="` + uuid(n-1) + `"} 1`
		b.Run(fmt.Sprint("fetched/", n), func(b *testing.B) { scrapeAll(b, server.URL, n, accounts.Config{Concurrency: 4}, "", want) })
		b.Run(fmt.Sprint("cached/", n), func(b *testing.B) {
			scrapeAll(b, server.URL, n, caching, "", want)
		})
		b.Run(fmt.Sprint("cached_gzip/", n), func(b *testing.B) {
			scrapeAll(b, server.URL, n, caching, "gzip", want)
		})
	}
}

// BenchmarkThousand scrapes a thousand chatbots that have all metrics of a chatbot, 34,000
// in all: fetched, and from the cache.
func BenchmarkThousand(b *testing.B) {
	const n = 1000
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
		{UUID: shop, Sessions: simulator.Uniform(500, time.Now().Add(-500*2*time.Hour), 2*time.Hour)},
	}}
	request := httptest.NewRequest(http.MethodGet, "/api/v1/chatbot/"+shop+"/sessions", nil)
	request.Header.Set("Authorization", "Bearer "+key)
	list := httptest.NewRecorder()
	account.ServeHTTP(list, request)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(list.Body.Bytes())
	}))
	b.Cleanup(server.Close)
	for name, ttl := range map[string]time.Duration{"fetched": 0, "cached": time.Hour} {
		b.Run(name, func(b *testing.B) {
			options := accounts.Config{Concurrency: 4, Source: fetch.SourceOptions{CacheTTL: ttl}}
			page := scrapeAll(b, server.URL, n, options, "gzip", `chatwize_missing_sessions_with_verified_identity{chatbot="`+uuid(n-1)+`"}`)
			if series := strings.Count(page, `{chatbot="`); series != 34*n {
				b.Errorf("got %d series", series)
			}
		})
	}
}

// BenchmarkAccounts compares a scrape of 100 accounts with ten chatbots each with one of an
// account with 1,000 chatbots, at the same number of requests at a time. Each chatbot has all
// metrics.
func BenchmarkAccounts(b *testing.B) {
	const size, n = 100, 10
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
		{UUID: shop, Sessions: simulator.Uniform(500, time.Now().Add(-500*2*time.Hour), 2*time.Hour)},
	}}
	request := httptest.NewRequest(http.MethodGet, "/api/v1/chatbot/"+shop+"/sessions", nil)
	request.Header.Set("Authorization", "Bearer "+key)
	list := httptest.NewRecorder()
	account.ServeHTTP(list, request)
	for _, latency := range []time.Duration{0, 20 * time.Millisecond} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(latency)
			_, _ = w.Write(list.Body.Bytes())
		}))
		b.Cleanup(server.Close)
		address, err := url.Parse(server.URL)
		if err != nil {
			b.Fatal(err)
		}
		config := accounts.Config{URL: address, Key: accounts.InlineKey(key), Timeout: time.Minute}
		buffers := &client.Buffers{}
		one, many := config, []accounts.Config{}
		one.Concurrency, config.Concurrency = size, 1
		for i := range size {
			next := config
			next.Name, next.Buffers = fmt.Sprintf("account-%d", i), buffers
			for j := range n {
				next.Chatbots = append(next.Chatbots, client.Chatbot{UUID: uuid(i*n + j), Name: fmt.Sprint("Chatbot ", j)})
			}
			many, one.Chatbots = append(many, next), append(one.Chatbots, next.Chatbots...)
		}
		last := `chatbot="` + uuid(size*n-1) + `"`
		b.Run(fmt.Sprint("one/", latency), func(b *testing.B) {
			scrapeConfigs(b, []accounts.Config{one}, "gzip", `chatwize_up{`+last+`} 1`)
		})
		b.Run(fmt.Sprint("many/", latency), func(b *testing.B) {
			scrapeConfigs(b, many, "gzip", `chatwize_up{account="account-99",`+last+`} 1`)
		})
	}
}

// BenchmarkIncremental compares incremental scrapes of 100,000 sessions, one an hour
// until now, with a window of two days, with full ones.
func BenchmarkIncremental(b *testing.B) {
	const n = 100_000
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
		{UUID: uuid(0), Sessions: simulator.Uniform(n, time.Now().Add(-n*time.Hour), time.Hour)},
	}}
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		account.ServeHTTP(counter{w, &sent}, r)
	}))
	b.Cleanup(server.Close)
	for name, window := range map[string]time.Duration{"full": 0, "incremental": 48 * time.Hour} {
		b.Run(name, func(b *testing.B) {
			sent.Store(0)
			options := fetch.SourceOptions{Window: window, FullInterval: time.Hour}
			scrapeAll(b, server.URL, 1, accounts.Config{Concurrency: 1, Source: options}, "", `chatwize_sessions{chatbot="`+uuid(0)+`"} 100000`)
			b.ReportMetric(float64(sent.Load())/float64(b.N+1), "sent-B/op")
		})
	}
}

// counter counts the bytes of a body.
type counter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c counter) Write(p []byte) (int, error) {
	c.sent.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}
