package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// runMain makes the test binary the exporter itself.
const runMain = "CHATWIZE_EXPORTER_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	shop = "7f5e5376dbf045cd8c72c60f428653d1"
	desk = "7F5E5376-DBF0-45CD-8C72-C60F428653D2"
	key  = "key-0815-must-not-be-seen"
)

// command returns the exporter's command with an environment of its own.
func command(t *testing.T, environment []string, arguments ...string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, executable, arguments...)
	// The race detector would make each exit wait for a second.
	command.Env = append([]string{runMain + "=1", "GORACE=atexit_sleep_ms=0"}, environment...)
	return command
}

// process is a running exporter.
type process struct {
	*exec.Cmd
	url string

	mutex sync.Mutex
	log   bytes.Buffer
	ended chan struct{} // closed when the log has ended
}

// address finds where the exporter listens.
var address = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// start starts the exporter on a free port and waits until it listens.
func start(t *testing.T, environment []string, arguments ...string) *process {
	t.Helper()
	return startCommand(t, command(t, environment, append(arguments, "--web.listen-address=127.0.0.1:0")...))
}

// startCommand starts the exporter by a command and waits until it listens.
func startCommand(t *testing.T, command *exec.Cmd, environment ...string) *process {
	t.Helper()
	command.Env = append(command.Env, environment...)
	p := &process{Cmd: command, ended: make(chan struct{})}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	listens := make(chan string, 1)
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mutex.Lock()
			p.log.WriteString(lines.Text() + "\n")
			p.mutex.Unlock()
			if strings.Contains(lines.Text(), "Listening on") {
				listens <- address.FindString(lines.Text())
			}
		}
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
		_ = p.Wait()
	})
	select {
	case found := <-listens:
		p.url = "http://" + found
	case <-p.ended:
		t.Fatalf("the exporter ended: %s", p.logged())
	case <-time.After(30 * time.Second):
		t.Fatalf("the exporter does not say where it listens: %s", p.logged())
	}
	return p
}

func (p *process) logged() string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.log.String()
}

// waitForLog waits until the log, from a position on, has all of wants.
func (p *process) waitForLog(t *testing.T, from int, wants ...string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		logged := p.logged()[from:]
		if time.Now().After(deadline) {
			contains(t, logged, wants...)
			return
		}
		if !slices.ContainsFunc(wants, func(want string) bool { return !strings.Contains(logged, want) }) {
			return
		}
	}
}

// get returns the body of a page.
func (p *process) get(t *testing.T, path string) string {
	t.Helper()
	response, err := http.Get(p.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", path, response.Status, err)
	}
	return string(body)
}

// terminate sends a signal and returns the exit status.
func (p *process) terminate(t *testing.T, signal os.Signal) int {
	t.Helper()
	if err := p.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	_ = p.Wait()
	return p.ProcessState.ExitCode()
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nis missing in\n%s", want, text)
		}
	}
}

// newAccount starts a simulated account with a shop of 1000 sessions and a desk
// that fails.
func newAccount(t *testing.T, shopFault func(time.Time) simulator.Fault) string {
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
		{
			UUID:     shop,
			Sessions: simulator.Uniform(1000, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Hour),
			Fault:    shopFault,
		},
		{UUID: desk, Fault: func(time.Time) simulator.Fault { return simulator.Fault{Status: 404} }},
	}}
	server := httptest.NewServer(http.StripPrefix("/brand", account))
	t.Cleanup(server.Close)
	return server.URL + "/brand"
}

func TestServe(t *testing.T) {
	api := newAccount(t, nil)
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		environment, arguments []string
	}{
		"flags": {nil, []string{"--chatwize.url=" + api, "--chatwize.token-file=" + keyFile,
			"--chatwize.chatbot=" + shop + "=Shop, the first", "--chatwize.chatbot=" + desk, "--log.level=debug"}},
		"serve and environment": {[]string{"CHATWIZE_URL=" + api, "CHATWIZE_TOKEN=" + key,
			"CHATWIZE_CHATBOTS= " + shop + " = Shop, " + desk + ",\n"}, []string{"serve", "--log.format=json"}},
		"newlines in the environment": {[]string{"CHATWIZE_URL=" + api, "CHATWIZE_TOKEN_FILE=" + keyFile,
			"CHATWIZE_CHATBOTS=" + shop + "=Shop\n" + desk}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := start(t, test.environment, test.arguments...)
			shopName := "Shop"
			if name == "flags" {
				shopName = "Shop, the first"
			}
			page := p.get(t, "/metrics")
			contains(t, page,
				`chatwize_up{chatbot="`+shop+`"} 1`,
				`chatwize_sessions{chatbot="`+shop+`"} 1000`,
				`chatwize_sessions_with_lead{chatbot="`+shop+`"} 334`,
				`chatwize_sessions_with_verified_identity{chatbot="`+shop+`"} 143`,
				`chatwize_malformed_sessions{chatbot="`+shop+`"} 0`,
				`chatwize_last_session_created_timestamp_seconds{chatbot="`+shop+`"} 1.770822e+09`,
				`chatwize_chatbot_info{chatbot="`+shop+`",name="`+shopName+`"} 1`,
				`chatwize_up{chatbot="`+desk+`"} 0`,
				`chatwize_chatbot_info{chatbot="`+desk+`",name="`+desk+`"} 1`,
				`chatwize_api_errors_total{reason="not_found"} 1`,
				`chatwize_api_errors_total{reason="timeout"} 0`,
				`chatwize_api_requests_total{code="200",endpoint="sessions"} 1`,
				`chatwize_api_requests_total{code="404",endpoint="sessions"} 1`,
				`chatwize_api_request_duration_seconds_count{endpoint="sessions"} 2`,
				`chatwize_exporter_build_info{`, "go_goroutines ", "process_open_fds ", "promhttp_metric_handler_requests_total{",
			)
			if strings.Contains(page, `chatwize_sessions{chatbot="`+desk+`"}`) {
				t.Error("a chatbot that is down has numbers")
			}
			problems, err := promlint.New(strings.NewReader(page)).Lint()
			if err != nil || len(problems) > 0 {
				t.Errorf("promlint: %v, %v", problems, err)
			}
			contains(t, p.get(t, "/"), "Chatwize exporter", `href="/metrics"`)
			contains(t, p.get(t, "/-/healthy")+p.get(t, "/-/ready"), "OK")
			if status := p.terminate(t, syscall.SIGTERM); status != 0 {
				t.Errorf("exit status %d", status)
			}
			contains(t, p.logged(), desk, "not_found", "Shutting down")
			if strings.Contains(page+p.logged(), key) {
				t.Error("the key is shown")
			}
		})
	}
}

// A running scrape is answered, with what it can have, although the process is
// told to end.
func TestShutdownLetsAScrapeFinish(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(signal.String(), func(t *testing.T) {
			asked := make(chan bool)
			p := start(t, []string{"CHATWIZE_TOKEN=" + key}, "--chatwize.chatbot="+shop,
				"--chatwize.url="+newAccount(t, func(time.Time) simulator.Fault {
					asked <- true
					return simulator.Fault{Delay: time.Second}
				}))
			page := make(chan string)
			go func() { page <- p.get(t, "/metrics") }()
			<-asked
			status := p.terminate(t, signal)
			contains(t, <-page, `chatwize_sessions{chatbot="`+shop+`"} 1000`)
			if status != 0 {
				t.Errorf("exit status %d: %s", status, p.logged())
			}
		})
	}
}

// A key can be rotated, and its file be gone for a while, without a restart.
func TestKeyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("outdated")
	p := start(t, []string{"CHATWIZE_TOKEN_FILE=" + file}, "--chatwize.chatbot="+shop, "--chatwize.url="+newAccount(t, nil))
	want := func(up int, logged ...string) {
		t.Helper()
		before := len(p.logged())
		contains(t, p.get(t, "/metrics"), fmt.Sprintf(`chatwize_up{chatbot="%s"} %d`, shop, up))
		p.waitForLog(t, before, logged...)
	}
	want(0, "reason=unauthorized", "401")
	write(key)
	want(1)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want(0, "reason=unauthorized", "--chatwize.token-file", "no such file")
	write("")
	want(0, "reason=unauthorized", "--chatwize.token-file", "no API key")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	want(0, "reason=unauthorized", "not a small regular file")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	write(key)
	want(1)
}

// Other programs' text does not get into the log by way of libraries: net/http
// writes what a server sends unasked to the standard logger.
func TestUnaskedData(t *testing.T) {
	asked := make(chan bool, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
		<-asked // the answer has been read
		_, _ = io.WriteString(conn, key)
		_, _ = conn.Read(make([]byte, 1)) // closed by the exporter
		_ = conn.Close()
		asked <- true
	}))
	defer server.Close()
	p := start(t, []string{"CHATWIZE_TOKEN=" + key}, "--chatwize.chatbot="+shop, "--chatwize.url="+server.URL, "--log.level=debug")
	contains(t, p.get(t, "/metrics"), `chatwize_up{chatbot="`+shop+`"} 1`)
	asked <- true
	<-asked
	if p.terminate(t, syscall.SIGTERM); strings.Contains(p.logged(), key) {
		t.Errorf("logged %s", p.logged())
	}
}

// A caller who does not wait for the answer is no failure of the API.
func TestCallerLeaves(t *testing.T) {
	p := start(t, []string{"CHATWIZE_TOKEN=" + key}, "--chatwize.chatbot="+shop, "--log.level=debug",
		"--chatwize.url="+newAccount(t, func(time.Time) simulator.Fault { return simulator.Fault{Delay: 500 * time.Millisecond} }))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	if response, err := http.DefaultClient.Do(request); err == nil {
		_ = response.Body.Close()
		t.Fatalf("got %s, want no answer", response.Status)
	}
	page := p.get(t, "/metrics")
	contains(t, page, `chatwize_up{chatbot="`+shop+`"} 1`, `chatwize_api_errors_total{reason="timeout"} 0`,
		`promhttp_metric_handler_errors_total{cause="encoding"} 0`, `promhttp_metric_handler_errors_total{cause="gathering"} 0`)
	if strings.Contains(p.logged(), "level=warn") || strings.Contains(p.logged(), "level=error") {
		t.Errorf("logged %s", p.logged())
	}
}

// --log.level and --log.format, and --chatwize.concurrency, do what they say.
func TestLogAndConcurrency(t *testing.T) {
	var now, most atomic.Int64
	account := &simulator.Account{Key: key}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
		if !strings.HasPrefix(r.Header.Get("User-Agent"), "chatwize_exporter/") {
			t.Errorf("the user agent is %q", r.Header.Get("User-Agent"))
		}
		account.ServeHTTP(w, r) // 404
	}))
	defer server.Close()
	for minimum, want := range map[string]int{"debug": 3, "info": 2} {
		p := start(t, []string{"CHATWIZE_TOKEN=" + key}, "--chatwize.chatbot="+shop, "--chatwize.chatbot="+desk,
			"--chatwize.url="+server.URL, "--chatwize.concurrency=1", "--log.format=json", "--log.level="+minimum)
		before := p.logged()
		p.get(t, "/metrics")
		p.terminate(t, syscall.SIGTERM)
		lines := strings.Split(strings.TrimSpace(strings.TrimPrefix(p.logged(), before)), "\n")
		got := 0
		for _, line := range lines {
			if strings.Contains(line, "chatbot") {
				got++
			}
			if line != "" && !json.Valid([]byte(line)) {
				t.Errorf("%q is not JSON", line)
			}
		}
		if got != want {
			t.Errorf("at level %s logged %d lines, want %d: %s", minimum, got, want, p.logged())
		}
	}
	quiet := command(t, []string{"CHATWIZE_TOKEN=" + key}, "--chatwize.chatbot="+shop, "--chatwize.url="+server.URL,
		"--log.level=error", "--web.listen-address="+strings.TrimPrefix(server.URL, "http://"))
	if out, _ := quiet.CombinedOutput(); strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "level=error") {
		t.Errorf("at level error, with its port in use, logged %s", out)
	}
	if most.Load() != 1 {
		t.Errorf("there were %d requests at a time, want 1", most.Load())
	}
}

// The scrape timeout of Prometheus and --chatwize.timeout both end a fetch.
func TestTimeout(t *testing.T) {
	api := newAccount(t, func(time.Time) simulator.Fault { return simulator.Fault{Delay: time.Minute} })
	p := start(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_TIMEOUT=20s", "CHATWIZE_TIMEOUT_OFFSET=100ms"},
		"--chatwize.chatbot="+shop, "--chatwize.url="+api)
	request, err := http.NewRequest(http.MethodGet, p.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "0.4")
	defer http.DefaultClient.CloseIdleConnections()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	contains(t, string(page), `chatwize_up{chatbot="`+shop+`"} 0`, `chatwize_api_errors_total{reason="timeout"} 1`)

	p = start(t, []string{"CHATWIZE_TOKEN=" + key}, "--chatwize.chatbot="+shop, "--chatwize.url="+api, "--chatwize.timeout=200ms")
	contains(t, p.get(t, "/metrics"), `chatwize_api_errors_total{reason="timeout"} 1`)
}

// --web.config.file brings TLS and basic authentication.
func TestWebConfig(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	folder := t.TempDir()
	certificate := server.TLS.Certificates[0]
	privateKey, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateKey}),
		"web.yml": []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n" +
			// The password is "open sesame".
			"basic_auth_users: {prometheus: $2a$04$5ohdgefSj7eyPqtYEK.p6.FMilz0iQwlC4ES3A7ktfUGLyQ60BlmO}\n"),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, nil, "demo", "--web.config.file="+filepath.Join(folder, "web.yml"))
	for password, want := range map[string]int{"open sesame": 200, "guessed": 401} {
		request, err := http.NewRequest(http.MethodGet, strings.Replace(p.url, "http:", "https:", 1)+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth("prometheus", password)
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("with password %q: got %s, want %d", password, response.Status, want)
		}
	}
}

// Requests go by way of the proxy that the environment names; that it is down is a
// failure of the network. And the key crosses it in clear, of which one is warned.
func TestProxy(t *testing.T) {
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{{UUID: shop}}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "api.example" {
			w.WriteHeader(http.StatusMisdirectedRequest)
			return
		}
		account.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	p := start(t, []string{"CHATWIZE_TOKEN=" + key, "HTTP_PROXY=" + proxy.URL}, "--chatwize.chatbot="+shop, "--chatwize.url=http://api.example")
	contains(t, p.get(t, "/metrics"), `chatwize_up{chatbot="`+shop+`"} 1`)
	proxy.Close()
	contains(t, p.get(t, "/metrics"), `chatwize_up{chatbot="`+shop+`"} 0`, `chatwize_api_errors_total{reason="network"} 1`)
	p.waitForLog(t, 0, "proxyconnect", "connection refused", "The API key is sent unencrypted")
	if strings.Count(p.logged(), "level=warn") != 2 {
		t.Errorf("logged %s", p.logged())
	}
}

// A caller who does not come to the point loses the connection.
func TestSlowCaller(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "demo")
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %d bytes, %v; want the connection closed", n, err)
	}
}

// Headers have a limit.
func TestLargeRequest(t *testing.T) {
	p := start(t, nil, "demo")
	request, err := http.NewRequest(http.MethodGet, p.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Large", strings.Repeat("x", 64<<10))
	defer http.DefaultClient.CloseIdleConnections()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %s", response.Status)
	}
}

func TestDemo(t *testing.T) {
	p := start(t, []string{"CHATWIZE_CHATBOTS=" + shop}, "demo")
	page := p.get(t, "/metrics")
	contains(t, page, `name="Shop"} 1`, `name="Product launch"} 1`, `name="Members’ desk"} 1`)
	if up := strings.Count(page, "chatwize_up{"); up != 3 {
		t.Errorf("there are %d chatbots, want 3", up)
	}
	total := func(page string) (sum float64) {
		for _, match := range regexp.MustCompile(`(?m)^chatwize_sessions\{.*\} (.*)$`).FindAllStringSubmatch(page, -1) {
			var n float64
			if _, err := fmt.Sscan(match[1], &n); err != nil {
				t.Fatal(err)
			}
			sum += n
		}
		return sum
	}
	for before, deadline := total(page), time.Now().Add(30*time.Second); total(p.get(t, "/metrics")) <= before; {
		if time.Now().After(deadline) {
			t.Fatalf("there are still %v sessions", before)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Without chatbots the account's are discovered; those that are configured without a
// name cost no request that the user did not want.
func TestDiscovery(t *testing.T) {
	var lists atomic.Int64
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{{UUID: shop, Name: "Shop"}, {UUID: desk, Name: "Desk"}}}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/chatbots") {
			lists.Add(1)
		}
		account.ServeHTTP(w, r)
	}))
	defer api.Close()
	environment := []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + api.URL}
	p := start(t, environment)
	contains(t, p.get(t, "/metrics"),
		`chatwize_chatbot_info{chatbot="`+shop+`",name="Shop"} 1`, `chatwize_chatbot_info{chatbot="`+desk+`",name="Desk"} 1`,
		"\nchatwize_discovery_up 1\n", `chatwize_api_requests_total{code="200",endpoint="chatbots"} 1`)
	contains(t, p.get(t, "/sd"), `{"targets":["`+desk+`"],"labels":{"__meta_chatwize_chatbot_name":"Desk"}}`)
	contains(t, p.get(t, "/probe?target="+shop), `chatwize_up{chatbot="`+shop+`"} 1`)
	if n := lists.Load(); n != 1 {
		t.Errorf("the chatbots were asked for %d times, want once", n)
	}
	// Probes alone, and a list that is kept for next to no time.
	p = start(t, environment, "--chatwize.probe-only=true", "--chatwize.discovery-interval=1ns")
	contains(t, p.get(t, "/sd")+p.get(t, "/sd"), shop)
	if page := p.get(t, "/metrics"); strings.Contains(page, "chatwize_up{") {
		t.Errorf("a chatbot is shown on\n%s", page)
	}
	if n := lists.Swap(1); n != 3 {
		t.Errorf("the chatbots were asked for %d times, want three times", n)
	}
	p = start(t, environment, "--chatwize.chatbot="+shop)
	page := p.get(t, "/metrics") + p.get(t, "/sd") + p.get(t, "/probe?target="+shop)
	contains(t, page, `chatwize_chatbot_info{chatbot="`+shop+`",name="`+shop+`"} 1`, `"__meta_chatwize_chatbot_name":"`+shop+`"`)
	if n := lists.Load(); n != 1 || strings.Contains(page, "chatwize_discovery_up") {
		t.Errorf("the chatbots were asked for %d times, want no more than before\n%s", n, page)
	}
}

func TestCheck(t *testing.T) {
	const second = "00000000000000000000000000000002"
	unlisted := atomic.Bool{}
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
		{UUID: shop, Name: "買い物 Shop", Sessions: simulator.Uniform(1000, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Hour)},
		{UUID: second, Name: "Desk", Fault: func(time.Time) simulator.Fault { return simulator.Fault{Status: 403} }},
	}}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if unlisted.Load() && strings.HasSuffix(r.URL.Path, "/chatbots") {
			http.NotFound(w, r)
			return
		}
		account.ServeHTTP(w, r)
	}))
	defer api.Close()
	run := func(arguments ...string) (stdout, stderr string, status int) {
		command := command(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + api.URL}, append([]string{"check"}, arguments...)...)
		var out, errOut bytes.Buffer
		command.Stdout, command.Stderr = &out, &errOut
		var exit *exec.ExitError
		if err := command.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if strings.Contains(out.String()+errOut.String(), key) {
			t.Errorf("the key is shown: %s%s", &out, &errOut)
		}
		return out.String(), errOut.String(), command.ProcessState.ExitCode()
	}
	out, log, status := run()
	lines := regexp.MustCompile(`\d+m?s\n`).ReplaceAllString(out, "7ms\n")
	want := "" +
		"CHATBOT                           NAME         STATUS       SESSIONS  LEADS  VERIFIED  NEWEST SESSION        TIME TAKEN\n" +
		shop + "  買い物 Shop  ok           1000      334    143       2026-02-11T15:00:00Z  7ms\n" +
		second + "  Desk         key refused  -         -      -         -                     7ms\n"
	if lines != want || status != 1 {
		t.Errorf("status %d with\n%s\nwant\n%s", status, out, want)
	}
	contains(t, log, "level=warn", "reason=unauthorized", "name=Desk")
	if out, log, status := run("--chatwize.chatbot=" + shop); status != 0 || log != "" || !strings.Contains(out, " ok ") {
		t.Errorf("one chatbot that works: status %d with\n%s%s", status, out, log)
	}

	out, _, status = run("--format=json")
	var results []map[string]any
	if err := json.Unmarshal([]byte(out), &results); err != nil || status != 1 || len(results) != 2 {
		t.Fatalf("status %d, %v with %s", status, err, out)
	}
	if r := results[0]; r["chatbot"] != shop || r["name"] != "買い物 Shop" || r["status"] != "ok" || r["sessions"] != 1000.0 || r["leads"] != 334.0 ||
		r["verified"] != 143.0 || r["newest_session"] != "2026-02-11T15:00:00Z" || r["seconds"] == nil {
		t.Errorf("got %v", r)
	}
	if r := results[1]; len(r) != 4 || r["status"] != "key refused" {
		t.Errorf("got %v", r)
	}

	unlisted.Store(true)
	if out, log, status := run(); status != 1 || out != "" || !strings.Contains(log, "--chatwize.chatbot") {
		t.Errorf("without a list: status %d with\n%s%s", status, out, log)
	}
}

// result is how a run of the exporter ended.
type result struct {
	stdout, stderr string
	status         int
}

// finish runs a command to its end.
func finish(t *testing.T, command *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if strings.Contains(stdout.String()+stderr.String(), key) {
		t.Errorf("the key is shown: %s%s", &stdout, &stderr)
	}
	return result{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

func TestBackfill(t *testing.T) {
	const second = "00000000000000000000000000000002"
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var fault atomic.Pointer[simulator.Fault]
	fault.Store(&simulator.Fault{})
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
		{UUID: shop, Name: "Shop", Sessions: simulator.Uniform(1000, start, time.Hour)},
		{UUID: second, Name: "Desk", Sessions: func(time.Time) iter.Seq[simulator.Session] {
			return slices.Values([]simulator.Session{{Number: 1, Modified: start, Lead: true}})
		}, Fault: func(time.Time) simulator.Fault { return *fault.Load() }},
	}}
	api := httptest.NewServer(account)
	defer api.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "history.om")
	run := func(arguments ...string) result {
		t.Helper()
		return finish(t, command(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + api.URL}, append([]string{"backfill"}, arguments...)...))
	}
	wantNoFile := func() {
		t.Helper()
		if list, err := os.ReadDir(folder); err != nil || len(list) > 0 {
			t.Errorf("there are %v, %v", list, err)
		}
	}

	all := run("--label=job=chatwize", "--label=instance=localhost:10113", "--end=2026-02-11T15:07:00Z", "--step=1h")
	if all.status != 0 || strings.Count(all.stderr, "\n") != 1 {
		t.Errorf("status %d, logged %s", all.status, all.stderr)
	}
	contains(t, all.stderr, "level=warn", "chatbot="+second, "sessions=1")
	series := func(uuid string) string { return `{chatbot="` + uuid + `",instance="localhost:10113",job="chatwize"}` }
	contains(t, all.stdout,
		"\nchatwize_sessions"+series(shop)+" 1 1767225600\n",
		"\nchatwize_sessions"+series(shop)+" 1000 1770822000\nchatwize_sessions"+series(shop)+" 1000 1770822420\n",
		"\nchatwize_sessions_with_lead"+series(shop)+" 334 1770822420\n",
		"\nchatwize_sessions_with_verified_identity"+series(shop)+" 143 1770822420\n",
		"\nchatwize_last_session_created_timestamp_seconds"+series(shop)+" 1770822000 1770822420\n# EOF\n",
		"\nchatwize_sessions_with_lead"+series(second)+" 1 1767225600\n")
	if strings.Contains(all.stdout, "chatwize_last_session_created_timestamp_seconds"+series(second)) {
		t.Error("a chatbot without a dated session has a newest one")
	}

	written := run("--output="+file, "--chatwize.chatbot="+shop, "--start=2026-01-02", "--end=2026-01-03", "--step=12h")
	content, err := os.ReadFile(file)
	if written.status != 0 || written.stdout+written.stderr != "" || err != nil || !strings.HasSuffix(string(content), "\n# EOF\n") ||
		strings.Count(string(content), "\nchatwize") != 4*3 {
		t.Errorf("%+v, %v, wrote\n%s", written, err, content)
	}
	before := time.Now().Unix()
	untilNow := run("--chatwize.chatbot="+shop, "--step=1d")
	var end int64
	last := regexp.MustCompile(`} 1000 (\d+)\n# HELP`).FindStringSubmatch(untilNow.stdout)
	if last == nil {
		t.Fatalf("got %+v", untilNow)
	}
	if _, err := fmt.Sscan(last[1], &end); err != nil || end < before || end > time.Now().Unix() {
		t.Errorf("the last sample is at %d, now is %d", end, before)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}

	fault.Store(&simulator.Fault{Status: 403})
	for _, output := range []string{"", "--output=" + file} {
		refused := run(slices.DeleteFunc([]string{output}, func(a string) bool { return a == "" })...)
		if refused.status != 1 || refused.stdout != "" || strings.Count(refused.stderr, "\n") != 1 {
			t.Errorf("got %+v", refused)
		}
		contains(t, refused.stderr, "backfill: ", second, "Desk", "403", "API key")
		wantNoFile()
	}

	for name, arguments := range map[string][]string{
		"--end: is before --start":  {"--start=2026-01-02", "--end=2026-01-01"},
		"--end: lies in the future": {"--end=" + time.Now().Add(time.Hour).Format(time.RFC3339)},
		"--output: cannot be":       {"--output=" + filepath.Join(folder, key, "history.om")},
		"--step: is too short":      {"--step=0"},
		"--label: label 1":          {"--label=chatwize"},
		"--start: must be":          {"--start=yesterday"},
	} {
		if wrong := run(arguments...); wrong.status != 1 || wrong.stdout != "" || strings.Count(wrong.stderr, "\n") != 1 || !strings.Contains(wrong.stderr, name) {
			t.Errorf("want %s, got %+v", name, wrong)
		}
	}
	wantNoFile()
}

// An interrupt leaves nothing behind, whatever the command is at.
func TestBackfillInterrupted(t *testing.T) {
	asked := make(chan bool, 1)
	var hangs atomic.Bool
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{{
		UUID: shop, Sessions: simulator.Uniform(1, time.Unix(1, 0), time.Hour),
		Fault: func(time.Time) simulator.Fault {
			if !hangs.Load() {
				return simulator.Fault{}
			}
			asked <- true
			return simulator.Fault{Delay: time.Minute}
		},
	}}}
	api := httptest.NewServer(account)
	defer api.Close()
	for _, test := range []string{"reading", "writing"} {
		t.Run(test, func(t *testing.T) {
			hangs.Store(test == "reading")
			folder := t.TempDir()
			// Half a century by the second is hours of writing.
			backfill := command(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + api.URL},
				"backfill", "--step=1s", "--output="+filepath.Join(folder, "history.om"))
			var stderr bytes.Buffer
			backfill.Stderr = &stderr
			if err := backfill.Start(); err != nil {
				t.Fatal(err)
			}
			if test == "reading" {
				<-asked
			} else {
				waitForSize(t, folder, 1<<16)
			}
			if err := backfill.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
			_ = backfill.Wait()
			if status := backfill.ProcessState.ExitCode(); status != 1 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), "interrupt") {
				t.Errorf("status %d with %s", status, &stderr)
			}
			if list, err := os.ReadDir(folder); err != nil || len(list) > 0 {
				t.Errorf("there are %v, %v", list, err)
			}
		})
	}
}

// waitForSize waits until a file in a folder has at least size bytes.
func waitForSize(t *testing.T, folder string, size int64) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		names, _ := filepath.Glob(filepath.Join(folder, "*"))
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && info.Size() >= size {
				return
			}
		}
	}
	t.Error("nothing is written")
}

// The dashboard shows metrics that there are.
func TestDashboard(t *testing.T) {
	dashboard, err := os.ReadFile("dashboards/chatwize.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(dashboard) {
		t.Fatal("the dashboard is not JSON")
	}
	page := start(t, nil, "demo").get(t, "/metrics")
	names := regexp.MustCompile(`chatwize_\w+{`).FindAllString(string(dashboard), -1)
	if len(names) == 0 {
		t.Error("the dashboard shows nothing")
	}
	for _, name := range names {
		if !strings.Contains(page, "\n"+name) {
			t.Errorf("the dashboard shows %s, which is not there", strings.TrimSuffix(name, "{"))
		}
	}
}

// A wrong setting ends the start with one line that names the flag or variable
// and says what to do.
func TestWrongSetting(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	otherConfig := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(otherConfig, []byte("global: {}\nscrape_configs: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	token, chatbot := "CHATWIZE_TOKEN="+key, "--chatwize.chatbot="+shop
	const (
		help       = ", try --help"
		noKey      = "there is no API key: put it in a file and name that with --chatwize.token-file (CHATWIZE_TOKEN_FILE), or set CHATWIZE_TOKEN"
		more       = "CHATWIZE_TOKEN: holds more than an API key, which is one word of plain letters, digits and signs; put the key there and nothing else"
		noHTTP     = "--chatwize.url (CHATWIZE_URL): not an http or https URL; write it like https://app.chatwize.ai"
		query      = "--chatwize.url (CHATWIZE_URL): holds a query or fragment; write host and path alone, like https://app.chatwize.ai"
		noUUID     = " is not a UUID; write 32 hexadecimal digits, with or without dashes, and =NAME behind them if you like"
		short      = "--chatwize.timeout (CHATWIZE_TIMEOUT): is too short; the least is 1ms"
		noDuration = "--chatwize.timeout (CHATWIZE_TIMEOUT): must be a duration, such as 500ms, 30s or 5m"
		noNumber   = "--chatwize.concurrency (CHATWIZE_CONCURRENCY): must be a whole number, 1 or more"
		path       = "--web.telemetry-path: must begin with a slash, such as /metrics"
		neither    = "an argument is neither command nor flag; put the settings behind their flags"
		file       = "--chatwize.token-file (CHATWIZE_TOKEN_FILE): "
		address    = "--chatwize.url (CHATWIZE_URL): "
		bot        = "--chatwize.chatbot (CHATWIZE_CHATBOTS): chatbot "
		twice      = " is given twice; leave one out"
		mend       = "; mend that file or leave out the flag"
	)
	tests := []struct {
		name        string
		environment []string
		arguments   []string
		want        string // the line, behind the program's name
	}{
		{"no key", nil, []string{chatbot}, noKey},
		{"two keys", []string{token}, []string{chatbot, "--chatwize.token-file=" + empty},
			"there are two API keys: give either --chatwize.token-file (CHATWIZE_TOKEN_FILE) or CHATWIZE_TOKEN"},
		{"key of blanks", []string{"CHATWIZE_TOKEN= "}, []string{chatbot}, "CHATWIZE_TOKEN: holds no API key; put the key there and nothing else"},
		{"key of two lines", []string{"CHATWIZE_TOKEN=" + key + "\n" + key}, []string{chatbot}, more},
		{"key file missing", nil, []string{chatbot, "--chatwize.token-file=/" + key},
			file + "the file cannot be read: no such file or directory; name a file that holds the API key"},
		{"key file a folder", nil, []string{chatbot, "--chatwize.token-file=/"},
			file + "the file cannot be read: is a directory; name a file that holds the API key"},
		{"key file empty", []string{"CHATWIZE_TOKEN_FILE=" + empty}, []string{chatbot}, file + "holds no API key; put the key there and nothing else"},
		{"URL without scheme", []string{token}, []string{chatbot, "--chatwize.url=app.chatwize.ai"}, noHTTP + help},
		{"URL of another scheme", []string{token, "CHATWIZE_URL=ftp://app.chatwize.ai"}, []string{chatbot}, noHTTP + help},
		{"URL without host", []string{token}, []string{chatbot, "--chatwize.url=https://"}, noHTTP + help},
		{"URL with a password", []string{token}, []string{chatbot, "--chatwize.url=https://me:" + key + "@app.chatwize.ai"},
			address + "holds a user name or password; the API takes a key only, from --chatwize.token-file" + help},
		{"URL with a query", []string{token}, []string{chatbot, "--chatwize.url=https://app.chatwize.ai/?key=" + key}, query + help},
		{"URL that is none", []string{token}, []string{chatbot, "--chatwize.url=https://%zz" + key},
			address + "not a URL; write it like https://app.chatwize.ai" + help},
		{"discovery interval negative", []string{token}, []string{"--chatwize.discovery-interval=-1s"},
			"--chatwize.discovery-interval (CHATWIZE_DISCOVERY_INTERVAL): is too short; the least is 0s" + help},
		{"probes neither alone nor not", []string{token, "CHATWIZE_PROBE_ONLY=maybe"}, nil,
			"--chatwize.probe-only (CHATWIZE_PROBE_ONLY): must be true or false" + help},
		{"a switch with a value", []string{token}, []string{"--chatwize.probe-only=maybe"}, "--chatwize.probe-only: must be true or false" + help},
		{"format of the check", []string{token}, []string{"check", "--format=yaml"}, "--format: must be one of: table, json" + help},
		{"check without a key", nil, []string{"check"}, noKey},
		{"chatbot not a UUID", []string{token}, []string{"--chatwize.chatbot=" + key}, bot + "1" + noUUID + help},
		{"chatbot one digit short", []string{token}, []string{chatbot, "--chatwize.chatbot=" + shop[1:] + "=Shop"}, bot + "2" + noUUID + help},
		{"chatbot without its name", []string{token}, []string{chatbot + "="},
			bot + "1 has nothing behind its =; write a name there or leave out the =" + help},
		{"chatbot's name not UTF-8", []string{token}, []string{chatbot + "=\xff"}, bot + "1 has a name that is not UTF-8; write it in UTF-8" + help},
		{"chatbot twice", []string{token}, []string{chatbot, chatbot}, bot + shop + twice + help},
		{"chatbot twice, in another spelling", []string{token, "CHATWIZE_CHATBOTS=7F5E5376-DBF0-45CD-8C72-C60F428653D1," + shop + "=Shop"}, nil,
			bot + shop + twice + help},
		{"timeout negative", []string{token}, []string{chatbot, "--chatwize.timeout=-1s"}, short + help},
		{"timeout zero", []string{token, "CHATWIZE_TIMEOUT=0s"}, []string{chatbot}, short + help},
		{"timeout not a duration", []string{token}, []string{chatbot, "--chatwize.timeout=30"}, noDuration + help},
		{"offset negative", []string{token}, []string{chatbot, "--chatwize.timeout-offset=-1ms"},
			"--chatwize.timeout-offset (CHATWIZE_TIMEOUT_OFFSET): is too short; the least is 0s" + help},
		{"concurrency zero", []string{token}, []string{chatbot, "--chatwize.concurrency=0"}, noNumber + help},
		{"concurrency not a number", []string{token, "CHATWIZE_CONCURRENCY=many"}, []string{chatbot}, noNumber + help},
		{"telemetry path", []string{token}, []string{chatbot, "--web.telemetry-path=metrics"}, path + help},
		{"web configuration", []string{token}, []string{chatbot, "--web.config.file=/missing.yml"},
			"--web.config.file: open /missing.yml: no such file or directory" + mend},
		{"log level", []string{token}, []string{chatbot, "--log.level=loud"}, "--log.level: must be one of: debug, info, warn, error" + help},
		{"log format", []string{token}, []string{chatbot, "--log.format=xml"}, "--log.format: must be one of: logfmt, json" + help},
		{"unknown flag", []string{token}, []string{chatbot, "--chatwize.token=x"}, "unknown long flag '--chatwize.token'" + help},
		{"unknown command", []string{token}, []string{key}, neither + help},
		{"argument too many", []string{token}, []string{"serve", key}, neither + help},
		{"last flag without its value", []string{token}, []string{chatbot, "--web.config.file"}, "expected argument for flag '--web.config.file'" + help},
		{"flag without its value", []string{token}, []string{chatbot, "--chatwize.timeout", "--log.level=debug"},
			"expected argument for flag '--chatwize.timeout'" + help},
		{"key in the wrong place", []string{token}, []string{chatbot, "--chatwize.timeout=" + key}, noDuration + help},
		{"key in another wrong place", []string{token}, []string{chatbot, "--web.telemetry-path=" + key}, path + help},
		{"key not ASCII", []string{token + "\u00e9"}, []string{chatbot}, more},
		{"URL with the API's path", []string{token}, []string{chatbot, "--chatwize.url=https://app.chatwize.ai/api/v1/"},
			address + "holds the API's own path; leave out /api/v1" + help},
		{"URL with a fragment", []string{token}, []string{chatbot, "--chatwize.url=https://app.chatwize.ai/#" + key}, query + help},
		{"web configuration of another program", []string{token}, []string{chatbot, "--web.config.file=" + otherConfig},
			"--web.config.file: yaml: unmarshal errors: line 1: field global not found in type web.Config line 2: field scrape_configs not found in type web.Config" + mend},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := finish(t, command(t, test.environment, test.arguments...))
			if want := "chatwize_exporter: error: " + test.want + "\n"; got.status != 1 || got.stdout != "" || got.stderr != want {
				t.Errorf("got %+v, want %s", got, want)
			}
		})
	}
}

// Where the exporter cannot listen, it says so last and ends.
func TestCannotListen(t *testing.T) {
	taken := start(t, nil, "demo")
	second := command(t, nil, "demo", "--web.listen-address="+strings.TrimPrefix(taken.url, "http://"))
	out, err := second.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("got %v, want exit status 1", err)
	}
	contains(t, string(out), "address already in use", "--web.listen-address")
}

func TestHelp(t *testing.T) {
	tests := map[string][]string{
		"--help": {"--chatwize.url", "$CHATWIZE_URL", "https://app.chatwize.ai", "--chatwize.token-file", "$CHATWIZE_TOKEN_FILE",
			"$CHATWIZE_TOKEN.", "--chatwize.chatbot", "$CHATWIZE_CHATBOTS", "--chatwize.timeout=30s", "$CHATWIZE_TIMEOUT",
			"--chatwize.timeout-offset=500ms", "$CHATWIZE_TIMEOUT_OFFSET", "--chatwize.concurrency=4", "$CHATWIZE_CONCURRENCY",
			"--web.telemetry-path=/metrics", "--web.listen-address=:10113", "--web.config.file", "--log.level=info", "--log.format=logfmt",
			"--chatwize.discovery-interval=5m", "$CHATWIZE_DISCOVERY_INTERVAL", "--[no-]chatwize.probe-only", "$CHATWIZE_PROBE_ONLY",
			"serve*", "demo", "check", "backfill"},
		"backfill --help":          {"--start=TIME", "--end=TIME", "--step=5m", "--label=NAME=VALUE", "--output=FILE", "deleted", "lead"},
		"--version":                {"chatwize_exporter, version "},
		"--completion-script-bash": {"complete -F", "chatwize_exporter"},
		"--completion-script-zsh":  {"#compdef chatwize_exporter"},
		// What the shell offers for a value.
		"--completion-bash --log.level":    {"debug", "info", "warn", "error"},
		"--completion-bash check --format": {"table", "json"},
	}
	for flag, want := range tests {
		t.Run(flag, func(t *testing.T) {
			out, err := command(t, []string{"CHATWIZE_TOKEN=" + key}, strings.Fields(flag)...).Output()
			if err != nil {
				t.Fatal(err)
			}
			contains(t, string(out), want...)
			if strings.Contains(string(out), key) {
				t.Error("the key is shown")
			}
		})
	}
}
