//go:build memory && linux

package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Memory is bounded by what is being read, not by the number of accounts times their
// concurrency: see docs/scaling.md.
func TestMemoryAccounts(t *testing.T) {
	const size, chatbots, concurrency = 100, 10, 4
	binary := buildBinary(t)
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	list := func(n int) http.HandlerFunc {
		whole := "[" + session + strings.Repeat(","+session, n-1) + "]"
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, whole) }
	}
	hangAfter := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
			hang(w, r)
		}
	}
	var api atomic.Pointer[http.HandlerFunc]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*api.Load())(w, r) }))
	defer server.Close()
	folder := t.TempDir()
	text := "accounts:\n"
	for i := range size {
		name := fmt.Sprintf("account-%d", i)
		if err := os.WriteFile(filepath.Join(folder, name), []byte(secretKey), 0o600); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("- {name: %s, url: %s, token_file: %s, concurrency: %d, chatbots: [", name, server.URL, name, concurrency)
		for j := range chatbots {
			text += fmt.Sprintf("{uuid: %q, name: Support},", uuid(i*chatbots+j))
		}
		text += "]}\n"
	}
	file := filepath.Join(folder, "accounts.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		what  string
		api   http.HandlerFunc
		limit int // MiB over idle
	}{
		{"hang in their headers", hang, 24},
		{"hang before their body", hangAfter(""), 48},
		{"hang in their body", hangAfter("[" + session), 48},
		{"answer a session", list(1), 48},
		{"answer 20,000 sessions", list(20_000), 96},
	} {
		t.Run(test.what, func(t *testing.T) {
			refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
			api.Store(&refuse)
			command := exec.Command(binary, "--web.listen-address=127.0.0.1:0", "--config.file="+file)
			e := startProcess(t, command)
			for range 5 {
				e.get(t, "/metrics")
			}
			idle := peakMemory(t, command)
			api.Store(&test.api)
			begun := time.Now()
			for range 3 {
				e.get(t, "/metrics", "X-Prometheus-Scrape-Timeout-Seconds", "5")
			}
			over := peakMemory(t, command) - idle
			t.Logf("idle %d MiB, %d KiB over idle, %v", idle>>20, over>>10, time.Since(begun).Round(time.Millisecond))
			if over > test.limit<<20 {
				t.Errorf("memory rose by %d KiB", over>>10)
			}
		})
	}
}
