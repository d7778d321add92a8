package e2e_test

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

var resultsPath = flag.String("results", "", "write what the dashboard's queries return to this file, for picture/draw")

// picturePanel is what else a picture needs to know of a panel.
type picturePanel struct {
	boardPanel
	ID       int    `json:"id"`
	TimeFrom string `json:"timeFrom"`
}

// panelResults is what Prometheus answers a panel.
type panelResults struct {
	From    int64                   `json:"from"` // milliseconds, as to
	To      int64                   `json:"to"`
	Steps   map[string]int64        `json:"steps"`   // milliseconds, by refId
	Results map[string]model.Matrix `json:"results"` // by refId
}

// TestPicture asks Prometheus all that the dashboard's open rows ask, and keeps the
// answers.
func TestPicture(t *testing.T) {
	if *resultsPath == "" {
		t.Skip("-results is not set")
	}
	var b struct {
		Panels []picturePanel `json:"panels"`
	}
	if err := json.Unmarshal(readDashboard(t), &b); err != nil {
		t.Fatal(err)
	}
	s := newStage(t, bundledRules)
	now := time.Now()
	all := map[int]panelResults{}
	for _, p := range b.Panels {
		v := everything(day, now)
		// A legend has room for three without scrolling.
		v.variables["chatbot"] = strings.Join([]string{s.account.shop.uuid, s.account.desk.uuid, s.account.vanished.uuid}, "|")
		if p.TimeFrom != "" {
			span, err := model.ParseDuration(p.TimeFrom)
			if err != nil {
				t.Fatalf("%s: timeFrom: %v", p.Title, err)
			}
			v.span = time.Duration(span)
		}
		answers := panelResults{
			From: v.to.Add(-v.span).UnixMilli(), To: v.to.UnixMilli(),
			Steps: map[string]int64{}, Results: map[string]model.Matrix{},
		}
		for _, target := range p.Targets {
			matrix, err := v.ask(t, s.server, p.boardPanel, target)
			if err != nil {
				t.Fatalf("%s: %v", p.Title, err)
			}
			answers.Steps[target.RefID] = v.interval(t, p.boardPanel, target).Milliseconds()
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
