package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// A wrong setting ends the process at start with exit status 1 and one line that says
// what to do. The line does not show the API key, even in the wrong place.
func TestWrongSetting(t *testing.T) {
	token, chatbot := "CHATWIZE_TOKEN="+key, "--chatwize.chatbot="+shop
	missing := filepath.Join(t.TempDir(), key)
	const (
		help  = ", try --help"
		noKey = "there is no API key: write it into a file and name that with --chatwize.token-file (CHATWIZE_TOKEN_FILE), or set CHATWIZE_TOKEN"
	)
	tests := map[string]struct {
		environment, arguments []string
		begins, ends           string // of the line, after the name of the program
	}{
		"no key":               {nil, []string{chatbot}, noKey, noKey},
		"no key for a command": {nil, []string{"check"}, noKey, noKey},
		"key as a file name": {nil, []string{chatbot, "--chatwize.token-file=" + missing},
			"--chatwize.token-file (CHATWIZE_TOKEN_FILE): the file cannot be read: ", "; name a file that holds the API key"},
		"key as a value": {[]string{token, "CHATWIZE_TIMEOUT=" + key}, []string{chatbot},
			"--chatwize.timeout (CHATWIZE_TIMEOUT): must be a duration, such as 500ms, 30s or 5m", help},
		"key as an argument": {[]string{token}, []string{key}, "an argument is neither command nor flag; write each setting after its flag", help},
		"key as a flag":      {[]string{token}, []string{"--" + key}, "an argument is an unknown flag", help},
		"key to help with":   {[]string{token}, []string{"help", key}, "help: expects the name of a command, or nothing", help},
		"web configuration missing": {[]string{token}, []string{chatbot, "--web.config.file=missing.yml"},
			"--web.config.file (CHATWIZE_WEB_CONFIG_FILE): the file cannot be read: ", "; fix that file or remove the setting"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := finish(t, command(t, test.environment, test.arguments...))
			if got.status != 1 || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 ||
				!strings.HasPrefix(got.stderr, "chatwize_exporter: error: "+test.begins) || !strings.HasSuffix(got.stderr, test.ends+"\n") {
				t.Errorf("got %+v, want %s … %s", got, test.begins, test.ends)
			}
		})
	}
}

// Help, version and completion need no settings and do not show the API key.
func TestHelp(t *testing.T) {
	commands := []string{"serve", "demo", "check", "backfill", "healthcheck"}
	tests := map[string][]string{
		"--help": {"--chatwize.url", "$CHATWIZE_URL", "https://app.chatwize.ai", "--chatwize.token-file", "$CHATWIZE_TOKEN_FILE",
			"$CHATWIZE_TOKEN.", "--chatwize.chatbot", "$CHATWIZE_CHATBOTS", "--chatwize.timeout=30s", "$CHATWIZE_TIMEOUT",
			"--chatwize.timeout-offset=500ms", "$CHATWIZE_TIMEOUT_OFFSET", "--chatwize.concurrency=4", "$CHATWIZE_CONCURRENCY",
			"--web.telemetry-path=/metrics", "--web.listen-address=:10113", "--web.config.file", "--log.level=info", "--log.format=logfmt",
			"--chatwize.discovery-interval=5m", "$CHATWIZE_DISCOVERY_INTERVAL", "--[no-]chatwize.probe-only", "$CHATWIZE_PROBE_ONLY",
			"serve*", "demo", "check", "backfill"},
		"healthcheck --help":       {"--url=URL", "--web.listen-address=:10113", "$CHATWIZE_WEB_LISTEN_ADDRESS"},
		"help check":               {"check [<flags>]", "--format"},
		"--help-man":               {"\\- Prometheus exporter", "($CHATWIZE_URL)", "($CHATWIZE_WEB_CONFIG_FILE)", "--format"},
		"--help-long":              {"--format"},
		"backfill --help":          {"--start=TIME", "--end=TIME", "--step=5m", "--label=NAME=VALUE", "--output=FILE", "Deleted", "lead"},
		"--version":                {"chatwize_exporter, version "},
		"--completion-script-bash": {"complete -F", "chatwize_exporter"},
		"--completion-script-zsh":  {"#compdef chatwize_exporter"},
		// What the shell offers for a value.
		"--completion-bash --log.level":               {"debug", "info", "warn", "error"},
		"--completion-bash check --format":            {"table", "json"},
		"--completion-bash check --":                  {"--format", "--chatwize.url"},
		"--completion-bash":                           commands,
		"--completion-bash ch":                        commands,
		"--completion-bash --chatwize.probe-only ch":  commands,
		"--completion-bash --log.level=debug ch":      commands,
		"--completion-bash --chatwize.timeout 30s ch": commands,
		"--completion-bash help ch":                   commands,
	}
	for arguments, want := range tests {
		t.Run(arguments, func(t *testing.T) {
			got := finish(t, command(t, []string{"CHATWIZE_TOKEN=" + key}, strings.Fields(arguments)...))
			if got.status != 0 || got.stderr != "" {
				t.Errorf("got %+v", got)
			}
			contains(t, got.stdout, want...)
		})
	}
}

// The help of a command begins with its own flags and has no shared flag that it ignores.
func TestHelpOfCommand(t *testing.T) {
	for name, test := range map[string]struct{ first, shared, ignored string }{
		"serve":       {"--[no-]help", "--chatwize.chatbot", ""},
		"demo":        {"--accounts", "--web.max-requests", "--chatwize.chatbot"},
		"check":       {"--format", "--chatwize.timeout", "--web."},
		"backfill":    {"--start", "--chatwize.chatbot", "--chatwize.cache-ttl"},
		"healthcheck": {"--url", "--web.config.file", "--chatwize."},
	} {
		help := finish(t, command(t, nil, name, "--help")).stdout
		if first := regexp.MustCompile(`(?m)^ +(?:-h, )?(--.*)`).FindStringSubmatch(help); len(first) == 0 || !strings.HasPrefix(first[1], test.first) || !strings.Contains(help, test.shared) {
			t.Errorf("%s: %s", name, help)
		}
		if _, list, _ := strings.Cut(help, "\nFlags:\n"); test.ignored != "" && strings.Contains(list, " "+test.ignored) {
			t.Errorf("%s: %s is in %s", name, test.ignored, list)
		}
	}
}

// Help that cannot be written is an error in one line.
func TestHelpFails(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err) // only Linux has it
	}
	defer full.Close()
	for _, arguments := range []string{"--help", "--version", "help check", "check --help", "--help-man", "--help-long", "--completion-script-bash", "--completion-script-zsh"} {
		process := command(t, nil, strings.Fields(arguments)...)
		var stderr strings.Builder
		process.Stdout, process.Stderr = full, &stderr
		err := process.Run()
		const want = "chatwize_exporter: error: writing to standard output: no space left on device\n"
		if process.ProcessState.ExitCode() != 1 || stderr.String() != want {
			t.Errorf("%s: %v, %s", arguments, err, &stderr)
		}
	}
}

// Data that an API sends without a request is not logged: net/http writes it to the
// standard logger.
func TestUnrequestedData(t *testing.T) {
	read, closed := make(chan bool), make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
		<-read // the response
		_, _ = io.WriteString(conn, key)
		_, _ = conn.Read(make([]byte, 1)) // until the exporter closes it
		_ = conn.Close()
		close(closed)
	}))
	defer server.Close()
	e := startProcess(t, command(t, []string{"CHATWIZE_TOKEN=" + key}, "--chatwize.chatbot="+shop+"=Shop", "--chatwize.url="+server.URL,
		"--log.level=debug", "--web.listen-address=127.0.0.1:0"))
	contains(t, e.get(t, "/metrics"), `chatwize_up{chatbot="`+shop+`"} 1`)
	close(read)
	<-closed
	if e.stop(); strings.Contains(e.log.String(), key) {
		t.Errorf("logged %s", e.log)
	}
}

// Requests go through the proxy of the environment. A proxy that is down is a failure
// of the network. net/http reads the environment once, hence the process.
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
	e := startProcess(t, command(t, []string{"CHATWIZE_TOKEN=" + key, "HTTP_PROXY=" + proxy.URL},
		"--chatwize.chatbot="+shop, "--chatwize.url=http://api.example", "--web.listen-address=127.0.0.1:0"))
	contains(t, e.get(t, "/metrics"), `chatwize_up{chatbot="`+shop+`"} 1`)
	proxy.Close()
	contains(t, e.get(t, "/metrics"), `chatwize_up{chatbot="`+shop+`"} 0`, `chatwize_api_errors_total{reason="network"} 1`)
	e.log.waitFor(t, "proxyconnect", "refused", "The API key is sent unencrypted")
	e.stop()
	if log := e.log.String(); strings.Count(log, "level=warn") != 2 || strings.Contains(log, key) {
		t.Errorf("logged %s", log)
	}
}
