package e2e_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

var (
	resultsPath   = flag.String("results", "", "write what the dashboard's queries return to this file, for picture/draw")
	pictureOf     = flag.Int("chatbots", 0, "draw this number of chatbots instead of the demo's, without its launch")
	pictureScrape = flag.Duration("scrape", 20*time.Second, "scrape for this long before the picture is drawn")
)

// panelResults is what Prometheus answers a panel.
type panelResults struct {
	From    int64                   `json:"from"` // milliseconds, as to
	To      int64                   `json:"to"`
	Steps   map[string]int64        `json:"steps"`   // milliseconds, by refId
	Results map[string]model.Matrix `json:"results"` // by refId
}

// quickRules writes the bundled rules, evaluated each second, and returns where.
func quickRules(t *testing.T) string {
	t.Helper()
	rules := readYAML(t, bundledRules)
	for _, group := range rules["groups"].([]any) {
		group.(object)["interval"] = "1s"
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	writeYAML(t, path, rules)
	return path
}

// TestPicture asks Prometheus all that the dashboard asks, and keeps the answers.
func TestPicture(t *testing.T) {
	if *resultsPath == "" {
		t.Skip("-results is not set")
	}
	chatbots := demoChatbots()
	if *pictureOf > 0 {
		chatbots = manyChatbots(*pictureOf)
	}
	s := newWatch(t, chatbots, watchOptions{replicas: 1, past: 8 * day, rules: quickRules(t)})
	time.Sleep(*pictureScrape)

	b := readBoard(t)
	all := map[int]panelResults{}
	for _, p := range b.panels() {
		v := s.everything(t, b, 7*day, time.Now())
		if *pictureOf == 0 {
			// Next to the launch, nothing else could be seen.
			var others []string
			for _, c := range s.chatbots {
				if c.Name != "Product launch" {
					others = append(others, c.UUID)
				}
			}
			v.choose("chatbot", others...)
		}
		if b.inRow(p) {
			v.span = max(10*time.Minute, *pictureScrape) // there is no more
		}
		answers := panelResults{
			From: v.to.Add(-v.span).UnixMilli(), To: v.to.UnixMilli(),
			Steps: map[string]int64{}, Results: map[string]model.Matrix{},
		}
		for _, target := range p.Targets {
			matrix, err := v.ask(t, s.server, p, target)
			if err != nil {
				t.Fatalf("%s: %v", p.Title, err)
			}
			answers.Steps[target.RefID] = v.interval(t, p, target).Milliseconds()
			answers.Results[target.RefID] = matrix
		}
		all[p.ID] = answers
	}
	content, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*resultsPath, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
