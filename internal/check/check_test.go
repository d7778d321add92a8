package check_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rivo/uniseg"
	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/check"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api fails for each chatbot as its UUID says.
type api map[string]error

func (a api) FetchAll(_ context.Context, chatbots []client.Chatbot) (results []fetch.Result) {
	for _, chatbot := range chatbots {
		results = append(results, fetch.Result{Numbers: &tally.Numbers{}, Err: a[chatbot.UUID]})
	}
	return results
}

func TestFetch(t *testing.T) {
	until := time.Now().Add(10 * time.Minute)
	statuses := []struct {
		status string
		err    error
	}{
		{"ok", nil},
		{"key refused", &client.Error{Reason: client.Unauthorized, Status: 403}},
		{"no key to send", &client.Error{Reason: client.Unauthorized}},
		{"not found", &client.Error{Reason: client.NotFound, Status: 404}},
		{"server error 500", &client.Error{Reason: client.ServerError, Status: 500}},
		{"unexpected status 302", &client.Error{Reason: client.UnexpectedStatus, Status: 302}},
		{"timed out", &client.Error{Reason: client.Timeout}},
		{"connection failed", &client.Error{Reason: client.Network}},
		{"server error 503 until " + until.UTC().Format(time.RFC3339), &fetch.Error{Reason: client.ServerError, PausedUntil: until, Err: &client.Error{Status: 503}}},
		{"only a page of the list", &client.Error{Reason: client.InvalidResponse, Status: 200, Err: client.ErrPage}},
		{"not a session list", &client.Error{Reason: client.InvalidResponse, Status: 200}},
		{"rate limited", &client.Error{Reason: client.RateLimited, Status: 429}},
		{"rate limited until " + until.UTC().Format(time.RFC3339), &fetch.Error{Reason: client.RateLimited, PausedUntil: until}},
	}
	api := api{}
	var chatbots []client.Chatbot
	for _, s := range statuses {
		api[s.status] = s.err
		chatbots = append(chatbots, client.Chatbot{UUID: s.status})
	}
	var done atomic.Int64
	results := check.Fetch(t.Context(), api, chatbots, func() { done.Add(1) })
	for i, s := range statuses {
		r := results[i]
		if r.Chatbot != s.status || r.Status != s.status || r.OK() != (s.err == nil) || (r.Sessions != nil) != r.OK() {
			t.Errorf("got %+v, want %q", r, s.status)
		}
	}
	if done.Load() != int64(len(statuses)) {
		t.Errorf("%d are done, want %d", done.Load(), len(statuses))
	}
}

// one returns the same numbers for each chatbot.
type one tally.Numbers

func (o one) FetchAll(_ context.Context, chatbots []client.Chatbot) []fetch.Result {
	return slices.Repeat([]fetch.Result{{Numbers: (*tally.Numbers)(&o)}}, len(chatbots))
}

// The numbers are those of a day, and the missing ones of each kind.
func TestActivity(t *testing.T) {
	known := func(n float64) tally.Value { return tally.Value{Number: n, Known: true} }
	const all, leads, verified = tally.AllSessions, tally.WithLead, tally.WithVerifiedIdentity
	var numbers one
	for i, window := range tally.RecentWindows {
		numbers.Recent[all][i] = window.Hours()
	}
	for i, window := range tally.UsualWindows {
		numbers.Usual[all][i] = known(window.Hours() + 0.75)
	}
	numbers.Missing = [3]tally.Value{all: known(12.25), leads: known(3), verified: {}}
	results := check.Fetch(t.Context(), numbers, []client.Chatbot{{UUID: "a"}}, func() {})
	var table, json strings.Builder
	if err := errors.Join(check.WriteTable(&table, results), check.WriteJSON(&json, results)); err != nil {
		t.Fatal(err)
	}
	const wantTable = "" +
		"CHATBOT  NAME  STATUS  SESSIONS  LEADS  VERIFIED  LAST 24H  USUAL  MISSING  NEWEST SESSION  TIME TAKEN\n" +
		"a        a     ok      0         0      0         24        25     12       -               0s\n"
	if table.String() != wantTable {
		t.Errorf("got\n%s", &table)
	}
	const wantJSON = `"last_24h":24,"usual_24h":24.75,"missing_sessions":12.25,"missing_leads":3,"seconds":0}`
	if got := strings.Join(strings.Fields(json.String()), ""); !strings.Contains(got, wantJSON) {
		t.Errorf("got %s", got)
	}
}

// Columns stand where their headings do, whatever the names, which cannot steer the
// terminal.
func TestWriteTable(t *testing.T) {
	names := []string{"Shop", "日本語のチャットボット", "Zoe\u0308 cafe\u0301", "👩‍👩‍👧 family", "\x1b[31mred\x1b[0m", "two\nlines\tand a tab", "\u200b", "a\x00b"}
	var results []check.Result
	for _, name := range names {
		results = append(results, check.Result{Chatbot: "uuid", Name: name, Status: "status!"})
	}
	var table strings.Builder
	if err := check.WriteTable(&table, results); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(table.String(), "\n"), "\n")
	if len(lines) != len(names)+1 {
		t.Fatalf("got %d lines in\n%s", len(lines), &table)
	}
	heading, _, _ := strings.Cut(lines[0], "STATUS")
	for _, line := range lines[1:] {
		before, _, found := strings.Cut(line, "status!")
		if !found || uniseg.StringWidth(before) != len(heading) {
			t.Errorf("out of line: %q", line)
		}
	}
	for _, want := range []string{"日本語のチャットボット", "Zoe\u0308 cafe\u0301", "�[31mred�[0m", "two�lines�and a tab"} {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, want) }) {
			t.Errorf("%q is missing in\n%s", want, &table)
		}
	}
}
