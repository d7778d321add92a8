package backfill_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/backfill"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api has the sessions of chatbots, by UUID, or fails.
type api map[string]any

func (a api) Stream(_ context.Context, chatbot client.Chatbot, read func(iter.Seq2[client.Session, error]) error) error {
	return read(func(yield func(client.Session, error) bool) {
		if err, ok := a[chatbot.UUID].(error); ok {
			yield(client.Session{}, err)
			return
		}
		for _, session := range a[chatbot.UUID].([]client.Session) {
			if !yield(session, nil) {
				return
			}
		}
	})
}

// chatbots returns those of an account, in the order of their UUIDs.
func chatbots(account api) (all []backfill.Chatbot) {
	for uuid := range account {
		all = append(all, backfill.Chatbot{Chatbot: client.Chatbot{UUID: uuid}, Source: account})
	}
	slices.SortFunc(all, func(a, b backfill.Chatbot) int { return strings.Compare(a.UUID, b.UUID) })
	return all
}

// write returns the past of all chatbots and what is logged.
func write(t *testing.T, account api, config backfill.Config) (past, logged string) {
	t.Helper()
	var out, log bytes.Buffer
	config, progress := complete(account, config, &log)
	read, err := backfill.Read(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Write(t.Context(), &out, progress.onWritten); err != nil {
		t.Fatal(err)
	}
	past = out.String()
	most := int64(0)
	for uuid, of := range account {
		written := strings.Count(past, `chatbot="`+uuid+`"`)
		if sessions := len(of.([]client.Session)); progress.sessions[uuid] != sessions || progress.samples[uuid] != written {
			t.Errorf("progress of %s was %d sessions and %d samples, want %d and %d", uuid, progress.sessions[uuid], progress.samples[uuid], sessions, written)
		}
		// At each moment all series have a sample at most, and the first has one.
		most += 28 * int64(len(samples(past, metrics[0], uuid)))
	}
	if read.MaxSamples() != most {
		t.Errorf("there are %d samples at most, want %d", read.MaxSamples(), most)
	}
	return past, log.String()
}

// metrics are those that are written.
var metrics = []string{
	"chatwize_sessions", "chatwize_sessions_with_lead", "chatwize_sessions_with_verified_identity", "chatwize_last_session_created_timestamp_seconds",
	"chatwize_recent_sessions", "chatwize_recent_sessions_with_lead", "chatwize_recent_sessions_with_verified_identity",
	"chatwize_usual_sessions", "chatwize_usual_sessions_with_lead", "chatwize_usual_sessions_with_verified_identity",
	"chatwize_missing_sessions", "chatwize_missing_sessions_with_lead", "chatwize_missing_sessions_with_verified_identity",
}

// progress is how many sessions were read and samples written, by chatbot.
type progress struct {
	mutex             sync.Mutex
	sessions, samples map[string]int
}

func (p *progress) onWritten(chatbot backfill.Chatbot, samples int) {
	p.samples[chatbot.UUID] += samples
}

// complete completes a Config for an account.
func complete(account api, config backfill.Config, logged io.Writer) (backfill.Config, *progress) {
	config.Chatbots = chatbots(account)
	config.Logger = log.NewLogfmtLogger(logged)
	progress := &progress{sessions: map[string]int{}, samples: map[string]int{}}
	config.OnRead = func(chatbot backfill.Chatbot, more int) {
		progress.mutex.Lock()
		defer progress.mutex.Unlock()
		progress.sessions[chatbot.UUID] += more
	}
	return config, progress
}

// at is a moment of a day, in hours, minutes and seconds.
func at(t *testing.T, clock string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.DateTime, "2026-01-31 "+clock)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

func TestWrite(t *testing.T) {
	account := api{
		"aa": []client.Session{
			{Created: at(t, "12:07:00"), HasLead: true},
			{Created: at(t, "12:00:00.5")},
			{Created: at(t, "12:05:01"), HasLead: true, IdentityVerified: true}, // at a sample
			{Created: at(t, "12:06:30"), IdentityVerified: true},
			{Created: at(t, "12:13:00.000000001")},    // after the end
			{Created: at(t, "12:13:00")},              // at the end
			{IdentityVerified: true, Malformed: true}, // at any time
		},
		"bb": []client.Session{},
	}
	past, logged := write(t, account, backfill.Config{
		End: at(t, "12:13:00"), Step: 5 * time.Minute, Labels: model.LabelSet{"job": "a\"b\\c\nd", "Area": "Zoë"},
	})
	// 12:00:01, as the first session is a fraction older, is 1769860801.
	in := func(labels, window string) string {
		return strings.TrimSuffix(labels, "}") + `,window="` + window + `"}`
	}
	labels := func(chatbot string) string { return `{Area="Zoë",chatbot="` + chatbot + `",job="a\"b\\c\nd"}` }
	a, b := labels("aa"), labels("bb")
	want := "" +
		"# HELP chatwize_sessions Sessions of the chatbot.\n" +
		"# TYPE chatwize_sessions gauge\n" +
		"chatwize_sessions" + a + " 2 1769860801\n" +
		"chatwize_sessions" + a + " 3 1769861101\n" +
		"chatwize_sessions" + a + " 5 1769861401\n" +
		"chatwize_sessions" + a + " 6 1769861580\n" +
		"chatwize_sessions" + b + " 0 1769860801\n" +
		"chatwize_sessions" + b + " 0 1769861101\n" +
		"chatwize_sessions" + b + " 0 1769861401\n" +
		"chatwize_sessions" + b + " 0 1769861580\n" +
		"# HELP chatwize_sessions_with_lead Sessions whose visitor submitted the lead form.\n" +
		"# TYPE chatwize_sessions_with_lead gauge\n" +
		"chatwize_sessions_with_lead" + a + " 0 1769860801\n" +
		"chatwize_sessions_with_lead" + a + " 1 1769861101\n" +
		"chatwize_sessions_with_lead" + a + " 2 1769861401\n" +
		"chatwize_sessions_with_lead" + a + " 2 1769861580\n" +
		"chatwize_sessions_with_lead" + b + " 0 1769860801\n" +
		"chatwize_sessions_with_lead" + b + " 0 1769861101\n" +
		"chatwize_sessions_with_lead" + b + " 0 1769861401\n" +
		"chatwize_sessions_with_lead" + b + " 0 1769861580\n" +
		"# HELP chatwize_sessions_with_verified_identity Sessions whose visitor's identity was verified and saved.\n" +
		"# TYPE chatwize_sessions_with_verified_identity gauge\n" +
		"chatwize_sessions_with_verified_identity" + a + " 1 1769860801\n" +
		"chatwize_sessions_with_verified_identity" + a + " 2 1769861101\n" +
		"chatwize_sessions_with_verified_identity" + a + " 3 1769861401\n" +
		"chatwize_sessions_with_verified_identity" + a + " 3 1769861580\n" +
		"chatwize_sessions_with_verified_identity" + b + " 0 1769860801\n" +
		"chatwize_sessions_with_verified_identity" + b + " 0 1769861101\n" +
		"chatwize_sessions_with_verified_identity" + b + " 0 1769861401\n" +
		"chatwize_sessions_with_verified_identity" + b + " 0 1769861580\n" +
		"# HELP chatwize_last_session_created_timestamp_seconds When the newest session was created, in Unix time.\n" +
		"# TYPE chatwize_last_session_created_timestamp_seconds gauge\n" +
		"chatwize_last_session_created_timestamp_seconds" + a + " 1769860800.5 1769860801\n" +
		"chatwize_last_session_created_timestamp_seconds" + a + " 1769861101 1769861101\n" +
		"chatwize_last_session_created_timestamp_seconds" + a + " 1769861220 1769861401\n" +
		"chatwize_last_session_created_timestamp_seconds" + a + " 1769861580 1769861580\n" +
		"# HELP chatwize_recent_sessions Sessions created within the last window.\n" +
		"# TYPE chatwize_recent_sessions gauge\n" +
		"chatwize_recent_sessions" + in(a, "1h") + " 1 1769860801\n" +
		"chatwize_recent_sessions" + in(a, "1h") + " 2 1769861101\n" +
		"chatwize_recent_sessions" + in(a, "1h") + " 4 1769861401\n" +
		"chatwize_recent_sessions" + in(a, "1h") + " 5 1769861580\n" +
		"chatwize_recent_sessions" + in(a, "1d") + " 1 1769860801\n"
	if !strings.HasPrefix(past, want) || !strings.HasSuffix(past, "\n# EOF\n") {
		t.Errorf("got\n%s\nwant\n%s", past, want)
	}
	// The samples of a metric, and of a series, stand side by side, in the order of time.
	var seen []string
	for line := range strings.Lines(past) {
		if name := regexp.MustCompile(`^\w+(\{.*\})?`).FindString(line); name != "" && (len(seen) == 0 || seen[len(seen)-1] != name) {
			seen = append(seen, name)
		}
	}
	if n := len(seen); n != len(slices.Compact(slices.Sorted(slices.Values(seen)))) || n != 2*(3+12)+1 {
		t.Errorf("%d series are %q", n, seen)
	}
	if logged != `level=warn msg="Sessions without a readable creation time are counted from the first sample on" chatbot=aa sessions=1 from=2026-01-31T12:00:01Z`+"\n" {
		t.Errorf("logged %s", logged)
	}
}

// samples finds those of a chatbot's metric.
func samples(past, metric, chatbot string) [][]string {
	return regexp.MustCompile(`(?m)^`+metric+`\{[^}]*chatbot="`+chatbot+`"[^}]*\} (\S+) (\S+)$`).FindAllStringSubmatch(past, -1)
}

func TestSpan(t *testing.T) {
	sessions := []client.Session{
		{Created: at(t, "12:00:00")}, {Created: at(t, "12:30:00")}, {Created: at(t, "13:00:00")},
	}
	impossible := client.Session{Created: time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)}
	tests := map[string]struct {
		sessions   []client.Session
		start, end string // of the clock; no start: the first session
		want       string // value@time …
		created    string
	}{
		"from the first session on":     {sessions, "", "12:30:00", "1@12:00:00 1@12:20:00 2@12:30:00", "12:00:00 12:00:00 12:30:00"},
		"the end on the grid":           {sessions, "", "12:20:00", "1@12:00:00 1@12:20:00", "12:00:00 12:00:00"},
		"until the first session":       {sessions, "", "12:00:00", "1@12:00:00", "12:00:00"},
		"before any session":            {sessions, "11:30:00", "12:00:00", "0@11:30:00 0@11:50:00 1@12:00:00", "12:00:00"},
		"older ones count from there":   {sessions, "12:45:00", "13:05:00", "2@12:45:00 3@13:05:00", "12:30:00 13:00:00"},
		"a session at the start":        {sessions, "12:30:00", "12:31:00", "2@12:30:00 2@12:31:00", "12:30:00 12:30:00"},
		"one moment":                    {sessions, "12:30:00", "12:30:00", "2@12:30:00", "12:30:00"},
		"all sessions after the end":    {sessions, "", "11:00:00", "0@11:00:00", ""},
		"no sessions":                   {nil, "", "11:00:00", "0@11:00:00", ""},
		"milliseconds":                  {sessions, "12:29:59.999", "12:30:00.001", "1@12:29:59.999 2@12:30:00.001", "12:00:00 12:30:00"},
		"tenths of a second":            {sessions, "12:30:00.1", "12:30:00.11", "2@12:30:00.100 2@12:30:00.110", "12:30:00 12:30:00"},
		"none began before 1970":        {append(sessions[:1:1], impossible), "", "12:00:00", "2@12:00:00", "12:00:00"},
		"none began as 1970 did":        {append(sessions[:1:1], client.Session{Created: time.Unix(0, 0)}), "", "12:00:00", "2@12:00:00", "12:00:00"},
		"all before 1970":               {[]client.Session{impossible}, "", "12:00:00", "1@12:00:00", "-86400"},
		"the first within the last one": {[]client.Session{{Created: at(t, "12:00:00.2")}}, "", "12:00:00.25", "1@12:00:00.250", "12:00:00.2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			config := backfill.Config{End: at(t, test.end), Step: 20 * time.Minute}
			if test.start != "" {
				config.Start = at(t, test.start)
			}
			past, logged := write(t, api{"aa": test.sessions}, config)
			var got, created []string
			for _, s := range samples(past, "chatwize_sessions", "aa") {
				got = append(got, s[1]+"@"+clock(t, s[2]))
			}
			for _, s := range samples(past, "chatwize_last_session_created_timestamp_seconds", "aa") {
				created = append(created, clock(t, s[1]))
			}
			if strings.Join(got, " ") != test.want || strings.Join(created, " ") != test.created || logged != "" {
				t.Errorf("got %q, newest %q, logged %s", got, created, logged)
			}
		})
	}
}

// clock returns the time of day of a moment of the tests' day in Unix time, or text
// itself.
func clock(t *testing.T, text string) string {
	t.Helper()
	seconds, fraction, _ := strings.Cut(text, ".")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if unix < 0 {
		return text
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return time.Unix(unix, 0).UTC().Format(time.TimeOnly) + fraction
}

// What the API says was created later than now is left out, and said to be.
func TestFuture(t *testing.T) {
	now := time.Now()
	account := api{"aa": []client.Session{
		{Created: now.Add(-time.Hour)}, {Created: now.Add(-time.Minute)}, {Created: now.Add(time.Hour)},
	}}
	past, logged := write(t, account, backfill.Config{End: now.Add(-30 * time.Minute).Truncate(time.Second), Step: time.Hour})
	if got := samples(past, "chatwize_sessions", "aa"); len(got) != 2 || got[1][1] != "1" {
		t.Errorf("got %v", got)
	}
	if strings.Count(logged, "\n") != 1 || !strings.Contains(logged, "in the future") || !strings.Contains(logged, "chatbot=aa sessions=1 ") ||
		!strings.Contains(logged, "level=warn") || !strings.Contains(logged, "clock") {
		t.Errorf("logged %s", logged)
	}
}

// Without a start, the past is that of the last ten years. Earlier sessions count from the
// first sample on, and are said to.
func TestTenYears(t *testing.T) {
	end := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	edge := time.Date(2016, 1, 31, 12, 0, 0, 0, time.UTC)
	days := func(from time.Time, n int) time.Time { return from.AddDate(0, 0, n) }
	in1970, lastWeek := time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC), days(end, -7)
	tests := map[string]struct {
		start    time.Time
		created  []time.Time
		from     time.Time
		first    string // count at the first sample
		newest   time.Time
		warnings int
		early    string
	}{
		"one of 1970":       {created: []time.Time{in1970, lastWeek}, from: lastWeek, first: "2", newest: lastWeek, warnings: 1, early: "1"},
		"some of 1970":      {created: []time.Time{in1970, lastWeek, days(in1970, 1)}, from: lastWeek, first: "3", newest: lastWeek, warnings: 1, early: "2"},
		"at the edge":       {created: []time.Time{edge, lastWeek}, from: edge, first: "1", newest: edge},
		"before the edge":   {created: []time.Time{edge.Add(-1), lastWeek}, from: lastWeek, first: "2", newest: lastWeek, warnings: 1, early: "1"},
		"none but of 1970":  {created: []time.Time{in1970}, from: end, first: "1", newest: in1970, warnings: 1, early: "1"},
		"of 1970, as asked": {start: in1970, created: []time.Time{in1970, lastWeek}, from: in1970, first: "1", newest: in1970},
		"from later on":     {start: days(end, -1), created: []time.Time{in1970, lastWeek}, from: days(end, -1), first: "2", newest: lastWeek},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var sessions []client.Session
			for _, created := range test.created {
				sessions = append(sessions, client.Session{Created: created})
			}
			past, logged := write(t, api{"aa": sessions}, backfill.Config{Start: test.start, End: end, Step: 1000 * time.Hour})
			counts, newest := samples(past, metrics[0], "aa"), samples(past, metrics[3], "aa")
			if got := counts[0]; got[1] != test.first || got[2] != fmt.Sprint(test.from.Unix()) {
				t.Errorf("the first sample is %s at %s", got[1], got[2])
			}
			if got := newest[0]; got[1] != fmt.Sprint(test.newest.Unix()) {
				t.Errorf("the newest session at first is of %s", got[1])
			}
			if last := counts[len(counts)-1]; last[1] != fmt.Sprint(len(sessions)) {
				t.Errorf("the last sample is %s", last[1])
			}
			if strings.Count(logged, "\n") != test.warnings {
				t.Errorf("logged %s", logged)
			}
			if want := `level=warn msg="sessions from more than 10 years before the end are counted from the first sample on" chatbot=aa sessions=` + test.early +
				" from=" + test.from.Format(time.RFC3339) + ` hint="set a start to write earlier samples"` + "\n"; test.warnings > 0 && logged != want {
				t.Errorf("logged %s, want %s", logged, want)
			}
		})
	}
}

// The sessions that the last samples count are those until the end, with a readable time
// or not.
func TestSessions(t *testing.T) {
	account := api{
		"aa": []client.Session{{Created: at(t, "12:00:00")}, {}, {Created: at(t, "13:00:00")}, {Created: time.Now().Add(time.Hour)}},
		"bb": []client.Session{{Created: at(t, "11:00:00")}},
	}
	config, _ := complete(account, backfill.Config{Start: at(t, "11:30:00"), End: at(t, "12:30:00"), Step: time.Hour}, io.Discard)
	past, err := backfill.Read(t.Context(), config)
	if err != nil || past.Sessions() != 3 {
		t.Errorf("got %d, %v", past.Sessions(), err)
	}
}

// many returns n sessions at random moments of an hour, in disorder.
func many(n int, start time.Time) []client.Session {
	random := rand.New(rand.NewPCG(1, 2))
	sessions := make([]client.Session, n)
	for i := range sessions {
		sessions[i] = client.Session{HasLead: random.IntN(3) == 0, IdentityVerified: random.IntN(4) == 0}
		if random.IntN(50) > 0 {
			sessions[i].Created = start.Add(time.Duration(random.Int64N(int64(time.Hour))))
		}
	}
	return sessions
}

// Each sample is what counting the sessions one by one gives.
func TestCounts(t *testing.T) {
	start := at(t, "12:00:00")
	account := api{}
	for i, n := range []int{1, 7, 8, 9, 1000, 10_000} {
		account[fmt.Sprint("chatbot", i)] = many(n, start)
	}
	past, _ := write(t, account, backfill.Config{Start: start.Add(5 * time.Minute), End: start.Add(50 * time.Minute), Step: 37 * time.Second})
	for uuid, of := range account {
		count := func(until time.Time, has func(client.Session) bool) (n int) {
			for _, s := range of.([]client.Session) {
				if !s.Created.After(until) && has(s) {
					n++
				}
			}
			return n
		}
		for metric, has := range map[string]func(client.Session) bool{
			"chatwize_sessions":                        func(client.Session) bool { return true },
			"chatwize_sessions_with_lead":              func(s client.Session) bool { return s.HasLead },
			"chatwize_sessions_with_verified_identity": func(s client.Session) bool { return s.IdentityVerified },
		} {
			got := samples(past, metric, uuid)
			if want := 45*60/37 + 2; len(got) != want {
				t.Fatalf("%s of %s has %d samples, want %d", metric, uuid, len(got), want)
			}
			for _, s := range got {
				unix, err := strconv.ParseInt(s[2], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				if want := count(time.Unix(unix, 0), has); s[1] != fmt.Sprint(want) {
					t.Fatalf("%s of %s is %s at %s, want %d", metric, uuid, s[1], s[2], want)
				}
			}
		}
	}
}

// hourly returns sessions at full hours, one an hour at most, of 50 days until an age.
func hourly(end time.Time, age time.Duration) (sessions []client.Session) {
	random := rand.New(rand.NewPCG(3, 4))
	for at := end.AddDate(0, 0, -50); !at.After(end.Add(-age)); at = at.Add(time.Duration(1+random.IntN(3)) * time.Hour) {
		sessions = append(sessions, client.Session{Created: at, HasLead: random.IntN(4) == 0, IdentityVerified: random.IntN(30) == 0})
	}
	return sessions
}

// The last samples are what a scrape at the end shows: names, help, types and values. A
// scrape spreads the sessions of an hour, so they come at full hours.
func TestSameAsScrape(t *testing.T) {
	end := at(t, "12:00:00")
	account := api{
		"aa": hourly(end, 0), "bb": hourly(end, 30*time.Hour), "cc": []client.Session{},
		"dd": []client.Session{{Created: end.AddDate(0, 0, -1)}}, "ee": hourly(end, 29*24*time.Hour), "ff": hourly(end.AddDate(0, 0, 30), 30*24*time.Hour),
	}
	past, _ := write(t, account, backfill.Config{Start: end.Add(-100 * time.Hour), End: end, Step: 7 * time.Hour})
	var snapshot collector.Snapshot
	for _, chatbot := range chatbots(account) {
		sum := tally.New(end)
		for _, session := range account[chatbot.UUID].([]client.Session) {
			sum.Add(session)
		}
		numbers := sum.At(end)
		snapshot = append(snapshot, collector.Fetched{Chatbot: chatbot.Chatbot, Result: fetch.Result{Numbers: &numbers}})
	}
	scrape, err := testutil.CollectAndFormat(snapshot, expfmt.TypeTextPlain, metrics...)
	if err != nil {
		t.Fatal(err)
	}
	// The lines of the past at the end, without the time.
	got := map[string]bool{}
	for line := range strings.Lines(past) {
		line, atEnd := strings.CutSuffix(strings.TrimSuffix(line, "\n"), fmt.Sprint(" ", end.Unix()))
		if atEnd || strings.HasPrefix(line, "# ") && line != "# EOF" {
			got[normal(t, line)] = true
		}
	}
	for line := range strings.Lines(string(scrape)) {
		line = normal(t, strings.TrimSuffix(line, "\n"))
		if !got[line] {
			t.Errorf("a scrape shows %s", line)
		}
		delete(got, line)
	}
	for line := range got {
		t.Errorf("a scrape does not show %s", line)
	}
}

// normal returns a line with its number in one format.
func normal(t *testing.T, line string) string {
	t.Helper()
	if strings.HasPrefix(line, "#") {
		return line
	}
	series, number, _ := strings.Cut(line, "} ")
	value, err := strconv.ParseFloat(number, 64)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s} %v", series, value)
}

func TestFailure(t *testing.T) {
	account := api{"aa": many(10, at(t, "12:00:00")), "bb": &client.Error{Reason: client.Unauthorized, Status: 403}}
	config, _ := complete(account, backfill.Config{End: at(t, "13:00:00"), Step: time.Minute}, io.Discard)
	_, err := backfill.Read(t.Context(), config)
	if !errors.Is(err, account["bb"].(error)) {
		t.Errorf("got %v", err)
	}
}

// An end of the context ends writing, as does an output that takes no more.
func TestWriteEnds(t *testing.T) {
	account := api{"aa": many(10, at(t, "12:00:00"))}
	config, progress := complete(account, backfill.Config{Start: at(t, "00:00:00"), End: at(t, "13:00:00"), Step: time.Second}, io.Discard)
	past, err := backfill.Read(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(interrupted)
	if err := past.Write(ctx, io.Discard, progress.onWritten); !errors.Is(err, interrupted) {
		t.Errorf("got %v", err)
	}
	if err := past.Write(t.Context(), full{}, progress.onWritten); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
	if written := progress.samples["aa"]; written == 0 || int64(written) >= past.MaxSamples() {
		t.Errorf("wrote %d samples of %d", written, past.MaxSamples())
	}
	// What fits into a buffer is written at the end.
	config.Step = time.Hour
	if past, err = backfill.Read(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if err := past.Write(t.Context(), full{}, progress.onWritten); !errors.Is(err, errFull) {
		t.Errorf("a short past: got %v", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
