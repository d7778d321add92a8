package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

// stage is all that a test plays on: an account, two exporters that show the same
// chatbots, and a Prometheus that has known them for a fortnight.
type stage struct {
	*server
	account   *account
	history   history
	exporters [2]*process
	apiURL    string
}

// newStage starts everything; rules is the path of the rules to load.
func newStage(t *testing.T, rules string) *stage {
	t.Helper()
	now := time.Now()
	s := &stage{account: newAccount(now)}
	s.apiURL = s.account.serve(t)
	var instances []string
	for i := range s.exporters {
		s.startExporter(t, i)
		instances = append(instances, s.exporters[i].address)
	}
	s.history = history{
		account: s.account, instances: instances, own: ownSamples(s.page(t, 0)),
		begin: now.AddDate(0, 0, -days), end: now,
	}
	data := t.TempDir()
	s.history.importInto(t, data)
	s.server = startPrometheus(t, data, rules, instances...)
	eventually(t, "both exporters are scraped", func() error { return s.showsChatbots(t, len(instances)) })
	return s
}

// startExporter starts an exporter, on the same address again if it ran before.
func (s *stage) startExporter(t *testing.T, i int) {
	t.Helper()
	address := "127.0.0.1:0"
	if s.exporters[i] != nil {
		address = s.exporters[i].address
	}
	arguments := []string{"--chatwize.url=" + s.apiURL}
	for _, c := range s.account.chatbots() {
		arguments = append(arguments, "--chatwize.chatbot="+c.uuid+"="+c.nameIn(i))
	}
	s.exporters[i] = start(t, []string{"CHATWIZE_TOKEN=" + key}, exporter, address, arguments...)
}

// page returns the metrics page of an exporter.
func (s *stage) page(t *testing.T, i int) string {
	t.Helper()
	response, err := http.Get("http://" + s.exporters[i].address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// showsChatbots returns a problem unless so many exporters have just shown every
// chatbot as up.
func (s *stage) showsChatbots(t *testing.T, exporters int) error {
	t.Helper()
	up, err := s.instant(t.Context(), fmt.Sprintf(`sum(last_over_time(chatwize_up[%ds]))`, int(2*scrapeInterval.Seconds())), time.Now())
	if err != nil {
		return err
	}
	want := exporters * len(s.account.chatbots())
	if len(up) != 1 || up[0].Value != model.SampleValue(want) {
		return fmt.Errorf("up are %v, want %d", up, want)
	}
	return nil
}
