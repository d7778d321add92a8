package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	job = "chatwize"
	// historyStep is what lies between the scrapes of the past.
	historyStep = 5 * time.Minute
	// replaced is the instance that the first exporter was before its pod moved.
	replaced = "10.1.2.3:10113"
)

// outage is a span of the past without numbers.
type outage struct{ from, to time.Time }

func (o outage) has(t time.Time) bool { return !t.Before(o.from) && t.Before(o.to) }

// history is what Prometheus recorded before the test began: each chatbot, by two
// exporters, with what can happen to these in a fortnight.
type history struct {
	account    *account
	instances  []string // of both exporters
	own        []sample // what exporters tell of themselves
	begin, end time.Time
}

// sample is a line of a metrics page.
type sample struct {
	name, labels string
	value        float64
	counter      bool
}

// away is when no exporter ran.
func (h history) away() outage {
	return outage{h.end.Add(-10 * time.Hour), h.end.Add(-10*time.Hour + 20*time.Minute)}
}

// failing is when the desk could not be fetched.
func (h history) failing() outage {
	return outage{h.end.Add(-6 * time.Hour), h.end.Add(-6*time.Hour + 30*time.Minute)}
}

// importInto makes blocks of the history in Prometheus's data directory.
func (h history) importInto(t *testing.T, directory string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.om")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	buffer := bufio.NewWriter(file)
	h.write(buffer)
	if err := buffer.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	importBlocks(t, path, directory, "200h")
}

// importBlocks makes blocks of a file in Prometheus's data directory.
func importBlocks(t *testing.T, path, directory, longest string) {
	t.Helper()
	// Each block is a pass over the file: a few large ones are made much faster.
	output, err := exec.CommandContext(t.Context(), promtool,
		"tsdb", "create-blocks-from", "openmetrics", "--max-block-duration="+longest, path, directory).CombinedOutput()
	if err != nil {
		t.Fatalf("promtool: %v\n%s", err, output)
	}
}

// write writes the history as OpenMetrics.
func (h history) write(w io.Writer) {
	for at := h.begin; at.Before(h.end); at = at.Add(historyStep) {
		if h.away().has(at) {
			continue
		}
		for i, instance := range h.instances {
			scraped := at
			if i == 1 {
				// The second exporter's numbers are always a little older.
				scraped = at.Add(-20 * time.Second)
			}
			if i == 0 && at.Before(h.end.AddDate(0, 0, -3)) {
				instance = replaced
			}
			for _, c := range h.account.chatbots() {
				h.writeScrape(w, c, c.nameIn(i), instance, scraped)
			}
		}
	}
	// The exporters themselves are remembered for a day or so, but by the minute:
	// rates are taken over minutes.
	minutes := 0.0
	for at := h.end.Add(-26 * time.Hour); at.Before(h.end); at = at.Add(time.Minute) {
		minutes++
		if h.away().has(at) {
			continue
		}
		for _, instance := range h.instances {
			for _, o := range h.own {
				value := o.value
				if o.counter {
					value *= minutes
				}
				fmt.Fprintf(w, "%s{job=%q,instance=%q%s} %g %.3f\n", o.name, job, instance, o.labels, value, unix(at))
			}
		}
	}
	fmt.Fprintln(w, "# EOF")
}

// ownSamples reads what an exporter tells of itself.
func ownSamples(page string) []sample {
	var samples []sample
	for _, found := range ownLine.FindAllStringSubmatch(page, -1) {
		value, err := strconv.ParseFloat(found[3], 64)
		if err != nil {
			continue
		}
		name, labels := found[1], strings.Trim(found[2], "{}")
		if labels != "" {
			labels = "," + labels
		}
		samples = append(samples, sample{name: name, labels: labels, value: value, counter: strings.HasPrefix(name, "chatwize_api_")})
	}
	return samples
}

var ownLine = regexp.MustCompile(`(?m)^(chatwize_api_\w+|chatwize_exporter_\w+|process_resident_memory_bytes)(\{.*\})? (\S+)$`)

func (h history) writeScrape(w io.Writer, c *chatbot, name, instance string, at time.Time) {
	gauge := func(metric string, value float64, label string) {
		fmt.Fprintf(w, "chatwize_%s{job=%q,instance=%q,chatbot=%q%s} %.3f %.3f\n",
			metric, job, instance, c.uuid, label, value, unix(at))
	}
	gauge("chatbot_info", 1, fmt.Sprintf(",name=%q", name))
	gauge("fetch_duration_seconds", 0.5, "")
	if c == h.account.desk && h.failing().has(at) {
		gauge("up", 0, "")
		return
	}
	n := c.count(at)
	gauge("up", 1, "")
	gauge("sessions", n.sessions, "")
	gauge("sessions_with_lead", n.leads, "")
	gauge("sessions_with_verified_identity", n.verified, "")
	gauge("malformed_sessions", 0, "")
	gauge("last_fetch_timestamp_seconds", unix(at), "")
	if n.sessions > 0 {
		gauge("last_session_created_timestamp_seconds", unix(n.created), "")
		gauge("last_session_modified_timestamp_seconds", unix(n.modified), "")
	}
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
