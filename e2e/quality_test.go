package e2e_test

import (
	"fmt"
	"math"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// The simulated year has both days on which clocks are set. Chatbots begin seven weeks before.
var (
	yearBegin = time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	yearEnd   = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	lifeBegin = yearBegin.AddDate(0, 0, -49)
	// Incidents begin within three days of a week without holidays.
	incidentBegin = time.Date(2025, 9, 9, 0, 0, 0, 0, time.UTC)
)

const (
	worstFalseAlarms = 0.2 // per chatbot and year, outside holidays
	worstDelay       = 1.8 // of the limit, the median
)

// TestAlertQuality plays simulated chatbots through backfill into a real Prometheus, and asks it
// the expressions of the alerts on sessions. With ALERT_QUALITY=full, there are many chatbots; with
// ALERT_QUALITY_TABLE, the results are written into that file.
func TestAlertQuality(t *testing.T) {
	batches, perIncident := 1, 9
	rates := []float64{3, 30, 300}
	if os.Getenv("ALERT_QUALITY") == "full" {
		batches, perIncident = 4, 25
		rates = []float64{3, 10, 30, 100, 300, 1000}
	}
	var table strings.Builder
	measureFalseAlarms(t, &table, rates, batches)
	measureDelays(t, &table, rates, perIncident)
	t.Log("\n" + table.String())
	if path := os.Getenv("ALERT_QUALITY_TABLE"); path != "" {
		if err := os.WriteFile(path, []byte(table.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// measureFalseAlarms counts the alarms of chatbots to which nothing happens.
func measureFalseAlarms(t *testing.T, table *strings.Builder, rates []float64, batches int) {
	const step = 15 * time.Minute
	inHolidays := func(at time.Time) bool {
		return slices.ContainsFunc(holidays, func(day string) bool {
			begin, err := time.ParseInLocation(time.DateOnly, day, place)
			if err != nil {
				t.Fatal(err)
			}
			// Windows of a day, and a holiday before, reach into the days after.
			return !at.Before(begin) && at.Before(begin.AddDate(0, 0, 3))
		})
	}
	alerts := alertsOnSessions(t)
	outside, within := map[string]int{}, map[string]int{}
	inhibited := 0
	years := float64(0)
	// In batches, as backfill's file of a year of a chatbot has 100 MB.
	for batch := range batches {
		var population []*visitors
		for i, rate := range rates {
			// Most customers of the agency have offices, but the smallest.
			chatbots := 6
			if rate < 30 {
				chatbots = 2
			}
			for k := range chatbots {
				seed := uint64(1000*(batch+1) + 10*i + k)
				population = append(population, newVisitors(seed, rate, k > 0, lifeBegin, yearEnd, noIncident, yearEnd))
			}
		}
		years += float64(len(population))
		s := played(t, population, yearBegin, yearEnd, step)
		var quiet []span
		for _, a := range alerts {
			for _, fired := range s.fires(t, a, yearBegin, yearEnd, step) {
				for _, f := range fired {
					if a.name == "ChatwizeManyQuiet" {
						quiet = append(quiet, f)
					}
					if !inHolidays(f.from) {
						outside[a.name]++
						continue
					}
					within[a.name]++
					if a.name == "ChatwizeNoNewSession" && slices.ContainsFunc(quiet, func(q span) bool { return !f.from.Before(q.from) && f.from.Before(q.to) }) {
						inhibited++
					}
				}
			}
		}
	}
	fmt.Fprintf(table, "| alert | false alarms per chatbot and year | on holidays and the two days after |\n|---|---|---|\n")
	for _, a := range alerts {
		each := float64(outside[a.name]) / years
		fmt.Fprintf(table, "| %s | %.2f (%d in %.0f years) | %.2f |\n", a.name, each, outside[a.name], years, float64(within[a.name])/years)
		if each > worstFalseAlarms {
			t.Errorf("%s gives %.2f false alarms per chatbot and year, want %v at most", a.name, each, worstFalseAlarms)
		}
	}
	fmt.Fprintf(table, "\nChatwizeManyQuiet was firing when %d of %d alarms of ChatwizeNoNewSession began on holidays.\n\n", inhibited, within["ChatwizeNoNewSession"])
	if inhibited*2 < within["ChatwizeNoNewSession"] {
		t.Errorf("ChatwizeManyQuiet mutes only %d of %d alarms on holidays", inhibited, within["ChatwizeNoNewSession"])
	}
}

// measureDelays measures how long after an incident its alert fires.
func measureDelays(t *testing.T, table *strings.Builder, rates []float64, perIncident int) {
	incidents := []struct {
		what  incident
		alert string
	}{
		{widgetGone, "ChatwizeNoNewSession"},
		{leadsStopped, "ChatwizeLeadsStopped"},
		{leadsStopped, "ChatwizeVerificationsStopped"},
		{fifthLeft, "ChatwizeFewSessions"},
	}
	alerts := alertsOnSessions(t)
	fmt.Fprintf(table, "| incident | alert | sessions (or leads) a day | median delay | limit | median ratio |\n|---|---|---|---|---|---|\n")
	rows := make([]strings.Builder, len(incidents))
	for i, rate := range rates {
		// The slower the chatbot, the longer the wait, and the coarser the steps may be.
		wait, step := 30*24*time.Hour, 15*time.Minute
		if rate >= 100 {
			wait, step = 6*24*time.Hour, 5*time.Minute
		}
		end := incidentBegin.Add(72*time.Hour + wait)
		var population []*visitors
		for j, what := range []incident{widgetGone, leadsStopped, fifthLeft} {
			perDay := rate
			if what == leadsStopped {
				perDay /= lead
			}
			for k := range perIncident {
				at := incidentBegin.Add(time.Duration(k) * 72 * time.Hour / time.Duration(perIncident)).Add(time.Duration(37*k%60) * time.Minute)
				population = append(population, newVisitors(uint64(100_000+10_000*i+1000*j+k), perDay, k%2 == 1, incidentBegin.AddDate(0, 0, -49), end.Add(time.Hour), what, at))
			}
		}
		s := played(t, population, incidentBegin.Add(-time.Hour), end, step)
		for row, in := range incidents {
			a := alerts[slices.IndexFunc(alerts, func(a bundledAlert) bool { return a.name == in.alert })]
			fires := s.fires(t, a, incidentBegin, end, step)
			var delays, limits, ratios []float64
			for _, v := range population {
				if v.incident != in.what {
					continue
				}
				delay, best := math.Inf(1), math.Inf(1)
				for _, f := range fires[v.uuid] {
					if f.to.After(v.at) {
						delay = min(delay, max(0, f.from.Sub(v.at)).Hours())
					}
				}
				if limit, ok := v.limit(end, a.hold); ok {
					best = limit.Hours()
				}
				delays, limits = append(delays, delay), append(limits, best)
				if !math.IsInf(best, 1) {
					ratios = append(ratios, delay/best)
				}
			}
			delay, limit, ratio := median(delays), median(limits), "none"
			// Where the observer misses more than a quarter too, there is nothing to compare.
			if len(ratios)*4 >= len(delays)*3 {
				r := median(ratios)
				ratio = fmt.Sprintf("%.2f", r)
				if r > worstDelay {
					t.Errorf("%s at %v a day takes %s, %.2f times the limit, want %v at most", in.alert, rate, hours(delay), r, worstDelay)
				}
			}
			fmt.Fprintf(&rows[row], "| %s | %s | %.0f | %s | %s | %s |\n", in.what, in.alert, rate, hours(delay), hours(limit), ratio)
		}
	}
	for i := range rows {
		table.WriteString(rows[i].String())
	}
}

// alertsOnSessions returns the alerts that the creation times of sessions decide.
func alertsOnSessions(t *testing.T) (chosen []bundledAlert) {
	t.Helper()
	// ManyQuiet first: others are compared with it.
	names := []string{"ChatwizeManyQuiet", "ChatwizeNoNewSession", "ChatwizeFewSessions", "ChatwizeLeadsStopped", "ChatwizeVerificationsStopped"}
	alerts, _ := bundledAlerts(t)
	for _, name := range names {
		i := slices.IndexFunc(alerts, func(a bundledAlert) bool { return a.name == name })
		if i < 0 {
			t.Fatalf("%s is missing", name)
		}
		chosen = append(chosen, alerts[i])
	}
	return chosen
}

// played returns a Prometheus that has the past of chatbots, as backfill writes it.
func played(t *testing.T, population []*visitors, start, end time.Time, step time.Duration) *server {
	t.Helper()
	account := &simulator.Account{Key: key}
	for _, v := range population {
		account.Chatbots = append(account.Chatbots, simulator.Chatbot{UUID: v.uuid, Name: v.uuid, Sessions: v.all})
	}
	api := httptest.NewServer(account)
	defer api.Close()
	directory := t.TempDir()
	path, data := filepath.Join(directory, "history.om"), filepath.Join(directory, "data")
	write := exec.CommandContext(t.Context(), exporter, "backfill", "--chatwize.url="+api.URL, "--chatwize.timeout=5m",
		"--label=job="+job, "--label=instance=a", "--output="+path, "--log.level=warn",
		"--start="+start.Format(time.RFC3339), "--end="+end.Format(time.RFC3339), "--step="+step.String())
	write.Env = []string{"CHATWIZE_TOKEN=" + key}
	if output, err := write.CombinedOutput(); err != nil {
		t.Fatalf("backfill: %v\n%s", err, output)
	}
	importBlocks(t, path, data, "13122h")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, data, object{})
	eventually(t, "Prometheus answers", func() error {
		_, err := s.instant(t.Context(), "vector(1)", time.Now())
		return err
	})
	return s
}

// span is from when an alert fires to when it ends.
type span struct{ from, to time.Time }

// fires returns when an alert would have fired, by chatbot.
func (s *server) fires(t *testing.T, a bundledAlert, begin, end time.Time, step time.Duration) map[string][]span {
	t.Helper()
	const points = 10_000 // Prometheus returns 11,000 at most
	active := map[string][]time.Time{}
	for from := begin; from.Before(end); from = from.Add(points * step) {
		to := from.Add((points - 1) * step)
		if to.After(end) {
			to = end
		}
		value, _, err := s.QueryRange(t.Context(), a.expression, v1.Range{Start: from, End: to, Step: step})
		if err != nil {
			t.Fatal(err)
		}
		for _, series := range value.(model.Matrix) {
			chatbot := string(series.Metric["chatbot"])
			for _, point := range series.Values {
				active[chatbot] = append(active[chatbot], point.Timestamp.Time())
			}
		}
	}
	spans := map[string][]span{}
	for chatbot, times := range active {
		since := times[0]
		for i, to := range times {
			if i+1 < len(times) && times[i+1].Sub(to) <= step {
				continue
			}
			// The alert was active from since to to.
			if from := since.Add(a.hold); !from.After(to) {
				if before := spans[chatbot]; len(before) > 0 && !from.After(before[len(before)-1].to) {
					before[len(before)-1].to = to.Add(a.keep)
				} else {
					spans[chatbot] = append(before, span{from, to.Add(a.keep)})
				}
			}
			if i+1 < len(times) {
				since = times[i+1]
			}
		}
	}
	return spans
}

// median returns the median of numbers, of two the greater.
func median(numbers []float64) float64 {
	slices.Sort(numbers)
	return numbers[len(numbers)/2]
}

// hours returns a number of hours for people.
func hours(h float64) string {
	switch {
	case math.IsInf(h, 1):
		return "not seen"
	case h < 2:
		return fmt.Sprintf("%.0f min", h*60)
	case h < 48:
		return fmt.Sprintf("%.1f h", h)
	}
	return fmt.Sprintf("%.1f d", h/24)
}
