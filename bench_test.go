package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// recorded returns a server that sends the session list of n sessions as the
// simulator makes it, from memory, so that making it costs nothing.
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

// BenchmarkMillion holds a scrape of a million sessions against downloading the
// same list and throwing it away.
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
		base, err := url.Parse(server.URL)
		if err != nil {
			b.Fatal(err)
		}
		handler, err := newHandler(account{
			url:      base,
			key:      func(context.Context) (string, error) { return key, nil },
			chatbots: []collector.Chatbot{{UUID: shop}},
		}, options{telemetryPath: "/metrics", concurrency: 1, timeout: time.Minute}, log.NewNopLogger())
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(list)))
		b.ReportAllocs()
		for b.Loop() {
			response := httptest.NewRecorder()
			handler.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			if !bytes.Contains(response.Body.Bytes(), []byte(`chatwize_sessions{chatbot="`+shop+`"} 1e+06`)) {
				b.Fatal(response.Body)
			}
		}
	})
}
