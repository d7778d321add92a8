//go:build memory && linux

package main

import (
	"bufio"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// peakMemory returns the peak memory of the process of a command, in bytes.
func peakMemory(t *testing.T, command *exec.Cmd) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", command.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if match == nil {
		t.Fatalf("no VmHWM in %s", status)
	}
	kilobytes, err := strconv.Atoi(string(match[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// No response makes the exporter use more than 32 MiB over its idle memory, and the
// healthy chatbot keeps its numbers.
func TestMemory(t *testing.T) {
	binary := buildBinary(t)
	megabyte := strings.Repeat("x", 1<<20)
	// repeat sends first, then piece n times, then last.
	repeat := func(first, piece string, n int, last string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, first)
			for range n {
				if _, err := io.WriteString(w, piece); err != nil {
					return
				}
			}
			_, _ = io.WriteString(w, last)
		}
	}
	// bomb expands to 4 GiB of piece.
	bomb := func(first, piece string) http.HandlerFunc {
		const size = 16 << 20
		member := zipped(strings.Repeat(piece, size/len(piece)))
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			repeat(zipped(first), member, 4<<30/size, "")(w, r)
		}
	}
	tests := map[string]http.HandlerFunc{
		"a text of 256 MB where the list should be": repeat(`"`, megabyte, 256, `"`),
		"a text of 256 MB in a session":             repeat(`[{"uuid":"`, megabyte, 256, `"}]`),
		"a name of 256 MB":                          repeat(`[{"`, megabyte, 256, `":1}]`),
		"a lead of 256 MB":                          repeat(`[{"meta":{"user":{"`, megabyte, 256, `":1}}}]`),
		"a number of 256 MB":                        repeat(`[{"uuid":1`, strings.ReplaceAll(megabyte, "x", "1"), 256, `}]`),
		"a session of 200 MB":                       repeat(`[{"meta":{"x":[0`, strings.Repeat(",12345678", 1<<17), 200, `]}}]`),
		"many members of 200 MB":                    repeat(`[{"x":0`, strings.Repeat(`,"abcdef":[0]`, 1<<16), 240, `}]`),
		"two million arrays deep":                   repeat("[{\"x\":", strings.Repeat("[", 1<<20), 2, ""),
		"two million objects deep":                  repeat("[", strings.Repeat(`{"x":`, 1<<20), 2, ""),
		"white space for ever":                      repeat("[{}", strings.Repeat(" ", 1<<20), 1<<20, ""),
		"sessions for ever":                         repeat("[{}", strings.Repeat(`,{"uuid":"a"}`, 1<<16), 1<<20, ""),
		"4 MB of gzip, 4 GB of white space":         bomb("[{}", " "),
		"4 MB of gzip, 4 GB of sessions":            bomb("[{}", ",{}"),
		"4 MB of gzip, 4 GB of text":                bomb(`[{"x":"`, "x"),
	}
	var fault atomic.Pointer[http.HandlerFunc]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, healthy) {
			_, _ = io.WriteString(w, "["+session+"]")
			return
		}
		(*fault.Load())(w, r)
	}))
	defer server.Close()

	command := exec.Command(binary, "--web.listen-address=127.0.0.1:0", "--log.level=debug",
		"--chatwize.url="+server.URL, "--chatwize.chatbot="+healthy, "--chatwize.chatbot="+faulty, "--chatwize.timeout=2s")
	command.Env = []string{"CHATWIZE_TOKEN=" + secretKey}
	e := startProcess(t, command)
	fine := body("[" + session + "]")
	fault.Store(&fine)
	for range 10 {
		e.get(t, "/metrics")
	}
	idle := peakMemory(t, command)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			fault.Store(&test)
			start := time.Now()
			page := e.get(t, "/metrics")
			contains(t, page, `chatwize_up{chatbot="`+healthy+`"} 1`, `chatwize_up{chatbot="`+faulty+`"} 0`)
			if over := peakMemory(t, command) - idle; over > 32<<20 {
				t.Errorf("memory rose by %d MiB", over>>20)
			}
			t.Logf("%v, %d KiB over idle", time.Since(start).Round(time.Millisecond), (peakMemory(t, command)-idle)>>10)
			wantNoMarker(t, page)
		})
	}
	wantNoMarker(t, e.log.String(), e.get(t, "/"))
}

// A million sessions need at most 10 MiB more than a single one.
func TestMemoryMillion(t *testing.T) {
	binary := buildBinary(t)
	var sessions atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "["+session)
		const atATime = 1000
		for n := sessions.Load() - 1; n > 0; n -= atATime {
			_, _ = io.WriteString(w, strings.Repeat(","+session, int(min(n, atATime))))
		}
		_, _ = io.WriteString(w, "]")
	}))
	defer server.Close()
	command := exec.Command(binary, "--web.listen-address=127.0.0.1:0",
		"--chatwize.url="+server.URL, "--chatwize.chatbot="+healthy, "--chatwize.timeout=50s")
	command.Env = []string{"CHATWIZE_TOKEN=" + secretKey}
	e := startProcess(t, command)
	scrape := func(n int64, want string) int {
		sessions.Store(n)
		contains(t, e.get(t, "/metrics"), `chatwize_sessions{chatbot="`+healthy+`"} `+want)
		return peakMemory(t, command)
	}
	var idle int
	for range 10 {
		idle = scrape(1, "1")
	}
	over := scrape(1_000_000, "1e+06") - idle
	t.Logf("%d KiB over idle", over>>10)
	if over > 10<<20 {
		t.Errorf("memory rose by %d KiB", over>>10)
	}
}

// The limit of TestMemory holds for many concurrent chatbots over HTTP/2, with sessions
// of the maximum size, whose names the decoder has to copy.
func TestMemoryHTTP2(t *testing.T) {
	binary := buildBinary(t)
	const chatbots = 8
	large := `{"a":"` + strings.Repeat("x", 1<<19) + `","` + strings.Repeat(`\u0078`, 1<<16) + `":1}`
	var isLarge atomic.Bool
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("got %s", r.Proto)
		}
		_, _ = io.WriteString(w, "[{}")
		for range 32 {
			if isLarge.Load() {
				_, _ = io.WriteString(w, ","+large)
			}
		}
		_, _ = io.WriteString(w, "]")
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	certificate := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	arguments := []string{"--web.listen-address=127.0.0.1:0", "--chatwize.url=" + server.URL, "--chatwize.timeout=10s"}
	for i := range chatbots {
		arguments = append(arguments, "--chatwize.chatbot="+uuid(i))
	}
	command := exec.Command(binary, arguments...)
	command.Env = []string{"CHATWIZE_TOKEN=" + secretKey, "SSL_CERT_FILE=" + certificate}
	e := startProcess(t, command)
	for range 10 {
		e.get(t, "/metrics")
	}
	idle := peakMemory(t, command)
	isLarge.Store(true)
	for range 3 {
		page := e.get(t, "/metrics")
		contains(t, page, `chatwize_sessions{chatbot="`+uuid(chatbots-1)+`"} 33`)
	}
	over := peakMemory(t, command) - idle
	t.Logf("%d KiB over idle", over>>10)
	if over > 32<<20 {
		t.Errorf("memory rose by %d MiB", over>>20)
	}
}

// callersLimit is the maximum memory of the process in bytes, whatever its callers do.
// The limit in deploy/kubernetes is 128 MiB, and the one for systemd 256 MB.
const callersLimit = 112 << 20

// Callers cannot make the exporter use more memory than its deployments allow.
func TestMemoryCallers(t *testing.T) {
	const chatbots = 1000
	binary := buildBinary(t)
	// Each chatbot has all metrics.
	var sessions []string
	for i := range 20 {
		created := time.Now().Add(-time.Duration(i*2*24) * time.Hour).UTC().Format(time.RFC3339)
		sessions = append(sessions, strings.ReplaceAll(session, "2026-01-01T00:00:00Z", created))
	}
	list := "[" + strings.Join(sessions, ",") + "]"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, list)
	}))
	defer server.Close()
	var given []string
	for i := range chatbots {
		given = append(given, fmt.Sprintf("%s=Chatbot number %d", uuid(i), i))
	}
	for _, options := range [][]string{nil, {"--chatwize.cache-ttl=1h"}} {
		t.Run(fmt.Sprint(options), func(t *testing.T) {
			command := exec.Command(binary, append(options, "--web.listen-address=127.0.0.1:0", "--chatwize.url="+server.URL)...)
			command.Env = []string{"CHATWIZE_TOKEN=" + secretKey, "CHATWIZE_CHATBOTS=" + strings.Join(given, ",")}
			e := startProcess(t, command)
			last := `chatwize_missing_sessions_with_verified_identity{chatbot="` + uuid(chatbots-1) + `"} 0`
			for range 5 {
				contains(t, e.get(t, "/metrics"), last)
			}
			measure := func(what string, requests func()) {
				t.Helper()
				requests()
				memory := peakMemory(t, command)
				t.Logf("%-40s %d MiB", what, memory>>20)
				if memory > callersLimit {
					t.Errorf("%s: the memory is %d MiB, want %d MiB at most", what, memory>>20, callersLimit>>20)
				}
			}
			measure("one scrape at a time:", func() {})
			measure("100 parallel scrapes:", func() { e.together(t, 100, "10", 0) })
			measure("100 with different timeouts:", func() { e.together(t, 100, "", 0) })
			measure("2,000 connections that scrape:", func() { e.together(t, 2000, "10", 0) })
			measure("50 readers of 512 bytes a second:", func() { e.together(t, 50, "10", 3*time.Second) })
			measure("50, with different timeouts:", func() { e.together(t, 50, "", 3*time.Second) })
			measure("500 readers of the page:", func() { e.request(t, 500, "/", "10", 0) })
			measure("500 slow readers of the page:", func() { e.request(t, 500, "/", "10", 3*time.Second) })
			measure("500 slow readers of probes:", func() { e.request(t, 500, "/probe?target="+uuid(0), "10", 3*time.Second) })
			time.Sleep(time.Second)
			contains(t, e.get(t, "/metrics"), last)
		})
	}
}

// together scrapes from n connections at a time.
func (e *exporter) together(t *testing.T, n int, timeout string, slow time.Duration) {
	t.Helper()
	e.request(t, n, "/metrics", timeout, slow)
}

// request opens n connections and then sends a request on each, with a scrape timeout
// in seconds or, if that is empty, one of its own. Where slow is not 0, each response is
// read at 512 bytes a second for so long. Otherwise all connections stay open until all
// responses are read.
func (e *exporter) request(t *testing.T, n int, path, timeout string, slow time.Duration) {
	t.Helper()
	connections := make([]net.Conn, n)
	for i := range connections {
		dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
			controlErr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
			return errors.Join(err, controlErr)
		}}
		if slow == 0 {
			dialer.Control = nil
		}
		connection, err := dialer.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		connections[i] = connection
	}
	var served, refused, failed atomic.Int64
	var readers sync.WaitGroup
	for i, connection := range connections {
		header := timeout
		if header == "" {
			header = fmt.Sprintf("10.%03d", i)
		}
		readers.Go(func() {
			_, _ = fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: %s\r\n\r\n", path, header)
			var source io.Reader = connection
			if slow > 0 {
				source = &slowConn{connection, time.Now().Add(slow)}
			}
			response, err := http.ReadResponse(bufio.NewReaderSize(source, 512), nil)
			if err != nil {
				failed.Add(1)
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			switch response.StatusCode {
			case http.StatusOK:
				served.Add(1)
			case http.StatusServiceUnavailable:
				refused.Add(1)
			default:
				t.Errorf("got %s", response.Status)
			}
		})
	}
	readers.Wait()
	t.Logf("%d served, %d refused, %d without a response", served.Load(), refused.Load(), failed.Load())
}

// slowConn reads 512 bytes a second until its end.
type slowConn struct {
	net.Conn
	end time.Time
}

func (c *slowConn) Read(p []byte) (int, error) {
	if time.Now().After(c.end) {
		return 0, io.EOF
	}
	time.Sleep(time.Second)
	return c.Conn.Read(p[:min(len(p), 512)])
}
