package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// All metrics of the dashboard exist.
func TestDashboard(t *testing.T) {
	dashboard, err := os.ReadFile("dashboards/chatwize.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(dashboard) {
		t.Fatal("the dashboard is not JSON")
	}
	page := start(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + startAPI(t, nil)}).get(t, "/metrics")
	names := regexp.MustCompile(`chatwize_\w+{`).FindAllString(string(dashboard), -1)
	if len(names) == 0 {
		t.Error("the dashboard shows nothing")
	}
	for _, name := range names {
		name = strings.TrimSuffix(name, "{")
		if !strings.Contains(page, "\n"+name+"{") && !strings.Contains(page, "\n"+name+" ") {
			t.Errorf("the dashboard shows %s, which does not exist", name)
		}
	}
}
