package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// peakMemory returns the most memory that a process has had, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
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

// buildBinary builds the exporter itself, as the race detector multiplies the
// memory of the tests.
func buildBinary(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("peak memory is read from /proc")
	}
	binary := filepath.Join(t.TempDir(), program)
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// No answer makes the exporter hold more than 32 MiB over what it needs anyway,
// and the healthy chatbot beside keeps its numbers.
func TestMemory(t *testing.T) {
	binary := buildBinary(t)
	megabyte := strings.Repeat("x", 1<<20)
	// repeat writes first, then piece n times, then last.
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

	p := startCommand(t, exec.Command(binary, "--web.listen-address=127.0.0.1:0", "--log.level=debug",
		"--chatwize.url="+server.URL, "--chatwize.chatbot="+healthy, "--chatwize.chatbot="+faulty, "--chatwize.timeout=2s"),
		"CHATWIZE_TOKEN="+secretKey)
	fine := body("[" + session + "]")
	fault.Store(&fine)
	for range 10 {
		p.get(t, "/metrics")
	}
	idle := peakMemory(t, p.Process.Pid)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			fault.Store(&test)
			start := time.Now()
			page := p.get(t, "/metrics")
			contains(t, page, `chatwize_up{chatbot="`+healthy+`"} 1`, `chatwize_up{chatbot="`+faulty+`"} 0`)
			if over := peakMemory(t, p.Process.Pid) - idle; over > 32<<20 {
				t.Errorf("memory rose by %d MiB", over>>20)
			}
			t.Logf("%v, %d KiB over idle", time.Since(start).Round(time.Millisecond), (peakMemory(t, p.Process.Pid)-idle)>>10)
			wantNoMarker(t, page)
		})
	}
	wantNoMarker(t, p.logged(), p.get(t, "/"))
}

// A million sessions take less than 10 MiB over what a single one takes.
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
	p := startCommand(t, exec.Command(binary, "--web.listen-address=127.0.0.1:0",
		"--chatwize.url="+server.URL, "--chatwize.chatbot="+healthy, "--chatwize.timeout=50s"), "CHATWIZE_TOKEN="+secretKey)
	scrape := func(n int64, want string) int {
		sessions.Store(n)
		contains(t, p.get(t, "/metrics"), `chatwize_sessions{chatbot="`+healthy+`"} `+want)
		return peakMemory(t, p.Process.Pid)
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

// The limit of TestMemory holds for many chatbots at a time over HTTP/2, with sessions as large as
// they may be, whose names the decoder has to copy.
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
	p := startCommand(t, exec.Command(binary, arguments...), "CHATWIZE_TOKEN="+secretKey, "SSL_CERT_FILE="+certificate)
	for range 10 {
		p.get(t, "/metrics")
	}
	idle := peakMemory(t, p.Process.Pid)
	isLarge.Store(true)
	for range 3 {
		page := p.get(t, "/metrics")
		contains(t, page, `chatwize_sessions{chatbot="`+uuid(chatbots-1)+`"} 33`)
	}
	over := peakMemory(t, p.Process.Pid) - idle
	t.Logf("%d KiB over idle", over>>10)
	if over > 32<<20 {
		t.Errorf("memory rose by %d MiB", over>>20)
	}
}
