//go:build soak && linux

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// After 100,000 scrapes, with one chatbot whose fault changes with each of them, the
// exporter has no more goroutines, open files and memory than before.
func TestSoak(t *testing.T) {
	const scrapes = 100_000
	binary := buildBinary(t)
	faults := []http.HandlerFunc{
		body("[" + session + "]"), status(404), status(500), body("<html>"), body("[" + session + "]x"),
		raw("220 SMTP\r\n", false), redirect(302, "{url}"), body("[" + strings.Repeat("[", 20000)),
	}
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, healthy) {
			_, _ = io.WriteString(w, "["+session+"]")
			return
		}
		n++
		faults[n%len(faults)](w, r)
	}))
	defer server.Close()
	command := exec.Command(binary, "--web.listen-address=127.0.0.1:0",
		"--chatwize.url="+server.URL, "--chatwize.chatbot="+healthy, "--chatwize.chatbot="+faulty)
	command.Env = []string{"CHATWIZE_TOKEN=" + secretKey}
	e := startProcess(t, command)

	client := &http.Client{}
	scrape := func() string {
		response, err := client.Get(e.url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		page, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatal(response.Status, err)
		}
		return string(page)
	}
	names := []string{"go_goroutines", "process_open_fds", "process_resident_memory_bytes", "go_memstats_heap_inuse_bytes"}
	values := func(page string) map[string]float64 {
		values := map[string]float64{}
		for _, name := range names {
			match := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(page)
			if match == nil {
				t.Fatalf("no %s", name)
			}
			value, err := strconv.ParseFloat(match[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			values[name] = value
		}
		return values
	}
	for range 1000 { // until everything has been used once
		scrape()
	}
	before := values(scrape())
	for range scrapes {
		scrape()
	}
	after := values(scrape())
	for _, name := range names {
		t.Logf("%-30s before %12.0f  after %d scrapes %12.0f", name, before[name], scrapes, after[name])
	}
	for name, slack := range map[string]float64{"go_goroutines": 10, "process_open_fds": 10, "process_resident_memory_bytes": 16 << 20} {
		if after[name] > before[name]+slack {
			t.Errorf("%s rose from %v to %v", name, before[name], after[name])
		}
	}
}
