package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

const second = "00000000000000000000000000000002" // a chatbot

// checkAPI is an API with a shop and a desk whose key is refused.
type checkAPI struct {
	*httptest.Server
	environment []string
	unlisted    atomic.Bool // whether the list of chatbots is not found
}

func newCheckAPI(t *testing.T) *checkAPI {
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
		{UUID: shop, Name: "買い物 Shop", Sessions: simulator.Uniform(1000, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Hour)},
		{UUID: second, Name: "Desk", Fault: func(time.Time) simulator.Fault { return simulator.Fault{Status: 403} }},
	}}
	api := &checkAPI{}
	api.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if api.unlisted.Load() && strings.HasSuffix(r.URL.Path, "/chatbots") {
			http.NotFound(w, r)
			return
		}
		account.ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	api.environment = []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + api.URL}
	return api
}

// checkTable is the table of checkAPI. All fetches take 7 ms.
const checkTable = "" +
	"CHATBOT                           NAME         STATUS       SESSIONS  LEADS  VERIFIED  LAST 24H  USUAL  MISSING  NEWEST SESSION        TIME TAKEN\n" +
	shop + "  買い物 Shop  ok           1000      334    143       0         0      -        2026-02-11T15:00:00Z  7ms\n" +
	second + "  Desk         key refused  -         -      -         -         -      -        -                     7ms\n"

var timeTaken = regexp.MustCompile(`[\d.]+m?s\n`)

// check prints a line for each chatbot, and fails if one fetch failed.
func TestCheck(t *testing.T) {
	api := newCheckAPI(t)
	got := execute(t, api.environment, "check")
	if got.status != 1 || timeTaken.ReplaceAllString(got.stdout, "7ms\n") != checkTable {
		t.Errorf("got %+v, want\n%s", got, checkTable)
	}
	contains(t, got.stderr, `level=info`, `msg="Discovered the chatbots" chatbots=2`, "level=warn", "reason=unauthorized", `chatbots="Desk `, `hint="check that the API key`)
	if strings.Count(got.stderr, "\n") != 2 {
		t.Errorf("logged %s", got.stderr)
	}

	got = execute(t, api.environment, "check", "--chatwize.chatbot="+shop)
	if got.status != 0 || got.stderr != "" || !strings.Contains(got.stdout, " ok ") {
		t.Errorf("one healthy chatbot: got %+v", got)
	}

	got = execute(t, api.environment, "check", "--log.level=error", "--format=json")
	var results []map[string]any
	if err := json.Unmarshal([]byte(got.stdout), &results); err != nil || got.status != 1 || got.stderr != "" || len(results) != 2 {
		t.Fatalf("in JSON: %v, got %+v", err, got)
	}
	if r := results[0]; r["chatbot"] != shop || r["name"] != "買い物 Shop" || r["status"] != "ok" || r["sessions"] != 1000.0 || r["leads"] != 334.0 ||
		r["verified"] != 143.0 || r["last_24h"] != 0.0 || r["usual_24h"] != 0.0 || r["missing_sessions"] != nil || r["newest_session"] != "2026-02-11T15:00:00Z" || r["seconds"] == nil {
		t.Errorf("got %v", r)
	}
	if r := results[1]; len(r) != 5 || r["status"] != "key refused" || r["reason"] != "unauthorized" {
		t.Errorf("got %v", r)
	}
}

// The result of check is the exit status of the process.
func TestCheckProcess(t *testing.T) {
	got := finish(t, command(t, newCheckAPI(t).environment, "check"))
	if got.status != 1 || timeTaken.ReplaceAllString(got.stdout, "7ms\n") != checkTable || strings.Count(got.stderr, "\n") != 2 {
		t.Errorf("got %+v, want\n%s", got, checkTable)
	}
}

// Without a list of chatbots, or interrupted, check fails and says why.
func TestCheckFails(t *testing.T) {
	t.Run("no list", func(t *testing.T) {
		api := newCheckAPI(t)
		api.unlisted.Store(true)
		got := execute(t, api.environment, "check")
		const row = "\n-        -     no list: not found  -         -      -         -         -      -        -               0s\n"
		if got.status != 1 || strings.Count(got.stdout, "\n") != 2 || !strings.HasSuffix(got.stdout, row) || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("got %+v, want %s", got, row)
		}
		contains(t, got.stderr, "level=warn", "reason=not_found", `hint="check the base URL; if it is right, the brand has no list of chatbots`)

		got = execute(t, api.environment, "check", "--format=json")
		var results []map[string]any
		if err := json.Unmarshal([]byte(got.stdout), &results); err != nil || got.status != 1 || len(results) != 1 || len(results[0]) != 3 ||
			results[0]["status"] != "no list: not found" || results[0]["reason"] != "not_found" {
			t.Errorf("in JSON: got %+v, %v", got, err)
		}
	})
	t.Run("no chatbots", func(t *testing.T) {
		api := httptest.NewServer(&simulator.Account{Key: key})
		defer api.Close()
		got := execute(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + api.URL}, "check", "--format=json", "--log.level=error")
		const want = "chatwize_exporter: error: check: the account has no chatbots; check the base URL and the API key\n"
		if got != (result{"[]\n", want, 1}) {
			t.Errorf("got %+v, want %s", got, want)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		url := startAPI(t, func(time.Time) simulator.Fault {
			interrupt()
			return simulator.Fault{Delay: time.Hour}
		})
		got := executeUntil(ctx, t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + url}, "check", "--chatwize.chatbot="+shop)
		if want := (result{"", "chatwize_exporter: error: check: interrupted\n", 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}
