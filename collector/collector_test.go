package collector_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCollect(t *testing.T) {
	const (
		busy   = "7f5e5376dbf045cd8c72c60f428653d1"
		empty  = "7F5E5376-DBF0-45CD-8C72-C60F428653D2"
		odd    = "7f5e5376dbf045cd8c72c60f428653d3"
		broken = "7f5e5376dbf045cd8c72c60f428653d4"
	)
	minute := func(n int) time.Time { return midnight.Add(time.Duration(n) * time.Minute) }
	source := api{
		busy: {takes: 250 * time.Millisecond, sessions: []client.Session{
			{Created: minute(-9), Modified: minute(-9), HasLead: true},
			{Created: minute(-11), Modified: minute(-3)},
			{Created: minute(-8).Add(123456 * time.Microsecond), Modified: minute(-8), HasLead: true, IdentityVerified: true},
			{Created: minute(-10), Modified: minute(-10)},
		}},
		empty: {},
		odd:   {sessions: []client.Session{{Malformed: true}, {Malformed: true, IdentityVerified: true}}},
		broken: {takes: time.Second, sessions: []client.Session{{HasLead: true}},
			err: &client.Error{Reason: client.ServerError, Status: 502}},
	}
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewPedanticRegistry()
		var logged bytes.Buffer
		registry.MustRegister(collector.New(
			newSource(source, 4, registry, log.NewLogfmtLogger(&logged)),
			collector.Chatbots{
				{UUID: busy, Name: "Shop"}, {UUID: empty}, {UUID: odd, Name: `"Ödd"`}, {UUID: broken, Name: "Broken"},
			}))
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
		names := []string{"chatwize_chatbot_info", "chatwize_fetch_duration_seconds", "chatwize_last_fetch_timestamp_seconds",
			"chatwize_last_session_created_timestamp_seconds", "chatwize_last_session_modified_timestamp_seconds",
			"chatwize_malformed_sessions", "chatwize_sessions", "chatwize_sessions_with_lead",
			"chatwize_sessions_with_verified_identity", "chatwize_up"}
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), names...); err != nil {
			t.Error(err)
		}
		wantLog := `level=warn msg="fetching the sessions failed" chatbot=` + broken +
			` name=Broken reason=server_error err="the API answered 502 Bad Gateway" todo="wait; if it lasts, ask the platform's support"` + "\n" +
			`level=debug msg="collected the chatbots" chatbots=4 failed=1 took=1s` + "\n"
		if logged.String() != wantLog {
			t.Errorf("logged %s\nwant %s", logged.String(), wantLog)
		}
		problems, err := testutil.GatherAndLint(registry)
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	})
}

// A scrape ends with its context. The next is not bound to that.
func TestWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newSource(api{"a": {takes: 20 * time.Second}}, 1, prometheus.NewRegistry(), log.NewNopLogger())
		c := collector.New(source, collector.Chatbots{{UUID: "a"}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for _, scrape := range []struct {
			collector *collector.Collector
			up        int
			took      time.Duration
		}{{c.WithContext(ctx), 0, 10 * time.Second}, {c, 1, 20 * time.Second}} {
			start := time.Now()
			want := fmt.Sprintf("# HELP chatwize_up Whether the chatbot's sessions could be fetched and read to the end (1) or not (0).\n"+
				"# TYPE chatwize_up gauge\nchatwize_up{chatbot=\"a\"} %d\n", scrape.up)
			if err := testutil.CollectAndCompare(scrape.collector, strings.NewReader(want), "chatwize_up"); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took != scrape.took {
				t.Errorf("took %v, want %v", took, scrape.took)
			}
		}
	})
}

// While a cache answers, what was gathered is had again as it is, of all chatbots
// and of single ones.
func TestGatherAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newSource(api{}, 1, prometheus.NewRegistry(), log.NewNopLogger(), caching(time.Minute))
		c := collector.New(source, collector.Chatbots{{UUID: "a"}, {UUID: "b"}})
		gather := func(c *collector.Collector, chatbots int) *dto.MetricFamily {
			families, err := c.Gather()
			if err != nil || len(families) == 0 || len(families[0].GetMetric()) != chatbots {
				t.Fatalf("gathered %v, %v, want %d chatbots", families, err, chatbots)
			}
			return families[0]
		}
		all, one := gather(c, 2), c.Only(collector.Chatbot{UUID: "b"})
		single := gather(one, 1)
		if gather(c, 2) != all || gather(c.WithContext(t.Context()), 2) != all || gather(one, 1) != single {
			t.Error("gathered anew what had not changed")
		}
		time.Sleep(time.Minute)
		if gather(c, 2) == all || gather(one, 1) == single {
			t.Error("gathered what is out of date")
		}
	})
}

// What is gathered is what is collected, of the fetches that a cache answers with
// as of new ones.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := &tries{answers: []answer{
			{sessions: make([]client.Session, 1)}, {sessions: make([]client.Session, 2)}, {err: &client.Error{Reason: client.NotFound}},
		}}
		source := newSource(tries, 1, prometheus.NewRegistry(), log.NewNopLogger(), caching(time.Minute))
		c := collector.New(source, collector.Chatbots{{UUID: "a"}})
		for i, sessions := range []int{1, 1, 2, 2, 0, 0} {
			want := "# HELP chatwize_sessions Sessions of the chatbot.\n# TYPE chatwize_sessions gauge\n" +
				fmt.Sprintf("chatwize_sessions{chatbot=\"a\"} %d\n", sessions)
			if sessions == 0 {
				want = ""
			}
			if err := testutil.GatherAndCompare(c.WithContext(t.Context()), strings.NewReader(want), "chatwize_sessions"); err != nil {
				t.Errorf("step %d: %v", i, err)
			}
			time.Sleep(30 * time.Second)
		}
	})
}
