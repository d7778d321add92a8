package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// All metrics of chatbots and of the exporter are on one page, whatever way the
// settings are given. The key is on no page and in no log.
func TestServe(t *testing.T) {
	api := startAPI(t, nil)
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		environment, arguments []string
		name                   string // of the shop
		logs                   string // a part of the log
	}{
		"by flags": {nil, []string{"--chatwize.url=" + api, "--chatwize.token-file=" + keyFile,
			"--chatwize.chatbot=" + shop + "=Shop, the first", "--chatwize.chatbot=" + desk, "--log.level=debug"},
			"Shop, the first", "level=debug "},
		"by environment, with the command": {[]string{"CHATWIZE_URL=" + api, "CHATWIZE_TOKEN=" + key,
			"CHATWIZE_CHATBOTS= " + shop + " = Shop, " + desk + ",\n"}, []string{"serve", "--log.format=json"},
			"Shop", `"chatbots":"2"`},
		"chatbots separated by newlines": {[]string{"CHATWIZE_URL=" + api, "CHATWIZE_TOKEN_FILE=" + keyFile,
			"CHATWIZE_CHATBOTS=" + shop + "=Shop\n" + desk}, nil,
			"Shop", "chatbots=2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := start(t, test.environment, test.arguments...)
			page := e.get(t, "/metrics")
			contains(t, page,
				`chatwize_up{chatbot="`+shop+`"} 1`,
				`chatwize_sessions{chatbot="`+shop+`"} 1000`,
				`chatwize_sessions_with_lead{chatbot="`+shop+`"} 334`,
				`chatwize_sessions_with_verified_identity{chatbot="`+shop+`"} 143`,
				`chatwize_malformed_sessions{chatbot="`+shop+`"} 0`,
				`chatwize_last_session_created_timestamp_seconds{chatbot="`+shop+`"} 1.770822e+09`,
				`chatwize_chatbot_info{chatbot="`+shop+`",name="`+test.name+`"} 1`,
				`chatwize_up{chatbot="`+desk+`"} 0`,
				`chatwize_chatbot_info{chatbot="`+desk+`",name="`+desk+`"} 1`,
				`chatwize_api_errors_total{reason="not_found"} 1`,
				`chatwize_api_errors_total{reason="timeout"} 0`,
				`chatwize_api_requests_total{code="200",endpoint="sessions"} 1`,
				`chatwize_api_requests_total{code="404",endpoint="sessions"} 1`,
				`chatwize_api_request_duration_seconds_count{endpoint="sessions"} 2`,
				`chatwize_exporter_build_info{`, "go_goroutines ", "# TYPE process_", "promhttp_metric_handler_requests_total{",
			)
			if strings.Contains(page, `chatwize_sessions{chatbot="`+desk+`"}`) {
				t.Error("a chatbot that is down has numbers")
			}
			problems, err := promlint.New(strings.NewReader(page)).Lint()
			if err != nil || len(problems) > 0 {
				t.Errorf("promlint: %v, %v", problems, err)
			}
			contains(t, e.get(t, "/"), "Chatwize exporter", `href="metrics"`)
			contains(t, e.get(t, "/-/healthy")+e.get(t, "/-/ready"), "OK\nOK\n")
			if status := e.stop(); status != 0 {
				t.Errorf("exit status %d", status)
			}
			logged := e.log.String()
			contains(t, logged, test.logs, "api", desk, "not_found", "Shutting down")
			if strings.Contains(page+logged, key) {
				t.Error("the key is shown")
			}
			isDebugged, isJSON := strings.Contains(logged, "level=debug"), true
			for line := range strings.Lines(logged) {
				isJSON = isJSON && json.Valid([]byte(line))
			}
			if isDebugged != strings.HasPrefix(test.logs, "level=debug") || isJSON != strings.HasPrefix(test.logs, `"`) {
				t.Errorf("logged %s", logged)
			}
		})
	}
}

// No family comes twice in OpenMetrics, where go_memstats_alloc_bytes and
// go_memstats_alloc_bytes_total are one.
func TestOpenMetrics(t *testing.T) {
	e := start(t, []string{"CHATWIZE_TOKEN=" + key}, "--chatwize.chatbot="+shop, "--chatwize.url="+startAPI(t, nil))
	for _, accept := range []string{"application/openmetrics-text;version=1.0.0", "application/openmetrics-text;version=0.0.1"} {
		page := e.get(t, "/metrics", "Accept", accept)
		contains(t, page, "# TYPE chatwize_sessions gauge\n", "# TYPE chatwize_api_errors counter\n", "\ngo_memstats_alloc_bytes ", "\n# EOF\n")
		families := map[string]int{}
		for line := range strings.Lines(page) {
			if fields := strings.Fields(line); fields[0] == "#" && fields[1] == "TYPE" {
				families[fields[2]]++
			}
		}
		for family, times := range families {
			if times > 1 {
				t.Errorf("%s comes %d times", family, times)
			}
			for _, suffix := range []string{"_total", "_created", "_count", "_sum", "_bucket", "_info"} {
				if other, ok := strings.CutSuffix(family, suffix); ok && families[other] > 0 {
					t.Errorf("samples of %s may be those of %s", family, other)
				}
			}
		}
	}
}

// A shutdown waits for a running scrape, which gets a complete response.
func TestShutdownWaitsForScrape(t *testing.T) {
	asked, release := make(chan bool), make(chan bool)
	e := start(t, []string{"CHATWIZE_TOKEN=" + key}, "--chatwize.chatbot="+shop,
		"--chatwize.url="+startAPI(t, func(time.Time) simulator.Fault {
			asked <- true
			<-release
			return simulator.Fault{}
		}))
	page, status := make(chan string, 1), make(chan int, 1)
	go func() {
		defer close(page)
		page <- e.get(t, "/metrics")
	}()
	<-asked
	go func() { status <- e.stop() }()
	e.log.waitFor(t, "Shutting down")
	close(release)
	contains(t, <-page, `chatwize_sessions{chatbot="`+shop+`"} 1000`)
	if got := <-status; got != 0 || strings.Contains(e.log.String(), "cut off") {
		t.Errorf("exit status %d: %s", got, e.log)
	}
}

// The key can be changed, and its file be missing for a while, without a restart.
func TestKeyFileChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	e := &exporter{}
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(up int, logged ...string) {
		t.Helper()
		e.log.take()
		contains(t, e.get(t, "/metrics"), fmt.Sprintf(`chatwize_up{chatbot="%s"} %d`, shop, up))
		contains(t, e.log.take(), logged...)
	}
	const noKey = `hint="make the key file hold the API key and nothing else, and let the user of the exporter read it"`
	write("outdated")
	e = start(t, []string{"CHATWIZE_TOKEN_FILE=" + file}, "--chatwize.chatbot="+shop, "--chatwize.url="+startAPI(t, nil), "--log.level=debug")
	want(0, "reason=unauthorized", "401", `hint="check that the API key`)
	write(key)
	want(1)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want(0, "reason=unauthorized", `err="reading the API key: the file cannot be read: `, noKey)
	write("")
	want(0, "reason=unauthorized", `err="reading the API key: holds no API key`, noKey)
	write(key)
	want(1)
}

// A fetch ends with the scrape timeout of Prometheus or with --chatwize.timeout,
// whichever is first. With --chatwize.concurrency=1, the second chatbot is not asked
// meanwhile.
func TestTimeout(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, shop) || !strings.HasPrefix(r.UserAgent(), "chatwize_exporter/") {
			t.Errorf("got a request for %s from %s", r.URL.Path, r.UserAgent())
		}
		<-r.Context().Done()
	}))
	defer api.Close()
	environment := []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + api.URL}
	begun := time.Now()
	e := start(t, environment, "--chatwize.chatbot="+shop+"=Shop", "--chatwize.chatbot="+desk+"=Desk",
		"--chatwize.timeout=50s", "--chatwize.timeout-offset=100ms", "--chatwize.concurrency=1", "--log.level=debug")
	contains(t, e.get(t, "/metrics", "X-Prometheus-Scrape-Timeout-Seconds", "0.3"),
		`chatwize_up{chatbot="`+shop+`"} 0`, `chatwize_up{chatbot="`+desk+`"} 0`, `chatwize_api_errors_total{reason="timeout"} 2`)
	contains(t, e.log.String(), "waiting for one of 1 request slots")

	e = start(t, environment, "--chatwize.chatbot="+shop+"=Shop", "--chatwize.timeout=100ms")
	contains(t, e.get(t, "/metrics"), `chatwize_api_errors_total{reason="timeout"} 1`)
	if took := time.Since(begun); took > 25*time.Second { // less than any other timeout
		t.Errorf("took %v", took)
	}
}

// Without configured chatbots the exporter asks the API for its chatbots. For configured
// ones it asks only for names that are missing.
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
	wantLists := func(want int64) {
		t.Helper()
		if n := lists.Swap(0); n != want {
			t.Errorf("the list was fetched %d times, want %d", n, want)
		}
	}

	e := start(t, environment)
	contains(t, e.get(t, "/metrics"),
		`chatwize_chatbot_info{chatbot="`+shop+`",name="Shop"} 1`, `chatwize_chatbot_info{chatbot="`+desk+`",name="Desk"} 1`,
		"\nchatwize_discovery_up 1\n", `chatwize_api_requests_total{code="200",endpoint="chatbots"} 1`)
	contains(t, e.get(t, "/sd"), `{"targets":["`+desk+`"],"labels":{"__meta_chatwize_chatbot_name":"Desk"}}`)
	contains(t, e.get(t, "/probe?target="+shop), `chatwize_up{chatbot="`+shop+`"} 1`)
	contains(t, e.log.String(), `chatbots="to be discovered"`)
	wantLists(1)

	// Only probes, and a list that is due at once.
	e = start(t, environment, "--chatwize.probe-only=true", "--chatwize.discovery-interval=1ns")
	contains(t, e.get(t, "/sd")+e.get(t, "/sd"), shop)
	if page := e.get(t, "/metrics"); strings.Contains(page, "chatwize_up{") {
		t.Errorf("a chatbot is shown on\n%s", page)
	}
	wantLists(2)

	// Configured chatbots get their names from the list, unless all have one.
	for _, test := range []struct {
		chatbot, name string
		lists         int64
	}{{shop, "Shop", 1}, {shop + "=Mine", "Mine", 0}} {
		e = start(t, environment, "--chatwize.chatbot="+test.chatbot)
		page := e.get(t, "/metrics") + e.get(t, "/sd") + e.get(t, "/probe?target="+shop)
		contains(t, page, `chatwize_chatbot_info{chatbot="`+shop+`",name="`+test.name+`"} 1`, `"__meta_chatwize_chatbot_name":"`+test.name+`"`)
		if strings.Contains(page, "chatwize_discovery_up") {
			t.Errorf("discovery is shown on\n%s", page)
		}
		wantLists(test.lists)
	}
}

// --web.config.file switches on TLS and basic authentication. Errors of connections
// are logged as warnings.
func TestWebConfig(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	folder := t.TempDir()
	certificate, privateKey := pemOf(t, server.TLS.Certificates[0])
	writeFiles(t, folder, map[string]string{
		"cert.pem": certificate,
		"key.pem":  privateKey,
		"web.yml": "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n" +
			// The password is "open sesame".
			"basic_auth_users: {prometheus: $2a$04$5ohdgefSj7eyPqtYEK.p6.FMilz0iQwlC4ES3A7ktfUGLyQ60BlmO}\n",
	})
	e := start(t, nil, "demo", "--web.config.file="+filepath.Join(folder, "web.yml"))
	defer http.DefaultClient.CloseIdleConnections()
	get := func(client *http.Client, url, password string) int {
		t.Helper()
		request, err := http.NewRequest(http.MethodGet, url+"/-/healthy", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth("prometheus", password)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		return response.StatusCode
	}
	for password, want := range map[string]int{"open sesame": 200, "guessed": 401} {
		if got := get(server.Client(), strings.Replace(e.url, "http:", "https:", 1), password); got != want {
			t.Errorf("with password %q: got %d, want %d", password, got, want)
		}
	}
	if got := get(http.DefaultClient, e.url, "open sesame"); got != 400 {
		t.Errorf("without TLS: got %d, want 400", got)
	}
	e.log.waitFor(t, "TLS handshake error")
	for line := range strings.Lines(e.log.String()) {
		if strings.Contains(line, "TLS handshake error") {
			contains(t, line, "level=warn", "time=")
		}
	}
}

// An exporter that cannot listen logs an error that says what to do, and ends.
func TestCannotListen(t *testing.T) {
	taken := start(t, nil, "demo")
	for address, want := range map[string]string{
		strings.TrimPrefix(taken.url, "http://"): `err="` + strings.TrimPrefix(taken.url, "http://") + `: bind: address already in use"`,
		"192.0.2.1:10113":                        `err="192.0.2.1:10113: bind: `, // of no interface
	} {
		got := execute(t, nil, "demo", "--log.level=error", "--web.listen-address="+address)
		if got.status != 1 || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%s: got %+v", address, got)
		}
		if runtime.GOOS == "windows" {
			want = "bind: " // its errors read otherwise
		}
		contains(t, got.stderr, "level=error", want, `hint="give another --web.listen-address`)
	}
}

// A key that is sent unencrypted over a network is warned of.
func TestUnencryptedKey(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that nothing is sent
	for url, want := range map[string]int{
		"http://api.example": 1, "https://api.example": 0, "http://localhost:1": 0, "http://127.0.0.1:1": 0,
	} {
		got := executeUntil(ctx, t, []string{"CHATWIZE_TOKEN=" + key}, "check", "--chatwize.chatbot="+shop, "--chatwize.url="+url)
		const warning = ` msg="The API key is sent unencrypted" hint="use https in --chatwize.url"`
		if n := strings.Count(got.stderr, warning); n != want || strings.Count(got.stderr, "level=warn") != want {
			t.Errorf("%s: got %d warnings, want %d: %s", url, n, want, got.stderr)
		}
	}
}

// Starting asks nothing of the API. The first list is logged, later ones are not. A cache that
// sets off an alert is warned of.
func TestStart(t *testing.T) {
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{{UUID: shop}, {UUID: second}}}
	var requests atomic.Int64
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		account.ServeHTTP(w, r)
	}))
	defer api.Close()
	const warning = "alert ChatwizeNumbersOld"
	for ttl, warned := range map[string]int{"14m59s": 0, "15m": 1} {
		requests.Store(0)
		e := start(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + api.URL}, "--chatwize.cache-ttl="+ttl, "--chatwize.discovery-interval=0s")
		e.get(t, "/-/ready")
		if n := requests.Load(); n != 0 {
			t.Errorf("%d requests before the first scrape", n)
		}
		e.get(t, "/metrics")
		e.get(t, "/metrics")
		e.stop()
		log := e.log.String()
		if strings.Count(log, `msg="Discovered the chatbots" chatbots=2`) != 1 || strings.Count(log, warning) != warned {
			t.Errorf("with a cache of %s, logged %s", ttl, log)
		}
	}
}
