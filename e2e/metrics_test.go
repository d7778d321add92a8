package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// maybeEmpty are the queries of the documentation without a result while all is well.
var maybeEmpty = regexp.MustCompile(`chatwize_up == 0|chatwize_fetch_failure_info|chatwize_malformed_sessions|chatwize_discovery_up == 0|chatwize_api_errors_total`)

// TestDocumentedQueries asks each query of docs/metrics.md of a Prometheus that scrapes
// the demo. Those for chatbots where something is wrong find these.
func TestDocumentedQueries(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	queries := regexp.MustCompile("(?s)```promql\n(.*?)\n```").FindAllStringSubmatch(string(page), -1)
	if len(queries) < 20 {
		t.Fatalf("there are %d queries", len(queries))
	}
	demo := start(t, nil, exporter, "127.0.0.1:0", "demo")
	s := startPrometheus(t, t.TempDir(), bundledRules, demo.address)
	eventually(t, "rates are known", func() error {
		rate, err := s.instant(t.Context(), `sum(rate(chatwize_api_requests_total[1m])) > 0`, time.Now())
		if err == nil && len(rate) == 0 {
			return fmt.Errorf("no rate yet")
		}
		return err
	})
	for _, query := range queries {
		result, err := s.instant(t.Context(), query[1], time.Now())
		if err != nil || len(result) == 0 && !maybeEmpty.MatchString(query[1]) {
			t.Errorf("%s\nhas the result %v, %v", query[1], result, err)
		}
		t.Logf("%s\n%v", query[1], result)
	}
	for query, name := range map[string]string{
		`chatwize_missing_sessions > 15`: "Help centre",
		`chatwize_recent_sessions{window="1d"} < 0.5 * chatwize_usual_sessions{window="1d"}`: "Help centre",
		`chatwize_recent_sessions{window="1d"} > 2 * chatwize_usual_sessions{window="1d"}`:   "Product launch",
		`chatwize_missing_sessions_with_lead > 15`:                                           "Landing page",
	} {
		if !strings.Contains(string(page), "\n"+query+"\n") {
			t.Errorf("there is no query %s", query)
		}
		named := fmt.Sprintf(`(%s) * on (job, instance, chatbot) group_left (name) chatwize_chatbot_info`, query)
		found, err := s.instant(t.Context(), named, time.Now())
		if err != nil || len(found) != 1 || string(found[0].Metric["name"]) != name {
			t.Errorf("%s\nfinds %v, %v, want %s", query, found, err, name)
		}
	}
}
