package check_test

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rivo/uniseg"
	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/check"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api fails for each chatbot as its UUID says.
type api map[string]error

func (a api) Sessions(_ context.Context, chatbot string, _ time.Time, _ *client.Validator) iter.Seq2[client.Session, error] {
	return func(yield func(client.Session, error) bool) { yield(client.Session{HasLead: true}, a[chatbot]) }
}

func (api) Chatbots(context.Context) ([]client.Chatbot, int, error) { return nil, 0, nil }

func TestRun(t *testing.T) {
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
		{"not a session list", &client.Error{Reason: client.InvalidResponse, Status: 200}},
		// The last, as nothing is asked for after it.
		{"rate limited until " + until.Local().Format(time.TimeOnly), &client.Error{Reason: client.RateLimited, Status: 429, RetryAt: until}},
	}
	api := api{}
	var chatbots collector.Chatbots
	for _, s := range statuses {
		api[s.status] = s.err
		chatbots = append(chatbots, collector.Chatbot{UUID: s.status})
	}
	source := collector.NewSource(collector.SourceConfig{
		API: api, Concurrency: 1, Timeout: time.Minute, Registerer: prometheus.NewRegistry(), Logger: log.NewNopLogger(),
	})
	var done atomic.Int64
	results := check.Run(t.Context(), source, chatbots[:len(chatbots)-1], func() { done.Add(1) })
	results = append(results, check.Run(t.Context(), source, chatbots[len(chatbots)-1:], func() { done.Add(1) })...)
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
