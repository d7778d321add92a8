package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// writeHint ends errors about the output file.
const writeHint = "; name a file in a folder that exists, that you may write and that has space"

// startBackfillAPI starts an API with a shop of 1000 sessions and a desk with a session
// without a creation time. fault is called on each request for the sessions of the
// desk. It returns the environment for backfill.
func startBackfillAPI(t *testing.T, fault func() simulator.Fault) []string {
	t.Helper()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	server := httptest.NewServer(&simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
		{UUID: shop, Name: "Shop", Sessions: simulator.Uniform(1000, begin, time.Hour)},
		{UUID: second, Name: "Desk", Sessions: func(time.Time) iter.Seq[simulator.Session] {
			return slices.Values([]simulator.Session{{Number: 1, Modified: begin, Lead: true}})
		}, Fault: func(time.Time) simulator.Fault { return fault() }},
	}})
	t.Cleanup(server.Close)
	return []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + server.URL}
}

func noFault() simulator.Fault { return simulator.Fault{} }

// wantFiles checks the names of the files of a folder.
func wantFiles(t *testing.T, folder string, want ...string) {
	t.Helper()
	list, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range list {
		got = append(got, entry.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
}

// backfill writes the past of all chatbots, with the labels that are given.
func TestBackfill(t *testing.T) {
	got := execute(t, startBackfillAPI(t, noFault), "backfill",
		"--label=job=chatwize", "--label=instance=localhost:10113", "--end=2026-02-11T15:07:00Z", "--step=1h")
	if got.status != 0 {
		t.Errorf("exit status %d", got.status)
	}
	// An hour apart from 1 January on, 1001 moments for each of 28 series. Some have no
	// value at first, and some of the desk never.
	wantLines(t, got.stderr,
		"level=info msg=\"Discovered the chatbots\" chatbots=2",
		"level=warn msg=\"Sessions without a readable creation time are counted from the first sample on\" chatbot="+second+" sessions=1 from=2026-01-01T00:00:00Z",
		`level=info msg="Writing samples" max_samples=56056 chatbots=2 from=2026-01-01T00:00:00Z to=2026-02-11T15:07:00Z step=1h0m0s`,
		`level=info msg="Wrote history" chatbots=2 sessions=1001 samples=39055 from=2026-01-01T00:00:00Z to=2026-02-11T15:07:00Z`)
	series := func(uuid string) string { return `{chatbot="` + uuid + `",instance="localhost:10113",job="chatwize"}` }
	contains(t, got.stdout,
		"\nchatwize_sessions"+series(shop)+" 1 1767225600\n",
		"\nchatwize_sessions"+series(shop)+" 1000 1770822000\nchatwize_sessions"+series(shop)+" 1000 1770822420\n",
		"\nchatwize_sessions_with_lead"+series(shop)+" 334 1770822420\n",
		"\nchatwize_sessions_with_verified_identity"+series(shop)+" 143 1770822420\n",
		"\nchatwize_last_session_created_timestamp_seconds"+series(shop)+" 1770822000 1770822420\n# HELP chatwize_recent_sessions ",
		"\nchatwize_recent_sessions"+strings.TrimSuffix(series(shop), "}")+`,window="7d"} 168 1770822420`+"\n",
		"\nchatwize_usual_sessions"+strings.TrimSuffix(series(shop), "}")+`,window="1d"} 24 1770822420`+"\n",
		"\nchatwize_sessions_with_lead"+series(second)+" 1 1767225600\n")
	if strings.Contains(got.stdout, "chatwize_last_session_created_timestamp_seconds"+series(second)) {
		t.Error("a chatbot without a dated session has a newest one")
	}
}

// wantLines checks the lines of a log, without their times.
func wantLines(t *testing.T, logged string, want ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(logged) {
		got = append(got, regexp.MustCompile(` time=\S+`).ReplaceAllString(strings.TrimSuffix(line, "\n"), ""))
	}
	if !slices.Equal(got, want) {
		t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Without the label job, backfill warns that the history will not be shown.
func TestBackfillWithoutJob(t *testing.T) {
	for label, want := range map[string]int{"": 1, "--label=instance=localhost:10113": 1, "--label=job=chatwize": 0} {
		arguments := []string{"backfill", "--chatwize.chatbot=" + shop, "--step=1d"}
		if label != "" {
			arguments = append(arguments, label)
		}
		got := execute(t, startBackfillAPI(t, noFault), arguments...)
		const warning = ` msg="Without the label job, dashboard and alerts will not show the history" hint="set the labels job and instance as in the scrape configuration"`
		if n := strings.Count(got.stderr, "level=warn"); got.status != 0 || n != want || strings.Count(got.stderr, warning) != want {
			t.Errorf("%s: status %d, logged %s", label, got.status, got.stderr)
		}
	}
}

// With --output, backfill writes a file and nothing else.
func TestBackfillToFile(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "history.om")
	got := execute(t, startBackfillAPI(t, noFault), "backfill",
		"--output="+file, "--chatwize.chatbot="+shop, "--label=job=chatwize", "--start=2026-01-02", "--end=1767398400", "--step=12h", "--log.level=warn")
	content, err := os.ReadFile(file)
	if got != (result{}) || err != nil || !strings.HasSuffix(string(content), "\n# EOF\n") || strings.Count(string(content), "\nchatwize") != (4+12)*3+3+2 {
		t.Errorf("%+v, %v, wrote\n%s", got, err, content)
	}
	wantFiles(t, folder, "history.om")
}

// Without --end, the last sample is at the time when backfill starts.
func TestBackfillUntilNow(t *testing.T) {
	before := time.Now().Unix()
	got := execute(t, startBackfillAPI(t, noFault), "backfill", "--chatwize.chatbot="+shop, "--step=1d")
	last := regexp.MustCompile(`} 1000 (\d+)\n# HELP`).FindStringSubmatch(got.stdout)
	if last == nil {
		t.Fatalf("got %+v", got)
	}
	var end int64
	if _, err := fmt.Sscan(last[1], &end); err != nil || end < before || end > time.Now().Unix() {
		t.Errorf("the last sample is at %d, the start was at %d", end, before)
	}
}

// failingWriter fails like a pipe whose reader has ended.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// When backfill fails, it writes nothing, leaves no file and says what to do.
func TestBackfillFails(t *testing.T) {
	folder := t.TempDir()
	output := "--output=" + filepath.Join(folder, "history.om")
	tests := map[string]struct {
		arguments    []string
		fault        simulator.Fault
		begins, ends string // of the line, after the name of the command
	}{
		"a refused key": {nil, simulator.Fault{Status: 403},
			"fetching the sessions of chatbot " + second + ` ("Desk"): the API answered 403 Forbidden; check that the API key`, ""},
		"a refused key, to a file": {[]string{output}, simulator.Fault{Status: 403},
			"fetching the sessions of chatbot " + second + ` ("Desk"): the API answered 403 Forbidden; check that the API key`, ""},
		"--end before --start": {[]string{output, "--start=2026-01-02", "--end=2026-01-01"}, simulator.Fault{},
			"--end: is before --start; give a later --end or an earlier --start", ""},
		"--end in the future": {[]string{output, "--end=" + time.Now().Add(time.Hour).Format(time.RFC3339)}, simulator.Fault{},
			"--end: is in the future; remove it to write until now", ""},
		"--start in the future": {[]string{output, "--start=2999-01-01"}, simulator.Fault{},
			"--start: is in the future; give an earlier time", ""},
		"a missing folder": {[]string{"--output=" + filepath.Join(folder, misplacedKey, "history.om")}, simulator.Fault{},
			"--output: cannot be written: ", writeHint},
		"a folder as the file": {[]string{"--output=" + folder}, simulator.Fault{},
			"--output: cannot be written: is not a regular file", writeHint},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			environment := startBackfillAPI(t, func() simulator.Fault { return test.fault })
			got := execute(t, environment, slices.Concat([]string{"backfill", "--label=job=chatwize", "--log.level=warn"}, test.arguments)...)
			if got.status != 1 || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 ||
				!strings.HasPrefix(got.stderr, "chatwize_exporter: error: backfill: "+test.begins) || !strings.HasSuffix(got.stderr, test.ends+"\n") {
				t.Errorf("got %+v, want %s … %s", got, test.begins, test.ends)
			}
			wantNothingOf(t, got.stderr, misplacedKey, "")
			wantFiles(t, folder)
		})
	}

	t.Run("standard output", func(t *testing.T) {
		setEnvironment(t, startBackfillAPI(t, noFault))
		var stderr bytes.Buffer
		status := run(t.Context(), []string{"backfill", "--label=job=chatwize", "--log.level=warn", "--chatwize.chatbot=" + shop, "--step=1d"}, failingWriter{}, &stderr)
		if want := "chatwize_exporter: error: backfill: writing to standard output: broken pipe\n"; status != 1 || stderr.String() != want {
			t.Errorf("status %d with %s, want %s", status, &stderr, want)
		}
	})
	for name, test := range map[string]struct {
		api   http.Handler
		lines int
		want  string // the last line, after the name of the command
	}{
		"no list":     {http.NotFoundHandler(), 2, "without the list of chatbots, there is nothing to write"},
		"no chatbots": {&simulator.Account{Key: key}, 2, "the account has no chatbots; check the base URL and the API key"},
	} {
		t.Run(name, func(t *testing.T) {
			api := httptest.NewServer(test.api)
			defer api.Close()
			got := execute(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + api.URL}, "backfill", "--label=job=chatwize", output)
			if got.status != 1 || got.stdout != "" || strings.Count(got.stderr, "\n") != test.lines ||
				!strings.HasSuffix(got.stderr, "chatwize_exporter: error: backfill: "+test.want+"\n") {
				t.Errorf("got %+v, want %s", got, test.want)
			}
			contains(t, got.stderr, `hint="check the base URL`)
			wantFiles(t, folder)
		})
	}
}

// An output file that becomes a folder while the sessions are read is an error.
func TestBackfillFileBecomesFolder(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "history.om")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := startBackfillAPI(t, func() simulator.Fault {
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
			t.Error(err)
		}
		return simulator.Fault{}
	})
	got := execute(t, environment, "backfill", "--chatwize.chatbot="+second, "--output="+path, "--log.level=error")
	if got.status != 1 || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 ||
		!strings.HasPrefix(got.stderr, "chatwize_exporter: error: backfill: --output: cannot be written: ") || !strings.HasSuffix(got.stderr, writeHint+"\n") {
		t.Errorf("got %+v", got)
	}
	wantFiles(t, folder, "history.om")
}

// An interrupt ends backfill while it reads and while it writes. It leaves no file.
func TestBackfillInterrupted(t *testing.T) {
	for _, name := range []string{"reading", "writing"} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			ctx, interrupt := context.WithCancelCause(t.Context())
			signal := errors.New("signal received")
			var asked atomic.Bool
			environment := startBackfillAPI(t, func() simulator.Fault {
				asked.Store(true)
				if name == "reading" {
					interrupt(signal)
					return simulator.Fault{Delay: time.Hour}
				}
				return simulator.Fault{}
			})
			ended := make(chan bool)
			go func() {
				defer close(ended)
				if name == "writing" {
					waitForSize(t, folder, 1<<16)
					interrupt(signal)
				}
			}()
			// Half a century by the second is hours of writing.
			got := executeUntil(ctx, t, environment, "backfill", "--start=1976-01-01", "--step=1s", "--log.level=error",
				"--output="+filepath.Join(folder, "history.om"))
			<-ended
			if want := (result{"", "chatwize_exporter: error: backfill: signal received\n", 1}); got != want || !asked.Load() {
				t.Errorf("got %+v, want %+v", got, want)
			}
			wantFiles(t, folder)
		})
	}
}

// waitForSize waits until a file in a folder has at least size bytes.
func waitForSize(t *testing.T, folder string, size int64) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		names, _ := filepath.Glob(filepath.Join(folder, "*"))
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && info.Size() >= size {
				return
			}
		}
	}
	t.Error("nothing is written")
}
