package collector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The clock of the tests stands at midnight when each begins.
var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// fetcher returns results by UUID after a second, or at the end of the context without
// them.
type fetcher map[string]fetch.Result

func (f fetcher) FetchAll(ctx context.Context, chatbots []client.Chatbot) (results []fetch.Result) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		f = nil
	}
	for _, chatbot := range chatbots {
		result, ok := f[chatbot.UUID]
		if !ok {
			result.Err = context.Cause(ctx)
		}
		results = append(results, result)
	}
	return results
}

// unlisted is a directory that knows no chatbots.
type unlisted struct{}

func (unlisted) Chatbots(context.Context) ([]client.Chatbot, error) {
	return nil, errors.New("no list")
}

// Each chatbot has its metrics, and one that failed has no numbers.
func TestCollect(t *testing.T) {
	const (
		busy   = "7f5e5376dbf045cd8c72c60f428653d1"
		empty  = "7F5E5376-DBF0-45CD-8C72-C60F428653D2"
		odd    = "7f5e5376dbf045cd8c72c60f428653d3"
		broken = "7f5e5376dbf045cd8c72c60f428653d4"
	)
	results := fetcher{
		busy: {Received: midnight.Add(250 * time.Millisecond), Took: 250 * time.Millisecond, Numbers: &tally.Numbers{Counts: tally.Counts{
			Sessions: 4, WithLead: 2, WithVerifiedIdentity: 1,
			LastCreated: midnight.Add(-8*time.Minute + 123456*time.Microsecond), LastModified: midnight.Add(-3 * time.Minute),
		}}},
		empty:  {Received: midnight, Numbers: &tally.Numbers{}},
		odd:    {Received: midnight, Numbers: &tally.Numbers{Counts: tally.Counts{Sessions: 2, WithVerifiedIdentity: 1, Malformed: 2}}},
		broken: {Received: midnight, Took: time.Second, Numbers: &tally.Numbers{Counts: tally.Counts{Sessions: 1, WithLead: 1}}, Err: &client.Error{Reason: client.ServerError, Status: 502}},
	}
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewPedanticRegistry()
		var logged bytes.Buffer
		registry.MustRegister(collector.Collector{
			Context: t.Context(), Source: results, Logger: log.NewLogfmtLogger(&logged),
			Chatbots: fetch.Configured{
				{UUID: busy, Name: "Shop"}, {UUID: empty}, {UUID: odd, Name: `"Ödd"`}, {UUID: broken, Name: "Broken"},
			},
		})
		// 946684800 is midnight.
		want := `
# HELP chatwize_chatbot_info The chatbot's name; always 1.
# TYPE chatwize_chatbot_info gauge
chatwize_chatbot_info{chatbot="7F5E5376-DBF0-45CD-8C72-C60F428653D2",name="7F5E5376-DBF0-45CD-8C72-C60F428653D2"} 1
chatwize_chatbot_info{chatbot="7f5e5376dbf045cd8c72c60f428653d1",name="Shop"} 1
chatwize_chatbot_info{chatbot="7f5e5376dbf045cd8c72c60f428653d3",name="\"Ödd\""} 1
chatwize_chatbot_info{chatbot="7f5e5376dbf045cd8c72c60f428653d4",name="Broken"} 1
# HELP chatwize_fetch_duration_seconds How long the last fetch of the chatbot's sessions took, successful or not.
# TYPE chatwize_fetch_duration_seconds gauge
chatwize_fetch_duration_seconds{chatbot="7F5E5376-DBF0-45CD-8C72-C60F428653D2"} 0
chatwize_fetch_duration_seconds{chatbot="7f5e5376dbf045cd8c72c60f428653d1"} 0.25
chatwize_fetch_duration_seconds{chatbot="7f5e5376dbf045cd8c72c60f428653d3"} 0
chatwize_fetch_duration_seconds{chatbot="7f5e5376dbf045cd8c72c60f428653d4"} 1
# HELP chatwize_fetch_failure_info Why the chatbot's sessions could not be fetched, as in chatwize_api_errors_total; always 1.
# TYPE chatwize_fetch_failure_info gauge
chatwize_fetch_failure_info{chatbot="7f5e5376dbf045cd8c72c60f428653d4",reason="server_error"} 1
# HELP chatwize_last_fetch_timestamp_seconds When the chatbot's numbers were fetched, in Unix time.
# TYPE chatwize_last_fetch_timestamp_seconds gauge
chatwize_last_fetch_timestamp_seconds{chatbot="7F5E5376-DBF0-45CD-8C72-C60F428653D2"} 9.466848e+08
chatwize_last_fetch_timestamp_seconds{chatbot="7f5e5376dbf045cd8c72c60f428653d1"} 9.4668480025e+08
chatwize_last_fetch_timestamp_seconds{chatbot="7f5e5376dbf045cd8c72c60f428653d3"} 9.466848e+08
# HELP chatwize_last_session_created_timestamp_seconds When the newest session was created, in Unix time.
# TYPE chatwize_last_session_created_timestamp_seconds gauge
chatwize_last_session_created_timestamp_seconds{chatbot="7f5e5376dbf045cd8c72c60f428653d1"} 9.46684320123456e+08
# HELP chatwize_last_session_modified_timestamp_seconds When a session was last modified, in Unix time.
# TYPE chatwize_last_session_modified_timestamp_seconds gauge
chatwize_last_session_modified_timestamp_seconds{chatbot="7f5e5376dbf045cd8c72c60f428653d1"} 9.4668462e+08
# HELP chatwize_malformed_sessions Sessions that break the documented shape; they are counted as sessions all the same.
# TYPE chatwize_malformed_sessions gauge
chatwize_malformed_sessions{chatbot="7F5E5376-DBF0-45CD-8C72-C60F428653D2"} 0
chatwize_malformed_sessions{chatbot="7f5e5376dbf045cd8c72c60f428653d1"} 0
chatwize_malformed_sessions{chatbot="7f5e5376dbf045cd8c72c60f428653d3"} 2
# HELP chatwize_sessions Sessions of the chatbot.
# TYPE chatwize_sessions gauge
chatwize_sessions{chatbot="7F5E5376-DBF0-45CD-8C72-C60F428653D2"} 0
chatwize_sessions{chatbot="7f5e5376dbf045cd8c72c60f428653d1"} 4
chatwize_sessions{chatbot="7f5e5376dbf045cd8c72c60f428653d3"} 2
# HELP chatwize_sessions_with_lead Sessions whose visitor submitted the lead form.
# TYPE chatwize_sessions_with_lead gauge
chatwize_sessions_with_lead{chatbot="7F5E5376-DBF0-45CD-8C72-C60F428653D2"} 0
chatwize_sessions_with_lead{chatbot="7f5e5376dbf045cd8c72c60f428653d1"} 2
chatwize_sessions_with_lead{chatbot="7f5e5376dbf045cd8c72c60f428653d3"} 0
# HELP chatwize_sessions_with_verified_identity Sessions whose visitor's identity was verified and saved.
# TYPE chatwize_sessions_with_verified_identity gauge
chatwize_sessions_with_verified_identity{chatbot="7F5E5376-DBF0-45CD-8C72-C60F428653D2"} 0
chatwize_sessions_with_verified_identity{chatbot="7f5e5376dbf045cd8c72c60f428653d1"} 1
chatwize_sessions_with_verified_identity{chatbot="7f5e5376dbf045cd8c72c60f428653d3"} 1
# HELP chatwize_up Whether the chatbot's sessions could be fetched and read to the end (1) or not (0).
# TYPE chatwize_up gauge
chatwize_up{chatbot="7F5E5376-DBF0-45CD-8C72-C60F428653D2"} 1
chatwize_up{chatbot="7f5e5376dbf045cd8c72c60f428653d1"} 1
chatwize_up{chatbot="7f5e5376dbf045cd8c72c60f428653d3"} 1
chatwize_up{chatbot="7f5e5376dbf045cd8c72c60f428653d4"} 0
`
		names := []string{"chatwize_chatbot_info", "chatwize_fetch_failure_info", "chatwize_fetch_duration_seconds", "chatwize_last_fetch_timestamp_seconds",
			"chatwize_last_session_created_timestamp_seconds", "chatwize_last_session_modified_timestamp_seconds",
			"chatwize_malformed_sessions", "chatwize_sessions", "chatwize_sessions_with_lead",
			"chatwize_sessions_with_verified_identity", "chatwize_up"}
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), names...); err != nil {
			t.Error(err)
		}
		wantLog := `level=debug msg="Fetched the chatbots" chatbots=4 failed=1 took=1s` + "\n"
		if logged.String() != wantLog {
			t.Errorf("logged %s\nwant %s", logged.String(), wantLog)
		}
		problems, err := testutil.GatherAndLint(registry)
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	})
}

// A chatbot has each number of its activity that is known, 34 series at most.
func TestActivity(t *testing.T) {
	number := 0.0
	next := func() float64 {
		number++
		return number + 0.5
	}
	all := tally.Numbers{Counts: tally.Counts{LastCreated: midnight, LastModified: midnight}}
	for kind := range all.Recent {
		for i := range all.Recent[kind] {
			all.Recent[kind][i] = next()
		}
		for i := range all.Usual[kind] {
			all.Usual[kind][i] = tally.Value{Number: next(), Known: true}
		}
		all.Missing[kind] = tally.Value{Number: next(), Known: true}
	}
	snapshot := collector.Snapshot{
		{Chatbot: client.Chatbot{UUID: "all"}, Result: fetch.Result{Numbers: &all}},
		{Chatbot: client.Chatbot{UUID: "new"}, Result: fetch.Result{Numbers: &tally.Numbers{}}},
		{Chatbot: client.Chatbot{UUID: "failed"}, Result: fetch.Result{Err: &client.Error{Reason: client.NotFound}}},
	}
	var want strings.Builder
	number = 0
	var names []string
	for _, kind := range []string{"", "_with_lead", "_with_verified_identity"} {
		help := map[string]string{
			"": "Sessions", "_with_lead": "Sessions with a lead", "_with_verified_identity": "Sessions with a verified identity",
		}[kind]
		recent, usual, missing := "chatwize_recent_sessions"+kind, "chatwize_usual_sessions"+kind, "chatwize_missing_sessions"+kind
		names = append(names, recent, usual, missing)
		fmt.Fprintf(&want, "# HELP %s %s created within the last window.\n# TYPE %s gauge\n", recent, help, recent)
		for _, window := range []string{"1h", "1d", "7d", "28d"} {
			fmt.Fprintf(&want, "%s{chatbot=\"all\",window=\"%s\"} %v\n", recent, window, next())
			fmt.Fprintf(&want, "%s{chatbot=\"new\",window=\"%s\"} 0\n", recent, window)
		}
		usualHelp := "Usual number of " + strings.ToLower(help[:1]) + help[1:] + " in the window: the median of one to four weeks ago."
		fmt.Fprintf(&want, "# HELP %s %s\n# TYPE %s gauge\n", usual, usualHelp, usual)
		for _, window := range []string{"1h", "1d", "7d"} {
			fmt.Fprintf(&want, "%s{chatbot=\"all\",window=\"%s\"} %v\n", usual, window, next())
		}
		missingHelp := map[string]string{
			"":                        "Usual number of sessions in a period as long as the time since the newest session.",
			"_with_lead":              "Usual number of leads in as many sessions as came since the newest session with a lead.",
			"_with_verified_identity": "Usual number of verified identities in as many sessions as came since the newest session with one.",
		}[kind]
		fmt.Fprintf(&want, "# HELP %s %s\n# TYPE %s gauge\n%s{chatbot=\"all\"} %v\n", missing, missingHelp, missing, missing, next())
	}
	if err := testutil.CollectAndCompare(snapshot, strings.NewReader(want.String()), names...); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(snapshot[:1]); n != 34 {
		t.Errorf("got %d series", n)
	}
	if problems, err := testutil.CollectAndLint(snapshot); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// A scrape ends with its context.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		c := collector.Collector{Context: ctx, Chatbots: fetch.Configured{{UUID: "a"}}, Source: fetcher{"a": {Numbers: &tally.Numbers{}}}, Logger: log.NewNopLogger()}
		want := `
# HELP chatwize_up Whether the chatbot's sessions could be fetched and read to the end (1) or not (0).
# TYPE chatwize_up gauge
chatwize_up{chatbot="a"} 0
`
		if err := testutil.CollectAndCompare(c, strings.NewReader(want), "chatwize_up"); err != nil {
			t.Error(err)
		}
		if took := time.Since(midnight); took != 500*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// Without a list of chatbots there are no metrics of chatbots.
func TestUnlisted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector.Collector{Context: t.Context(), Chatbots: unlisted{}, Source: fetcher{}, Logger: log.NewNopLogger()}
		if n := testutil.CollectAndCount(c); n != 0 {
			t.Errorf("got %d metrics", n)
		}
	})
}

// The dated metrics are those that backfill can write.
func TestDatedMetrics(t *testing.T) {
	var got []string
	for _, metric := range collector.DatedMetrics() {
		got = append(got, strings.TrimSpace(metric.Name+" "+metric.Window))
	}
	want := []string{"chatwize_last_session_created_timestamp_seconds"}
	for _, kind := range []string{"sessions", "sessions_with_lead", "sessions_with_verified_identity"} {
		want = append(want, "chatwize_"+kind, "chatwize_missing_"+kind, "chatwize_recent_"+kind+" 28d")
		for _, window := range []string{" 1h", " 1d", " 7d"} {
			want = append(want, "chatwize_recent_"+kind+window, "chatwize_usual_"+kind+window)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
