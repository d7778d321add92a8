package backfill_test

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/backfill"
	"github.com/chatwize-exporter/chatwize_exporter/internal/bruteforce"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

const day = 24 * time.Hour

// Each sample of recent, usual and missing sessions is what a count by brute force gives,
// and there is none where that gives none.
func TestActivity(t *testing.T) {
	end := at(t, "12:00:00")
	account := bruteforce.Edges(end)
	for name, created := range map[string]time.Time{"11 years old": end.AddDate(-11, 0, 0), "of 1969": time.Unix(-1, 0)} {
		account[name] = append(bruteforce.Every(end, 3*time.Hour, 30*day, 0), client.Session{Created: created})
	}
	for name, sessions := range account {
		for _, config := range []backfill.Config{
			{Start: end.Add(-12 * day), End: end, Step: 119 * time.Hour},
			{End: end.Add(-19 * time.Hour), Step: 365 * day},
		} {
			past, _ := write(t, api{"x": sessions}, config)
			checkActivity(t, name, past, sessions)
		}
	}
}

// checkActivity compares the samples of a chatbot with a count by brute force.
func checkActivity(t *testing.T, name, past string, sessions []client.Session) {
	t.Helper()
	got := map[string]string{} // series@time, value
	for line := range strings.Lines(past) {
		if fields := strings.Fields(line); fields[0] != "#" {
			got[fields[0]+"@"+fields[2]] = fields[1]
		}
	}
	compared := 0
	for _, sample := range samples(past, metrics[0], "x") {
		unix, err := strconv.ParseInt(sample[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(unix, 0)
		want := bruteforce.Sessions{
			List: slices.DeleteFunc(slices.Clone(sessions), func(s client.Session) bool { return s.Created.After(now) }), Now: now,
		}.Activity()
		check := func(series, window string, want tally.Value) {
			labels := `{chatbot="x"}`
			if window != "" {
				labels = `{chatbot="x",window="` + window + `"}`
			}
			text, ok := got["chatwize_"+series+labels+"@"+sample[2]]
			value, _ := strconv.ParseFloat(text, 64)
			if ok != want.Known || math.Abs(value-want.Number) > 1e-9*want.Number {
				t.Errorf("%s: %s%s at %v is %q, want %v", name, series, labels, now.UTC(), text, want)
			}
			if ok {
				compared++
			}
		}
		for kind, kinds := range []string{"sessions", "sessions_with_lead", "sessions_with_verified_identity"} {
			for i, window := range []string{"1h", "1d", "7d", "28d"} {
				check("recent_"+kinds, window, tally.Value{Number: want.Recent[kind][i], Known: true})
			}
			for i, window := range []string{"1h", "1d", "7d"} {
				check("usual_"+kinds, window, want.Usual[kind][i])
			}
			check("missing_"+kinds, "", want.Missing[kind])
		}
	}
	all := 0
	for series := range got {
		if strings.Contains(series, "_recent_") || strings.Contains(series, "_usual_") || strings.Contains(series, "_missing_") {
			all++
		}
	}
	if all != compared || all == 0 {
		t.Errorf("%s: compared %d samples of %d", name, compared, all)
	}
}
