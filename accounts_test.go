package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// agency is a folder with key files and the file of accounts at an API, which has one account
// for each key.
type agency struct {
	folder, file, api string
}

// The keys of the accounts.
const (
	acmeKey = "Key-of-acme-must-not-be-seen"
	boltKey = "Key-of-bolt-must-not-be-seen"
)

func newAgency(t testing.TB) *agency {
	t.Helper()
	sessions := simulator.Uniform(100, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Hour)
	keys := map[string]http.Handler{
		acmeKey: &simulator.Account{Key: acmeKey, Chatbots: []simulator.Chatbot{
			{UUID: shop, Name: "Support", Sessions: sessions}, {UUID: uuid(1), Name: "Test 1", Sessions: sessions},
		}},
		boltKey: &simulator.Account{Key: boltKey, Chatbots: []simulator.Chatbot{{UUID: desk, Name: "Support", Sessions: sessions}}},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, ok := keys[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	a := &agency{folder: t.TempDir(), api: server.URL}
	a.write(t, "acme.key", acmeKey+"\n")
	a.write(t, "bolt.key", boltKey+"\n")
	a.write(t, "foreign.key", "a-key-that-is-refused")
	a.file = filepath.Join(a.folder, "accounts.yml")
	a.writeAccounts(t, "acme", "bolt")
	return a
}

func (a *agency) write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.folder, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeAccounts writes the file, with accounts whose key files have their names. A name may
// have further fields after it.
func (a *agency) writeAccounts(t testing.TB, names ...string) {
	t.Helper()
	text := "accounts:\n"
	for _, name := range names {
		name, fields, _ := strings.Cut(name, ",")
		text += fmt.Sprintf("  - {name: %s, url: %s, token_file: %s.key,%s}\n", name, a.api, name, fields)
	}
	a.write(t, "accounts.yml", text)
}

// wantNoKeys checks that texts show no key.
func wantNoKeys(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(text, "must-not-be-seen") {
			t.Errorf("a key is shown in\n%s", text)
		}
	}
}

// reload reloads and returns status and answer.
func (e *exporter) reload(t *testing.T) (int, string) {
	t.Helper()
	response, err := http.Post(e.url+"/-/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

// The accounts of a file are served, and others after a reload.
func TestServeAccounts(t *testing.T) {
	a := newAgency(t)
	e := start(t, nil, "--config.file="+a.file, "--chatwize.exclude=Test.*", "--log.level=debug")
	page := e.get(t, "/metrics")
	contains(t, page,
		`chatwize_up{account="acme",chatbot="`+shop+`"} 1`,
		`chatwize_sessions{account="bolt",chatbot="`+desk+`"} 100`,
		`chatwize_chatbot_info{account="bolt",chatbot="`+desk+`",name="Support"} 1`,
		`chatwize_api_requests_total{account="acme",code="200",endpoint="sessions"} 1`,
		`chatwize_discovery_up{account="bolt"} 1`,
		"chatwize_exporter_config_last_reload_successful 1",
		"chatwize_exporter_config_last_reload_success_timestamp_seconds 1.",
	)
	if strings.Contains(page, uuid(1)) {
		t.Error("an excluded chatbot is there")
	}
	contains(t, e.get(t, "/sd"), `"__meta_chatwize_account":"acme"`)
	contains(t, e.get(t, "/probe?account=bolt"), `chatwize_up{account="bolt",chatbot="`+desk+`"} 1`)

	a.writeAccounts(t, "acme, exclude: ''", "foreign")
	if status, answer := e.reload(t); status != 200 || answer != "OK\n" {
		t.Errorf("got %d, %s", status, answer)
	}
	page = e.get(t, "/metrics")
	contains(t, page, `chatwize_up{account="acme",chatbot="`+uuid(1)+`"} 1`, `chatwize_api_requests_total{account="acme",code="200",endpoint="sessions"} 3`,
		`chatwize_discovery_up{account="foreign"} 0`, `chatwize_api_errors_total{account="foreign",reason="unauthorized"} 1`)
	if strings.Contains(page, `account="bolt"`) {
		t.Error("an account that is gone is there")
	}
	e.log.waitFor(t, "added=foreign changed=acme removed=bolt", `account=foreign msg="Discovering the chatbots failed"`)

	a.writeAccounts(t, "acme, token: "+acmeKey)
	status, answer := e.reload(t)
	if want := `account "acme": token: an API key must not be in this file`; status != 500 || !strings.Contains(answer, want) {
		t.Errorf("got %d, %s", status, answer)
	}
	contains(t, e.get(t, "/"), "Reloading the configuration failed; these are the accounts of the last good file.",
		"<code>--config.file (CHATWIZE_CONFIG_FILE): "+a.file+": account &#34;acme&#34;: token: an API key must not be in this file")
	page2 := e.get(t, "/metrics")
	contains(t, page2, "chatwize_exporter_config_last_reload_successful 0", `chatwize_up{account="acme",chatbot="`+uuid(1)+`"} 1`)
	a.writeAccounts(t, "acme")
	e.reload(t)
	time.Sleep(time.Second) // a rendering is shared for that long
	if overview := e.get(t, "/"); strings.Contains(overview, "Reloading") {
		t.Error("the page has a failure of the past")
	}
	e.stop()
	contains(t, e.log.String(), "accounts=2", "the accounts stay as they were")
	wantNoKeys(t, page, page2, answer, e.log.String())
}

// The keys of all accounts are hidden in names, and none may be in a flag.
func TestKeysOfAccounts(t *testing.T) {
	a := newAgency(t)
	a.writeAccounts(t, "acme, chatbots: [{uuid: "+shop+", name: Shop "+boltKey+"}]", "bolt")
	got := execute(t, nil, "check", "--config.file="+a.file)
	contains(t, got.stderr, "--config.file (CHATWIZE_CONFIG_FILE): "+a.file+": line 2: contains an API key")
	a.writeAccounts(t, "acme", "bolt")
	got = execute(t, nil, "check", "--config.file="+a.file, "--account="+boltKey)
	contains(t, got.stderr, "--account: contains the API key")
	wantNoKeys(t, got.stderr)
}

// Flags and variables for a single account cannot be combined with a file.
func TestConfigFileExcludes(t *testing.T) {
	const config = "--config.file (CHATWIZE_CONFIG_FILE)"
	a := newAgency(t)
	tests := map[string]struct {
		environment, arguments []string
		want                   string
	}{
		"url":           {nil, []string{"--chatwize.url=http://a"}, config + ": the file has what --chatwize.url is for; remove one of them"},
		"url, variable": {[]string{"CHATWIZE_URL=http://a"}, nil, config + ": the file has what CHATWIZE_URL is for; remove one of them"},
		"token file":    {nil, []string{"--chatwize.token-file=a"}, config + ": the file has what --chatwize.token-file is for; remove one of them"},
		"chatbot":       {[]string{"CHATWIZE_CHATBOTS=" + shop}, nil, config + ": the file has what CHATWIZE_CHATBOTS is for; remove one of them"},
		"token":         {[]string{"CHATWIZE_TOKEN=" + key}, nil, config + ": the file has what CHATWIZE_TOKEN is for; remove one of them"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := execute(t, test.environment, append(test.arguments, "check", "--config.file="+a.file)...)
			if want := program + ": error: " + test.want + ", try --help\n"; got.stderr != want || got.status != 1 {
				t.Errorf("got %+v, want %s", got, want)
			}
		})
	}
	for _, test := range []struct{ arguments, want string }{
		{"--chatwize.include=a --chatwize.chatbot=" + shop, "--chatwize.include: is for discovered chatbots; remove it or --chatwize.chatbot"},
		{"--chatwize.exclude=( ", "--chatwize.exclude (CHATWIZE_EXCLUDE): is not a regular expression; write one as RE2 describes, such as Test.*"},
		{"check --account=a", "--account: is for the accounts of " + config + "; give that or remove the flag"},
		{"backfill --label=account=a --config.file=" + a.file, "--label: account is set by the exporter; remove it"},
		{"demo --accounts=0", "--accounts: must be a whole number, minimum 1"},
	} {
		got := execute(t, nil, strings.Fields(test.arguments)...)
		if want := program + ": error: " + test.want + ", try --help\n"; got.stderr != want {
			t.Errorf("%s: got %+v, want %s", test.arguments, got, want)
		}
	}
}

// --config.check checks files and asks the API nothing.
func TestConfigCheck(t *testing.T) {
	a := newAgency(t)
	a.api = "http://127.0.0.1:1"
	a.writeAccounts(t, "acme")
	got := execute(t, nil, "--config.check", "--config.file="+a.file)
	if got.status != 0 || got.stdout != "" || !strings.Contains(got.stderr, `msg="The configuration is valid"`) {
		t.Errorf("got %+v", got)
	}
	a.write(t, "web.yml", "basic_auth: 1")
	got = execute(t, nil, "--config.check", "--config.file="+a.file, "--web.config.file="+filepath.Join(a.folder, "web.yml"))
	if got.status != 1 || !strings.Contains(got.stderr, "--web.config.file (CHATWIZE_WEB_CONFIG_FILE): line 1 has an unknown field basic_auth") {
		t.Errorf("got %+v", got)
	}
	a.writeAccounts(t, "missing")
	got = execute(t, nil, "--config.check", "--config.file="+a.file)
	if got.status != 1 || !strings.Contains(got.stderr, a.file+`: account "missing": token_file: the file cannot be read`) {
		t.Errorf("got %+v", got)
	}
	a.writeAccounts(t, "acme")
	got = execute(t, []string{"CHATWIZE_TOKEN= "}, "check", "--config.check", "--config.file="+a.file, "--account=other")
	if got.status != 1 || !strings.Contains(got.stderr, `--account: no account has this name; write one of "acme"`) {
		t.Errorf("got %+v", got)
	}
	got = execute(t, []string{"CHATWIZE_CHATBOT=" + shop, "CHATWIZE_" + key + "=", "CHATWIZE_TOKEN=" + key}, "--config.check")
	contains(t, got.stderr, `level=warn`, `msg="Ignoring an unknown environment variable" variable=CHATWIZE_CHATBOT hint=`, "variable=CHATWIZE_… ")
	wantNoKeys(t, got.stderr)
	if got.status != 0 {
		t.Errorf("got %+v", got)
	}
	got = execute(t, []string{"CHATWIZE_TOKEN_FILE=" + filepath.Join(a.folder, "acme.key")}, "--config.check")
	if got.status != 0 {
		t.Errorf("got %+v", got)
	}
}

// check covers all accounts or some. A broken account does not keep it from the others.
func TestCheckAccounts(t *testing.T) {
	a := newAgency(t)
	a.writeAccounts(t, "foreign", "acme", "bolt, include: none")
	got := execute(t, nil, "check", "--config.file="+a.file)
	var rows []string
	for line := range strings.Lines(got.stdout) {
		fields := strings.Fields(line)
		rows = append(rows, strings.Join(fields[:min(7, len(fields))], " "))
	}
	want := []string{
		"ACCOUNT CHATBOT NAME STATUS SESSIONS LEADS VERIFIED",
		"acme " + shop + " Support ok 100 34 15",
		"acme " + uuid(1) + " Test 1 ok 100 34",
		"bolt - - no chatbots - -",
		"foreign - - no list: key refused",
	}
	if strings.Join(rows, "\n") != strings.Join(want, "\n") || got.status != 1 {
		t.Errorf("exit status %d; got\n%s\nwant\n%s", got.status, strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
	contains(t, got.stderr, `account=foreign msg="Discovering the chatbots failed"`)
	got = execute(t, nil, "check", "--config.file="+a.file, "--format=json", "--account=acme", "--account=acme")
	contains(t, got.stdout, `"account": "acme"`)
	if got.status != 0 || strings.Contains(got.stdout, "bolt") || strings.Count(got.stdout, `"chatbot"`) != 2 {
		t.Errorf("got %+v", got)
	}
	got = execute(t, nil, "check", "--config.file="+a.file, "--account=zoo")
	contains(t, got.stderr, `check: --account: no account has this name; write one of "acme", "bolt", "foreign"`)
}

// backfill writes nothing if a chatbot cannot be read, unless failed ones are to be left out.
func TestBackfillAccounts(t *testing.T) {
	a := newAgency(t)
	flags := []string{"backfill", "--config.file=" + a.file, "--step=1d", "--label=job=chatwize", "--start=2026-01-01", "--end=2026-01-03"}
	want := `chatwize_sessions{account="bolt",chatbot="` + desk + `",job="chatwize"} 25 1767312000`
	got := execute(t, nil, flags...)
	contains(t, got.stdout, want, `chatwize_sessions{account="acme",chatbot="`+shop+`",job="chatwize"}`)
	if got.status != 0 {
		t.Errorf("got %+v", got)
	}

	a.writeAccounts(t, "foreign", "acme, chatbots: [{uuid: "+shop+"}, {uuid: "+uuid(7)+"}, {uuid: "+uuid(8)+"}]", "bolt")
	output := filepath.Join(a.folder, "past")
	got = execute(t, nil, append(flags, "--output="+output)...)
	contains(t, got.stderr, `backfill: account "foreign": without the list of chatbots`)
	if _, err := os.Stat(output); !errors.Is(err, os.ErrNotExist) || got.status != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	got = execute(t, nil, append(flags, "--account=acme", "--account=bolt")...)
	contains(t, got.stderr, "chatbot "+uuid(7), "chatbot "+uuid(8), "backfill: 2 of 4 chatbots could not be read; correct that, or write the others with --skip-failed")
	if got.stdout != "" || got.status != 1 {
		t.Errorf("got %+v", got)
	}
	got = execute(t, nil, append(flags, "--output="+output, "--skip-failed")...)
	past, err := os.ReadFile(output)
	if err != nil || got.status != 1 || strings.Contains(string(past), uuid(7)) {
		t.Errorf("got %+v, %v", got, err)
	}
	contains(t, string(past), want, `account="acme",chatbot="`+shop)
	contains(t, got.stderr, `msg="An account cannot be read" err="account \"foreign\"`, "chatbot "+uuid(7), "Wrote history")
}

// Several simulated accounts have names, a single one has none.
func TestDemoAccounts(t *testing.T) {
	e := start(t, []string{"CHATWIZE_CONFIG_FILE=missing.yml"}, "demo", "--accounts=2")
	page := e.get(t, "/metrics")
	contains(t, page, `chatwize_up{account="demo-1",chatbot="`+shop+`"} `, `chatwize_discovery_up{account="demo-2"} 1`)
	if n := strings.Count(page, "\nchatwize_up{"); n != 10 {
		t.Errorf("got %d chatbots", n)
	}
	if status, _ := e.reload(t); status != 404 {
		t.Errorf("a reload got %d", status)
	}
}

// The commented example is a file of accounts.
func TestExample(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("docs", "accounts.example.yml"))
	if err != nil {
		t.Fatal(err)
	}
	a := newAgency(t)
	a.write(t, "accounts.yml", string(content))
	a.write(t, "carlo.key", "carlo-key-0815")
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	a.write(t, "corp-ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	got := execute(t, nil, "--config.check", "--config.file="+a.file)
	if got.status != 0 {
		t.Errorf("got %+v", got)
	}
}

// A thousand reloads under scrapes, which add, change and remove accounts, leak nothing.
func TestThousandReloads(t *testing.T) {
	a := newAgency(t)
	files := [][]string{
		{"acme", "bolt"},
		{"acme, concurrency: 1, timeout: 1s", "bolt, exclude: Test.*", "foreign"},
		{"acme, tls_config: {server_name: x}", "bolt, chatbots: [{uuid: " + desk + "}]"},
		{"bolt, proxy_url: ''"},
	}
	manager := accounts.NewManager(func(ctx context.Context) ([]accounts.Config, error) {
		return accounts.ReadFile(ctx, a.file, accounts.Config{
			Concurrency: 2, Timeout: 10 * time.Second, DiscoveryInterval: time.Minute, Buffers: &client.Buffers{},
		})
	}, log.NewNopLogger())
	handler, err := newHandler(manager, true, web.Options{TelemetryPath: "/metrics"}, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	reload := func(i int) {
		a.writeAccounts(t, files[i%len(files)]...)
		if err := manager.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	}
	scrape := func() {
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		// What is gone is not shown as failed.
		if page := response.Body.String(); response.Code != 200 || strings.Contains(page, `reason="timeout"} 1`) {
			t.Errorf("got %d with %s", response.Code, page)
		}
	}
	measure := func() (goroutines, descriptors int, memory uint64) {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&stats)
		open, _ := os.ReadDir("/proc/self/fd") // on Linux only
		return runtime.NumGoroutine(), len(open), stats.HeapAlloc
	}
	play := func(reloads int) {
		var done atomic.Bool
		var scrapes sync.WaitGroup
		for range 2 {
			scrapes.Go(func() {
				for !done.Load() {
					scrape()
				}
			})
		}
		for i := range reloads {
			reload(i)
		}
		done.Store(true)
		scrapes.Wait()
		reload(0)
		scrape()
	}
	play(50)
	goroutines, descriptors, memory := measure()
	play(1000)
	deadline := time.Now().Add(10 * time.Second)
	for {
		gotGoroutines, gotDescriptors, gotMemory := measure()
		if gotGoroutines <= goroutines+10 && gotDescriptors <= descriptors+10 && gotMemory <= memory+2<<20 {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%d goroutines became %d, %d descriptors %d, %d bytes %d", goroutines, gotGoroutines, descriptors, gotDescriptors, memory, gotMemory)
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	a.writeAccounts(t, "foreign") // removes the others
	if err := manager.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What goes wrong in one account touches no other.
func TestAccountsApart(t *testing.T) {
	faults := map[string]http.HandlerFunc{
		"hangs":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"refuses": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"limits": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"floods": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "[{}")
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat(",{}", 1<<16)); err != nil {
					return
				}
			}
		},
		"works": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[{}]") },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		faults[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer key-that-")](w, r)
	}))
	defer server.Close()
	a := newAgency(t)
	a.api = server.URL
	var names []string
	for name := range faults {
		a.write(t, name+".key", "key-that-"+name)
		names = append(names, name+", chatbots: [{uuid: "+uuid(0)+"}, {uuid: "+uuid(1)+", name: One}]")
	}
	a.writeAccounts(t, names...)
	e := start(t, nil, "--config.file="+a.file, "--chatwize.concurrency=1")
	for range 2 {
		page := e.get(t, "/metrics", "X-Prometheus-Scrape-Timeout-Seconds", "2")
		for name, reason := range map[string]string{
			"hangs": "timeout", "refuses": "unauthorized", "limits": "rate_limited", "floods": "timeout",
		} {
			contains(t, page, `chatwize_fetch_failure_info{account="`+name+`",chatbot="`+uuid(0)+`",reason="`+reason+`"} 1`)
		}
		for i := range 2 {
			contains(t, page, `chatwize_sessions{account="works",chatbot="`+uuid(i)+`"} 1`)
			took := regexp.MustCompile(`chatwize_fetch_duration_seconds\{account="works",chatbot="` + uuid(i) + `"\} (\S+)`).FindStringSubmatch(page)
			if seconds, err := strconv.ParseFloat(took[1], 64); err != nil || seconds > 1 {
				t.Errorf("a chatbot of the account that works took %s s", took[1])
			}
		}
	}
	e.stop()
	contains(t, e.log.String(), `account=hangs msg="Fetching the sessions failed"`, `account=limits msg="Fetching the sessions failed"`)
}
