package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// misplacedKey is an API key in the wrong place. No four characters of it are in any
// message.
const misplacedKey = "eyJqX7vW2zKJ9.wZ4hB3yQxN6-Tk_8Rp"

// Nothing of an API key is shown if it is, or a file that holds it is, the value of any
// flag or of its environment variable.
func TestMisplacedKey(t *testing.T) {
	t.Chdir(t.TempDir()) // for --output
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(misplacedKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end() // so that nothing is sent or served
	try := func(t *testing.T, environment []string, arguments ...string) {
		t.Helper()
		for _, own := range [][]string{nil, {"CHATWIZE_TOKEN=" + key}} {
			all := slices.Concat([]string{"CHATWIZE_URL=http://127.0.0.1:1", "CHATWIZE_CHATBOTS=" + shop}, own, environment)
			got := executeUntil(ended, t, all, slices.Concat(arguments, []string{"--web.listen-address=127.0.0.1:0"})...)
			wantNothingOf(t, got.stdout+got.stderr, misplacedKey, "")
		}
	}
	tryFlag := func(flag *kingpin.FlagModel, command string) {
		t.Run(command+" --"+flag.Name, func(t *testing.T) {
			debug := "--log.level=debug"
			if flag.Name == "log.level" {
				debug = "--log.format=json"
			}
			values := []string{misplacedKey, file}
			if flag.Name == "chatwize.url" {
				for _, address := range []string{"", "127.0.0.1:1/brand/", "x@127.0.0.1:", "127.0.0.1?", "x:"} {
					values = append(values, "http://"+address+misplacedKey)
				}
				values = append(values, "http://"+misplacedKey+"@127.0.0.1", "http://"+misplacedKey+":1", misplacedKey+"://127.0.0.1")
			}
			for _, value := range values {
				try(t, nil, command, debug, "--"+flag.Name+"="+value)
				if !flag.IsBoolFlag() {
					try(t, nil, command, debug, "--"+flag.Name, value)
				}
				if flag.Envar != "" {
					try(t, []string{flag.Envar + "=" + value}, command, debug)
				}
			}
		})
	}
	model := (&settings{}).newApp().Model()
	tried := 0
	for _, command := range model.Commands {
		for _, flag := range slices.Concat(model.Flags, command.Flags) {
			tryFlag(flag, command.Name)
			tried++
		}
	}
	if least := 5 * 20; tried < least {
		t.Errorf("tried %d flags, want %d at least", tried, least)
	}
}

// Nor is it shown as an argument.
func TestMisplacedArgument(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(misplacedKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arguments := range []string{
		misplacedKey, "serve " + misplacedKey, "check " + misplacedKey, misplacedKey + " backfill", "healthcheck " + misplacedKey,
		"--" + misplacedKey, "--" + misplacedKey + "=x", "--no-" + misplacedKey, "-" + misplacedKey, "-h" + misplacedKey, "check --" + misplacedKey,
		"help " + misplacedKey, "help check " + misplacedKey, "help --" + misplacedKey + " " + misplacedKey, "--help " + misplacedKey,
		"@" + misplacedKey, "@" + file, "--chatwize.url @" + file, "help @" + file, "-- " + misplacedKey,
	} {
		t.Run(strings.ReplaceAll(arguments, file, "FILE"), func(t *testing.T) {
			got := execute(t, []string{"CHATWIZE_TOKEN=" + key}, strings.Fields(arguments)...)
			if got.status != 1 || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("got %+v", got)
			}
			wantNothingOf(t, got.stdout+got.stderr, misplacedKey, "")
		})
	}
}

// If the exporter's own API key is in a flag, in its environment variable or in the address
// of a proxy, it starts nothing and says where.
func TestMisplacedOwnKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(file, []byte(misplacedKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // in case that the exporter starts
	defer cancel()
	lower, escaped := strings.ToLower(misplacedKey), "%65"+misplacedKey[1:]
	tests := []struct{ name, value string }{
		{"chatwize.url", "https://" + misplacedKey}, {"chatwize.url", "https://app.chatwize.ai/" + escaped}, {"chatwize.url", "https://" + lower + ":1"},
		{"chatwize.chatbot", shop + "=" + misplacedKey}, {"chatwize.chatbot", shop + "=The " + misplacedKey + "!"},
		{"chatwize.chatbot", shop + "=" + misplacedKey + strings.Repeat("x", 200)},
		{"web.telemetry-path", "/" + misplacedKey}, {"web.listen-address", lower + ":1"}, {"web.config.file", "/" + misplacedKey},
	}
	for _, test := range tests {
		t.Run("--"+test.name+"="+test.value, func(t *testing.T) {
			for _, own := range []string{"CHATWIZE_TOKEN=" + misplacedKey, "CHATWIZE_TOKEN_FILE=" + file} {
				for _, command := range []string{"serve", "check", "backfill"} {
					got := executeUntil(ctx, t, []string{"CHATWIZE_TOKEN=", "CHATWIZE_TOKEN_FILE=", own}, command, "--"+test.name+"="+test.value)
					wantMisplaced(t, got, "--"+test.name)
				}
				variable := (&settings{}).newApp().GetFlag(test.name).Model().Envar
				if variable != "" {
					got := executeUntil(ctx, t, []string{"CHATWIZE_TOKEN=", "CHATWIZE_TOKEN_FILE=", own, variable + "=" + test.value}, "check")
					wantMisplaced(t, got, variable)
					t.Setenv(variable, "")
				}
			}
		})
	}
	for _, value := range []string{misplacedKey, "http://" + misplacedKey + ":1", "http://user:" + misplacedKey + "@127.0.0.1:1"} {
		for _, variable := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
			got := finish(t, command(t, []string{"CHATWIZE_TOKEN=" + misplacedKey, variable + "=" + value}, "check"))
			wantMisplaced(t, got, variable)
		}
	}
	wantMisplaced(t, executeUntil(ctx, t, []string{"CHATWIZE_TOKEN=" + misplacedKey}, "backfill", "--label=job="+misplacedKey), "--label")
	wantMisplaced(t, executeUntil(ctx, t, []string{"CHATWIZE_TOKEN=" + misplacedKey}, "backfill", "--output="+misplacedKey), "--output")
	wantMisplaced(t, executeUntil(ctx, t, []string{"CHATWIZE_TOKEN=" + misplacedKey}, "demo", "--web.telemetry-path=/"+misplacedKey), "--web.telemetry-path")
}

func wantMisplaced(t *testing.T, got result, where string) {
	t.Helper()
	want := "chatwize_exporter: error: " + where + ": contains the API key, which others could see there; remove it\n"
	if got != (result{"", want, 1}) {
		t.Errorf("got %+v, want %s", got, want)
	}
}

// The name of the key's file may be that of its content.
func TestKeyFileLikeItsKey(t *testing.T) {
	const ordinary = "chatwize-key"
	file := filepath.Join(t.TempDir(), ordinary+".txt")
	if err := os.WriteFile(file, []byte(ordinary), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, nil, "--chatwize.token-file="+file)
}

// An own key that could be a word, as a command or a flag, is not quoted either.
func TestMisplacedLowerCaseKey(t *testing.T) {
	const word = "0815-lower-case-key"
	for _, argument := range []string{word, "--" + word} {
		got := execute(t, []string{"CHATWIZE_TOKEN=" + word}, argument)
		if wantNothingOf(t, got.stderr, word, ""); got.status != 1 || !strings.Contains(got.stderr, "<key>") {
			t.Errorf("got %+v", got)
		}
	}
}

// A key that is a chatbot's name in the account, or becomes the key while the exporter runs,
// is hidden from the first request with it on. A probe for the key is refused.
func TestKeyAsName(t *testing.T) {
	const digits = "c0ffee0123456789abcdef0123456789" // a key that could be a UUID
	account := &simulator.Account{Key: misplacedKey, Chatbots: []simulator.Chatbot{
		{UUID: shop, Name: "The " + misplacedKey + "!"}, {UUID: desk, Name: digits},
	}}
	server := httptest.NewServer(account)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "key.txt")
	rotate := func(key string) {
		if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rotate(misplacedKey)
	flags := []string{"--chatwize.token-file=" + file, "--chatwize.url=" + server.URL}
	for name, arguments := range map[string][]string{
		"discovered": nil, "configured without name": {"--chatwize.chatbot=" + shop, "--chatwize.chatbot=" + desk + "=" + digits},
	} {
		t.Run(name, func(t *testing.T) {
			rotate(misplacedKey)
			e := start(t, nil, slices.Concat(flags, arguments, []string{"--log.level=debug"})...)
			pages := func() string {
				return e.get(t, "/metrics") + e.get(t, "/sd") + e.get(t, "/probe?target="+shop) + e.get(t, "/probe?target="+desk) + e.get(t, "/")
			}
			page := pages()
			contains(t, page, `chatbot="`+shop+`",name="The <key>"`, `name="`+digits+`"`)
			wantNothingOf(t, page+e.log.take(), misplacedKey, "")
			rotate(digits) // the account refuses it
			e.get(t, "/metrics")
			e.log.take()
			time.Sleep(time.Second) // until there is a new page for people
			page = pages()
			contains(t, page, `chatbot="`+desk+`",name="<key>"`)
			probed, err := http.Get(e.url + "/probe?target=" + digits)
			if err != nil {
				t.Fatal(err)
			}
			defer probed.Body.Close()
			body, err := io.ReadAll(probed.Body)
			if err != nil || probed.StatusCode != http.StatusBadRequest {
				t.Errorf("got %s, %v", probed.Status, err)
			}
			e.stop()
			http.DefaultClient.CloseIdleConnections()
			logged := e.log.take()
			contains(t, logged, "unauthorized", "<key>")
			if strings.Contains(page+logged+string(body), digits[:8]) {
				t.Errorf("the key is shown in %s%s%s", page, logged, body)
			}
		})
	}
	rotate(misplacedKey)
	for _, format := range []string{"table", "json"} {
		got := execute(t, nil, append(flags, "check", "--format="+format)...)
		contains(t, got.stdout, "The <key>", digits)
		wantNothingOf(t, got.stdout+got.stderr, misplacedKey, "")
	}
}
