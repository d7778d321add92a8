package e2e_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

// TestBackfill gives a Prometheus that begins today the whole past, by the exporter
// and promtool, and lets it scrape on.
func TestBackfill(t *testing.T) {
	t.Parallel()
	s := &stage{account: newAccount(time.Now())}
	s.apiURL = s.account.serve(t)
	s.startExporter(t, 0)
	instance := s.exporters[0].address
	began := time.Now()
	data := backfilled(t, s.apiURL, instance)
	s.server = startPrometheus(t, data, bundledRules, instance)
	eventually(t, "the exporter is scraped", func() error { return s.showsChatbots(t, 1) })

	t.Run("history", func(t *testing.T) { s.hasHistory(t, began) })
	t.Run("scrapes", func(t *testing.T) { s.goesOn(t, began, instance) })
}

// backfilled returns a data directory for Prometheus with all that the exporter's
// backfill writes, under the labels that a scrape of an instance has.
func backfilled(t *testing.T, apiURL, instance string) string {
	t.Helper()
	path, data := filepath.Join(t.TempDir(), "history.om"), t.TempDir()
	write := exec.CommandContext(t.Context(), exporter, "backfill", "--chatwize.url="+apiURL,
		"--label=job="+job, "--label=instance="+instance, "--output="+path, "--log.level=warn")
	write.Env = []string{"CHATWIZE_TOKEN=" + key}
	if output, err := write.CombinedOutput(); err != nil || len(output) > 0 {
		t.Fatalf("backfill: %v\n%s", err, output)
	}
	importBlocks(t, path, data, "200h")
	return data
}

// has counts the sessions of today's list that were created in a span, its end
// included, and the newest of them. The API tells milliseconds.
func (c *chatbot) has(from, to time.Time) numbers {
	var n numbers
	for s := range c.sessions(time.Now()) {
		created := s.Created.Truncate(time.Millisecond)
		if !created.After(from) || created.After(to) {
			continue
		}
		n.sessions++
		if s.Lead {
			n.leads++
		}
		if s.Verified {
			n.verified++
		}
		n.created = later(n.created, created)
	}
	return n
}

// hasHistory compares each metric, at many points of the past, with a count of the
// sessions that were there.
func (s *stage) hasHistory(t *testing.T, end time.Time) {
	until := func(of func(numbers) float64) func(*chatbot, time.Time) float64 {
		return func(c *chatbot, at time.Time) float64 { return of(c.has(time.Time{}, at)) }
	}
	metrics := map[string]func(*chatbot, time.Time) float64{
		"chatwize_sessions":                               until(func(n numbers) float64 { return n.sessions }),
		"chatwize_sessions_with_lead":                     until(func(n numbers) float64 { return n.leads }),
		"chatwize_sessions_with_verified_identity":        until(func(n numbers) float64 { return n.verified }),
		"chatwize_last_session_created_timestamp_seconds": until(func(n numbers) float64 { return unix(n.created) }),
		`chatwize_recent_sessions{window="1d"}`: func(c *chatbot, at time.Time) float64 {
			return c.has(at.Add(-day-1), at).sessions
		},
	}
	const step = 67 * time.Minute // falls on every other moment between samples
	from, to := end.AddDate(0, 0, -days).Add(6*time.Hour), end.Add(-time.Minute)
	for metric, of := range metrics {
		values, err := s.span(t.Context(), metric, from, to, step)
		if err != nil {
			t.Fatal(err)
		}
		times, err := s.span(t.Context(), "timestamp("+metric+")", from, to, step)
		if err != nil {
			t.Fatal(err)
		}
		if len(values) != len(s.account.chatbots()) || len(times) != len(values) {
			t.Fatalf("%s has %d series", metric, len(values))
		}
		for _, series := range values {
			i := slices.IndexFunc(s.account.chatbots(), func(c *chatbot) bool { return c.uuid == string(series.Metric["chatbot"]) })
			c := s.account.chatbots()[i]
			sampled := byChatbot(times)[series.Metric["chatbot"]].Values
			want := 0
			for at := from.Truncate(step); !at.After(to.Truncate(step)); at = at.Add(step) {
				if metric != "chatwize_last_session_created_timestamp_seconds" || c.has(time.Time{}, at.Add(-historyStep)).sessions > 0 {
					want++
				}
			}
			// A first session may have come just before a moment.
			if more := len(series.Values) - want; more < 0 || more > 1 || len(sampled) != len(series.Values) {
				t.Errorf("%s of %s is there at %d moments, want %d", metric, c.name, len(series.Values), want)
				continue
			}
			for k, value := range series.Values {
				at := time.Unix(0, int64(float64(sampled[k].Value)*1e9))
				if late := value.Timestamp.Time().Sub(at); late < 0 || late >= historyStep {
					t.Errorf("%s of %s at %v is %v old", metric, c.name, value.Timestamp.Time(), late)
				}
				if want := of(c, at); float64(value.Value) != want {
					t.Errorf("%s of %s was %v at %v, want %v", metric, c.name, value.Value, at, want)
				}
			}
		}
	}
}

// goesOn checks that scrapes continue the series of the past, with nothing between
// but what came.
func (s *stage) goesOn(t *testing.T, began time.Time, instance string) {
	for metric, of := range map[string]func(numbers) float64{
		"chatwize_sessions":                        func(n numbers) float64 { return n.sessions },
		"chatwize_sessions_with_lead":              func(n numbers) float64 { return n.leads },
		"chatwize_sessions_with_verified_identity": func(n numbers) float64 { return n.verified },
	} {
		value, _, err := s.Query(t.Context(), metric+"[20m]", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		all := value.(model.Matrix)
		if len(all) != len(s.account.chatbots()) {
			t.Errorf("%s: history and scrapes are %d series", metric, len(all))
		}
		for uuid, series := range byChatbot(all) {
			i := slices.IndexFunc(s.account.chatbots(), func(c *chatbot) bool { return c.uuid == string(uuid) })
			c := s.account.chatbots()[i]
			first := slices.IndexFunc(series.Values, func(p model.SamplePair) bool { return p.Timestamp.Time().After(began.Add(time.Second)) })
			if first < 3 {
				t.Fatalf("%s of %s: the first scrape is sample %d", metric, c.name, first)
			}
			last, scraped := series.Values[first-1], series.Values[first]
			if gap := scraped.Timestamp.Sub(last.Timestamp); gap > historyStep {
				t.Errorf("%s of %s has a gap of %v", metric, c.name, gap)
			}
			end := last.Timestamp.Time()
			if began.Sub(end).Abs() > 5*time.Second {
				t.Errorf("%s of %s ends at %v, not at %v", metric, c.name, end, began)
			}
			// Until the scrape was answered, later than its timestamp, more may have come.
			most := of(c.has(end, scraped.Timestamp.Time().Add(scrapeInterval)))
			if step := float64(scraped.Value - last.Value); step < 0 || step > most {
				t.Errorf("%s of %s goes on %v higher, want %v at most", metric, c.name, step, most)
			}
		}
	}
	labels, err := s.instant(t.Context(), `count by (job, instance) (chatwize_sessions offset 1d)`, time.Now())
	if err != nil || len(labels) != 1 || labels[0].Metric["job"] != job || labels[0].Metric["instance"] != model.LabelValue(instance) {
		t.Errorf("the history is of %v, %v", labels, err)
	}
}

// byChatbot makes one series of those that a chatbot has after a renaming.
func byChatbot(matrix model.Matrix) map[model.LabelValue]*model.SampleStream {
	all := map[model.LabelValue]*model.SampleStream{}
	for _, series := range matrix {
		uuid := series.Metric["chatbot"]
		if all[uuid] == nil {
			all[uuid] = &model.SampleStream{}
		}
		all[uuid].Values = append(all[uuid].Values, series.Values...)
		slices.SortFunc(all[uuid].Values, func(a, b model.SamplePair) int { return int(a.Timestamp - b.Timestamp) })
	}
	return all
}
