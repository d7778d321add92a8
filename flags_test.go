package main

import (
	"io"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/backfill"
	"github.com/chatwize-exporter/chatwize_exporter/internal/check"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/secret"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// parseFor returns what parse returns. The flags of exporter-toolkit are checked here,
// and then removed from the settings.
func parseFor(t *testing.T, environment, arguments []string, listen, webConfig string) (*settings, error) {
	t.Helper()
	setEnvironment(t, environment)
	got, err := parse(arguments, io.Discard)
	if err != nil {
		return got, err
	}
	if addresses := *got.listen.WebListenAddresses; !slices.Equal(addresses, []string{listen}) ||
		*got.listen.WebConfigFile != webConfig || *got.listen.WebSystemdSocket {
		t.Errorf("listens at %q with configuration %q", addresses, *got.listen.WebConfigFile)
	}
	got.listen, got.given, got.webConfigGiven = nil, nil, false
	return got, nil
}

// Each flag and each variable sets its value. What is not given has its default.
func TestParse(t *testing.T) {
	const base = "https://api.example/brand"
	address := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	// with returns the defaults with a change.
	with := func(change func(*settings)) *settings {
		s := &settings{
			command: serveCommand,
			account: accounts.Config{
				URL: address("https://app.chatwize.ai"), UserAgent: version.ComponentUserAgent(program),
				DiscoveryInterval: 5 * time.Minute, Concurrency: 4, Timeout: 30 * time.Second,
				Source: fetch.SourceOptions{FullInterval: time.Hour},
			},
			web:      web.Options{TelemetryPath: "/metrics", TimeoutOffset: 500 * time.Millisecond, MaxRequests: 40},
			logLevel: "info", logFormat: "logfmt",
		}
		change(s)
		return s
	}
	account := func(s *settings) {
		s.account.URL, s.tokenFile = address(base), "the key.txt"
		s.account.Chatbots = []client.Chatbot{{UUID: shop, Name: "Shop"}, {UUID: desk}}
		s.account.Timeout, s.web.TimeoutOffset, s.account.Concurrency = time.Millisecond, 0, 1
		s.account.DiscoveryInterval = 0
		s.account.Source = fetch.SourceOptions{CacheTTL: time.Minute, Window: 48 * time.Hour, FullInterval: 2 * time.Hour}
		s.web.ProbeOnly, s.web.MaxRequests = true, 0
	}
	byFlag := []string{"--chatwize.url=" + base, "--chatwize.token-file=the key.txt", "--chatwize.chatbot=" + shop + "=Shop",
		"--chatwize.chatbot=" + desk, "--chatwize.timeout=1ms", "--chatwize.timeout-offset=0s", "--chatwize.concurrency=1",
		"--chatwize.cache-ttl=1m", "--chatwize.discovery-interval=0s", "--chatwize.window=2d", "--chatwize.full-interval=2h",
		"--chatwize.probe-only", "--web.max-requests=0"}
	byVariable := []string{"CHATWIZE_URL=" + base, "CHATWIZE_TOKEN_FILE=the key.txt", "CHATWIZE_CHATBOTS=" + shop + "=Shop," + desk,
		"CHATWIZE_TIMEOUT=1ms", "CHATWIZE_TIMEOUT_OFFSET=0s", "CHATWIZE_CONCURRENCY=1", "CHATWIZE_CACHE_TTL=1m",
		"CHATWIZE_DISCOVERY_INTERVAL=0s", "CHATWIZE_WINDOW=2d", "CHATWIZE_FULL_INTERVAL=2h", "CHATWIZE_PROBE_ONLY=true",
		"CHATWIZE_WEB_MAX_REQUESTS=0"}
	otherValues := []string{"CHATWIZE_URL=http://other", "CHATWIZE_TOKEN_FILE=other", "CHATWIZE_CHATBOTS=" + strings.Repeat("0", 32),
		"CHATWIZE_TIMEOUT=9s", "CHATWIZE_TIMEOUT_OFFSET=9s", "CHATWIZE_CONCURRENCY=9", "CHATWIZE_CACHE_TTL=9s",
		"CHATWIZE_DISCOVERY_INTERVAL=9s", "CHATWIZE_WINDOW=9d", "CHATWIZE_FULL_INTERVAL=9h", "CHATWIZE_PROBE_ONLY=false",
		"CHATWIZE_WEB_MAX_REQUESTS=9"}
	tests := map[string]struct {
		environment, arguments []string
		listen, webConfig      string
		want                   *settings
	}{
		"nothing":            {want: with(func(*settings) {})},
		"flags":              {arguments: byFlag, want: with(account)},
		"variables":          {environment: byVariable, want: with(account)},
		"flags win":          {environment: otherValues, arguments: byFlag, want: with(account)},
		"a switch off":       {environment: byVariable, arguments: []string{"--chatwize.probe-only=false"}, want: with(func(s *settings) { account(s); s.web.ProbeOnly = false })},
		"the key is no flag": {environment: []string{"CHATWIZE_TOKEN=" + key}, want: with(func(*settings) {})},
		"web and log": {
			arguments: []string{"serve", "--web.telemetry-path=/", "--web.listen-address=[::1]:1", "--web.config.file=web.yml", "--log.level=warn", "--log.format=json"},
			listen:    "[::1]:1", webConfig: "web.yml",
			want: with(func(s *settings) { s.web.TelemetryPath, s.logLevel, s.logFormat = "/", "warn", "json" }),
		},
		"web and log in the environment": {
			environment: []string{"CHATWIZE_WEB_TELEMETRY_PATH=/", "CHATWIZE_WEB_LISTEN_ADDRESS=[::1]:1", "CHATWIZE_WEB_CONFIG_FILE=web.yml",
				"CHATWIZE_WEB_SYSTEMD_SOCKET=false", "CHATWIZE_LOG_LEVEL=warn", "CHATWIZE_LOG_FORMAT=json"},
			listen: "[::1]:1", webConfig: "web.yml",
			want: with(func(s *settings) { s.web.TelemetryPath, s.logLevel, s.logFormat = "/", "warn", "json" }),
		},
		"white space around variables": {
			environment: []string{"CHATWIZE_TIMEOUT= 1ms\n", "CHATWIZE_TOKEN_FILE=the key.txt\r\n", "CHATWIZE_PROBE_ONLY=\ttrue ",
				"CHATWIZE_WEB_LISTEN_ADDRESS= :1\n", "CHATWIZE_LOG_LEVEL=warn\n", "CHATWIZE_CACHE_TTL= \n"},
			listen: ":1",
			want: with(func(s *settings) {
				s.account.Timeout, s.tokenFile, s.web.ProbeOnly, s.logLevel = time.Millisecond, "the key.txt", true, "warn"
			}),
		},
		"accounts": {
			environment: []string{"CHATWIZE_CONFIG_FILE=a.yml", "CHATWIZE_INCLUDE=Shop.*", "CHATWIZE_EXCLUDE=Test.*"}, arguments: []string{"check", "--account=acme", "--account=bolt", "--config.check"},
			want: with(func(s *settings) {
				s.command, s.check, s.configFile, s.configCheck, s.only = checkCommand, check.Command{Format: "table"}, "a.yml", true, []string{"acme", "bolt"}
				s.account.Include, s.account.Exclude = regexp.MustCompile("^(?s:Shop.*)$"), regexp.MustCompile("^(?s:Test.*)$")
			}),
		},
		"demo":        {arguments: []string{"--chatwize.concurrency=1", "demo"}, want: with(func(s *settings) { s.command, s.account.Concurrency, s.demoSize = demoCommand, 1, 1 })},
		"any address": {arguments: []string{"--web.listen-address=vsock://:1"}, listen: "vsock://:1", want: with(func(*settings) {})},
		"check":       {arguments: []string{"check"}, want: with(func(s *settings) { s.command, s.check = checkCommand, check.Command{Format: "table"} })},
		"check in JSON": {arguments: []string{"check", "--format=json"},
			want: with(func(s *settings) { s.command, s.check = checkCommand, check.Command{Format: "json"} })},
		"backfill": {arguments: []string{"backfill"},
			want: with(func(s *settings) { s.command, s.backfill = backfillCommand, backfill.Command{Step: 5 * time.Minute} })},
		"backfill with everything": {
			arguments: []string{"backfill", "--start=2026-01-01", "--end=2026-01-02T00:00:01Z", "--step=1s", "--label=job=chatwize", "--label=a=b", "--output=history.om"},
			want: with(func(s *settings) {
				s.command = backfillCommand
				s.backfill = backfill.Command{
					Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 1, 2, 0, 0, 1, 0, time.UTC),
					Step: time.Second, Labels: model.LabelSet{"job": "chatwize", "a": "b"}, Output: "history.om",
				}
			}),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			listen := ":10113"
			if test.listen != "" {
				listen = test.listen
			}
			got, err := parseFor(t, test.environment, test.arguments, listen, test.webConfig)
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, test.want)
			}
		})
	}
}

// A wrong value is an error that names its flag and variable, and says what to do.
// Other values are tested where each kind of flag is.
func TestParseFails(t *testing.T) {
	const (
		duration = "must be a duration, such as 500ms, 30s or 5m"
		address  = "is not an address with a port; write it like :10113 or 127.0.0.1:10113"
		neither  = "an argument is neither command nor flag; write each setting after its flag"
	)
	tests := []struct {
		environment string
		arguments   string
		want        string
	}{
		{"", "--chatwize.url=ftp://app.chatwize.ai", "--chatwize.url (CHATWIZE_URL): is not an http or https URL; write it like https://app.chatwize.ai"},
		{"", "--chatwize.chatbot=" + shop + " --chatwize.chatbot=" + key,
			"--chatwize.chatbot (CHATWIZE_CHATBOTS): chatbot 2 is not a UUID; write 32 hexadecimal digits, with or without dashes, and =NAME after them if you like"},
		{"CHATWIZE_CHATBOTS=" + shop + "," + shop, "", "--chatwize.chatbot (CHATWIZE_CHATBOTS): chatbot " + shop + " is given twice; remove one"},
		{"CHATWIZE_CHATBOTS=" + shop + "=Shop;" + desk + "=Desk", "",
			"--chatwize.chatbot (CHATWIZE_CHATBOTS): chatbot 1 has another chatbot in its name; repeat the flag, or write a comma between chatbots in the variable"},
		{"CHATWIZE_WEB_SYSTEMD_SOCKET=" + key, "", "--web.systemd-socket (CHATWIZE_WEB_SYSTEMD_SOCKET): must be true or false"},
		{"", "healthcheck --url=" + key, "--url: is not an http or https URL; write it like http://localhost:10113"},
		{"", "--chatwize.timeout=999us", "--chatwize.timeout (CHATWIZE_TIMEOUT): is too short; minimum 1ms"},
		{"CHATWIZE_TIMEOUT=" + key, "", "--chatwize.timeout (CHATWIZE_TIMEOUT): " + duration},
		{"", "--chatwize.timeout-offset=-1ns", "--chatwize.timeout-offset (CHATWIZE_TIMEOUT_OFFSET): is too short; minimum 0s"},
		{"", "--chatwize.concurrency=0", "--chatwize.concurrency (CHATWIZE_CONCURRENCY): must be a whole number, minimum 1"},
		{"", "--chatwize.cache-ttl=-1ns", "--chatwize.cache-ttl (CHATWIZE_CACHE_TTL): is too short; minimum 0s"},
		{"", "--chatwize.discovery-interval=-1ns", "--chatwize.discovery-interval (CHATWIZE_DISCOVERY_INTERVAL): is too short; minimum 0s"},
		{"", "--chatwize.window=-1ns", "--chatwize.window (CHATWIZE_WINDOW): is too short; minimum 0s"},
		{"", "--chatwize.window=299s", "--chatwize.window (CHATWIZE_WINDOW): is too short; minimum 5m0s, or 0 to fetch full lists only"},
		{"", "--chatwize.window=1m --chatwize.include=a --chatwize.chatbot=" + shop,
			"--chatwize.window (CHATWIZE_WINDOW): is too short; minimum 5m0s, or 0 to fetch full lists only"},
		{"CHATWIZE_FULL_INTERVAL=0s", "--chatwize.window=5m",
			"--chatwize.full-interval (CHATWIZE_FULL_INTERVAL): must be above 0 with --chatwize.window; write a duration such as 1h"},
		{"", "--chatwize.full-interval=-1ns", "--chatwize.full-interval (CHATWIZE_FULL_INTERVAL): is too short; minimum 0s"},
		{"CHATWIZE_PROBE_ONLY=maybe", "", "--chatwize.probe-only (CHATWIZE_PROBE_ONLY): must be true or false"},
		{"", "--chatwize.probe-only=maybe", "--chatwize.probe-only: must be true or false"},
		{"CHATWIZE_CONCURRENCY=many", "--chatwize.probe-only=false", "--chatwize.concurrency (CHATWIZE_CONCURRENCY): must be a whole number, minimum 1"},
		{"", "--web.telemetry-path=" + key, "--web.telemetry-path (CHATWIZE_WEB_TELEMETRY_PATH): must begin with a slash, such as /metrics"},
		{"", "--web.listen-address=", "--web.listen-address (CHATWIZE_WEB_LISTEN_ADDRESS): " + address},
		{"", "--web.listen-address=10113", "--web.listen-address (CHATWIZE_WEB_LISTEN_ADDRESS): " + address},
		{"", "--web.listen-address=localhost", "--web.listen-address (CHATWIZE_WEB_LISTEN_ADDRESS): " + address},
		{"", "--web.listen-address=127.0.0.1:", "--web.listen-address (CHATWIZE_WEB_LISTEN_ADDRESS): " + address},
		{"", "--web.listen-address=127.0.0.1:65536", "--web.listen-address (CHATWIZE_WEB_LISTEN_ADDRESS): " + address},
		{"", "--web.listen-address=:10113 --web.listen-address=" + key, "--web.listen-address (CHATWIZE_WEB_LISTEN_ADDRESS): " + address},
		{"", "--web.listen-address=vsock://" + key, "--web.listen-address (CHATWIZE_WEB_LISTEN_ADDRESS): is not a vsock address; write it like vsock://:10113"},
		{"", "--log.level=loud", "--log.level (CHATWIZE_LOG_LEVEL): must be one of: debug, info, warn, error"},
		{"", "--log.format=xml", "--log.format (CHATWIZE_LOG_FORMAT): must be one of: logfmt, json"},
		{"", "check --format=yaml", "--format: must be one of: table, json"},
		{"", "backfill --step=999ms", "--step: is too short; minimum 1s"},
		{"", "backfill --start=yesterday", "--start: must be a date, such as 2026-01-31, a time, such as 2026-01-31T12:00:00Z, or Unix time in seconds, of ten digits, such as 1769860800"},
		{"", "backfill --end=tomorrow", "--end: must be a date, such as 2026-01-31, a time, such as 2026-01-31T12:00:00Z, or Unix time in seconds, of ten digits, such as 1769860800"},
		{"", "backfill --label=chatbot=x", "--label: label 1 is set by the exporter; remove it"},
		{"", "--format=json", "unknown long flag '--format'"},
		{"", "--chatwize.token=x", "an argument is an unknown flag; perhaps --chatwize.token-file is meant"},
		{"", "-chatwize.token-file=x", "an argument is an unknown flag; perhaps --chatwize.token-file is meant"},
		{"", "--chatwize=x", "unknown long flag '--chatwize'"},
		{"", key, neither},
		{"", "serve " + key, neither},
		{"", "healthchek", `"healthchek" is neither command nor flag; write each setting after its flag`},
		{"", "help " + key, "help: expects the name of a command, or nothing"},
		{"", "--web.config.file", "expected argument for flag '--web.config.file'"},
		{"", "--chatwize.timeout --log.level=debug", "expected argument for flag '--chatwize.timeout'"},
	}
	for _, test := range tests {
		t.Run(test.environment+" "+test.arguments, func(t *testing.T) {
			var environment []string
			if test.environment != "" {
				environment = []string{test.environment}
			}
			got, err := parseFor(t, environment, strings.Fields(test.arguments), "", "")
			if err == nil || err.Error() != test.want {
				t.Errorf("got %+v, %v\nwant %s", got, err, test.want)
			}
		})
	}
}

// The API key comes from a file or from the environment, not from both, and is read
// once at start.
func TestSetKey(t *testing.T) {
	const (
		fromFile = "--chatwize.token-file (CHATWIZE_TOKEN_FILE)"
		noKey    = "holds no API key; write the key, and nothing else, there"
		moreKeys = "holds more than an API key, which is one word of ASCII letters, digits and signs; write the key, and nothing else, there"
	)
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, empty := file("good", " "+key+"\n"), file("empty", " \n")
	tests := map[string]struct {
		file, token string
		want        string // the beginning of the error; empty: the key
	}{
		"in a file":           {good, "", ""},
		"in the environment":  {"", " " + key + "\n", ""},
		"none":                {"", "", "there is no API key: write it into a file and name that with " + fromFile + ", or set CHATWIZE_TOKEN"},
		"two":                 {good, key, "there are two API keys: give either " + fromFile + " or CHATWIZE_TOKEN"},
		"blanks":              {"", " ", "CHATWIZE_TOKEN: " + noKey},
		"two lines":           {"", key + "\n" + key, "CHATWIZE_TOKEN: " + moreKeys},
		"beyond ASCII":        {"", key + "\u00e9", "CHATWIZE_TOKEN: " + moreKeys},
		"in an empty file":    {empty, "", fromFile + ": " + noKey},
		"in a folder":         {folder, "", fromFile + ": the file cannot be read: "},
		"instead of the file": {filepath.Join(folder, key), "", fromFile + ": the file cannot be read: "},
		"in a device":         {os.DevNull, "", fromFile + ": is not a small regular file; name a file that holds the API key"},
	}
	for name, test := range tests {
		if test.file == os.DevNull && runtime.GOOS == "windows" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			setEnvironment(t, []string{"CHATWIZE_TOKEN=" + test.token})
			s := &settings{tokenFile: test.file, account: accounts.Config{Keys: &secret.Keys{}}}
			loaded, err := s.loadAccount(t.Context())
			if test.want != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), key) ||
					!strings.HasSuffix(test.want, ": ") && err.Error() != test.want {
					t.Errorf("got %v, want %s", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := loaded[0].Key(t.Context()); got != key || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
