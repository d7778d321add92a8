package collector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answer is what the API has to say of a chatbot.
type answer struct {
	sessions []client.Session
	err      error
	takes    time.Duration
}

// api answers for chatbots by their UUID.
type api map[string]answer

func (a api) Sessions(ctx context.Context, chatbot string, _ time.Time, _ *client.Validator) iter.Seq2[client.Session, error] {
	return func(yield func(client.Session, error) bool) {
		answer := a[chatbot]
		select {
		case <-time.After(answer.takes):
		case <-ctx.Done():
			yield(client.Session{}, &client.Error{Reason: client.Timeout, Err: context.Cause(ctx)})
			return
		}
		for _, session := range answer.sessions {
			if !yield(session, nil) {
				return
			}
		}
		if answer.err != nil {
			yield(client.Session{}, answer.err)
		}
	}
}

func (api) Chatbots(context.Context) ([]client.Chatbot, int, error) { return nil, 0, nil }

// The clock of the tests stands at midnight when each begins.
var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// newSource returns a Source with a timeout of a minute.
func newSource(api collector.API, concurrency int, registry *prometheus.Registry, logger log.Logger) *collector.Source {
	return collector.NewSource(collector.SourceConfig{
		API: api, Concurrency: concurrency, Timeout: time.Minute, Registerer: registry, Logger: logger,
	})
}

// fetch fetches a single chatbot.
func fetch(ctx context.Context, source *collector.Source, chatbot string) collector.Fetch {
	return source.FetchAll(ctx, []collector.Chatbot{{UUID: chatbot}})[0]
}

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

// What is gathered is what is collected, of the fetches that a cache answers with
// as of new ones.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector.New(collector.NewSource(collector.SourceConfig{
			API: &tries{answers: []answer{
				{sessions: make([]client.Session, 1)}, {sessions: make([]client.Session, 2)}, {err: &client.Error{Reason: client.NotFound}},
			}},
			Concurrency: 1, Timeout: time.Minute, CacheTTL: time.Minute, Registerer: prometheus.NewRegistry(), Logger: log.NewNopLogger(),
		}), collector.Chatbots{{UUID: "a"}})
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

// Every reason is there from the start, and a failed fetch counts one of them.
func TestErrors(t *testing.T) {
	page := func(failed client.Reason) string {
		var page strings.Builder
		page.WriteString("# HELP chatwize_api_errors_total Fetches from the Chatwize API that failed, by reason.\n" +
			"# TYPE chatwize_api_errors_total counter\n")
		for _, reason := range []client.Reason{"unauthorized", "not_found", "rate_limited", "server_error",
			"unexpected_status", "timeout", "network", "invalid_response"} {
			n := 0
			if reason == failed {
				n = 1
			}
			fmt.Fprintf(&page, "chatwize_api_errors_total{reason=%q} %d\n", reason, n)
		}
		return page.String()
	}
	for _, reason := range client.Reasons() {
		t.Run(string(reason), func(t *testing.T) {
			registry := prometheus.NewPedanticRegistry()
			var logged bytes.Buffer
			source := newSource(api{
				"a": {err: &client.Error{Reason: reason, Err: errors.New("no luck")}},
			}, 1, registry, log.NewLogfmtLogger(&logged))
			const name = "chatwize_api_errors_total"
			if err := testutil.GatherAndCompare(registry, strings.NewReader(page("")), name); err != nil {
				t.Error(err)
			}
			fetch(t.Context(), source, "b")
			fetch(t.Context(), source, "a")
			if err := testutil.GatherAndCompare(registry, strings.NewReader(page(reason)), name); err != nil {
				t.Error(err)
			}
			if text := logged.String(); strings.Count(text, "\n") != 1 ||
				!strings.Contains(text, "chatbot=a ") || !strings.Contains(text, "reason="+string(reason)+" ") || !strings.Contains(text, "todo=") {
				t.Errorf("logged %s", text)
			}
		})
	}
}

// counting counts the requests that an API gets at a time.
type counting struct {
	api
	mutex     sync.Mutex
	now, most int
}

func (c *counting) add(n int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.now += n
	c.most = max(c.most, c.now)
}

func (c *counting) Sessions(ctx context.Context, chatbot string, since time.Time, known *client.Validator) iter.Seq2[client.Session, error] {
	return func(yield func(client.Session, error) bool) {
		c.add(1)
		defer c.add(-1)
		c.api.Sessions(ctx, chatbot, since, known)(yield)
	}
}

// However many scrapes there are, no more than the given number of requests are
// under way, and no fewer while there is work.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counting := &counting{api: api{}}
		source := newSource(counting, 3, prometheus.NewRegistry(), log.NewNopLogger())
		start := time.Now()
		scraped := make(chan int)
		var collectors []*collector.Collector
		for scrape := range 2 {
			var chatbots collector.Chatbots
			for i := range 10 {
				chatbot := collector.Chatbot{UUID: fmt.Sprint(scrape, i)}
				counting.api[chatbot.UUID] = answer{takes: time.Second}
				chatbots = append(chatbots, chatbot)
			}
			collectors = append(collectors, collector.New(source, chatbots).WithContext(t.Context()))
		}
		for _, c := range collectors {
			go func() { scraped <- testutil.CollectAndCount(c, "chatwize_up") }()
		}
		if n := <-scraped + <-scraped; n != 20 {
			t.Errorf("got %d chatbots, want 20", n)
		}
		if counting.most != 3 {
			t.Errorf("there were %d requests at a time, want 3", counting.most)
		}
		if took := time.Since(start); took != 7*time.Second { // 20 requests, 3 at a time
			t.Errorf("took %v, want 7s", took)
		}
	})
}

// A scrape ends with its context, for the chatbots that are being fetched as for
// those whose turn has not come; those that were in time keep their numbers.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newSource(api{
			"fast": {takes: time.Second}, "slow": {takes: time.Hour}, "waiting": {},
		}, 1, prometheus.NewRegistry(), log.NewNopLogger())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		got := map[string]collector.Fetch{}
		chatbots := []collector.Chatbot{{UUID: "fast"}, {UUID: "slow"}, {UUID: "waiting"}}
		for i, fetch := range source.FetchAll(ctx, chatbots) {
			got[chatbots[i].UUID] = fetch
		}
		if fast := got["fast"]; fast.Err != nil || fast.Took != time.Second {
			t.Errorf("fast: got %+v", fast)
		}
		for chatbot, took := range map[string]time.Duration{"slow": 9 * time.Second, "waiting": 10 * time.Second} {
			var failure *client.Error
			if !errors.As(got[chatbot].Err, &failure) || failure.Reason != client.Timeout ||
				!errors.Is(failure, context.DeadlineExceeded) || got[chatbot].Took != took {
				t.Errorf("%s: got %+v", chatbot, got[chatbot])
			}
		}
		if text := got["waiting"].Err.Error(); !strings.Contains(text, "--chatwize.concurrency") {
			t.Errorf("the one that waited says %s", text)
		}
	})
}
