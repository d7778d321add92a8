package e2e_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// firing is what an alert of the test looks like.
type firing struct {
	alert    string
	chatbot  *chatbot // nil where it is about an exporter
	instance string   // empty where it is about a chatbot
	// says is what its description has.
	says string
}

// TestAlerts drives alerts to fire, and lets them end.
func TestAlerts(t *testing.T) {
	t.Parallel()
	s := newStage(t, shortenedRules(t))
	a := s.account

	// What the sessions tell is seen at once, and stays.
	lasting := []firing{
		{alert: "ChatwizeNoNewSession", chatbot: a.vanished, says: "no new session for "},
		{alert: "ChatwizeLeadsStopped", chatbot: a.mute, says: "lead form"},
		{alert: "ChatwizeVerificationsStopped", chatbot: a.mute, says: "signing of identities"},
	}
	byBoth := func(alert, says string) (both []firing) {
		for _, e := range s.exporters {
			both = append(both, firing{alert: alert, instance: e.address, says: says})
		}
		return both
	}
	s.waitForFiring(t, lasting...)

	a.desk.fails(http.StatusInternalServerError)
	s.waitForFiring(t, append(lasting,
		firing{alert: "ChatwizeChatbotDown", chatbot: a.desk, says: "server_error"})...)
	a.desk.fails(0)
	s.waitForFiring(t, lasting...)

	a.desk.fails(http.StatusUnauthorized)
	refused := append(byBoth("ChatwizeKeyRefused", "401"), lasting...)
	s.waitForFiring(t, append(refused,
		firing{alert: "ChatwizeChatbotDown", chatbot: a.desk, says: "unauthorized"})...)
	a.desk.fails(0)
	s.waitForFiring(t, lasting...)

	// An exporter that has another by its side is named, and nothing else fires.
	var gone []firing
	for _, i := range []int{1, 0} {
		s.exporters[i].kill()
		gone = append(gone, firing{alert: "ChatwizeExporterGone", instance: s.exporters[i].address, says: "could not be scraped"})
		s.waitForFiring(t, slices.Concat(lasting, gone)...)
	}
	s.startExporter(t, 0)
	s.startExporter(t, 1)
	s.waitForFiring(t, lasting...)

	// While the API limits the rate, all chatbots wait.
	limited := append(byBoth("ChatwizeRateLimited", "429"), lasting...)
	for _, c := range a.chatbots() {
		limited = append(limited, firing{alert: "ChatwizeChatbotDown", chatbot: c, says: "rate_limited"})
		c.fails(http.StatusTooManyRequests)
	}
	s.waitForFiring(t, limited...)
	for _, c := range a.chatbots() {
		c.fails(0)
	}
	s.waitForFiring(t, lasting...)

	s.rulesAreHealthy(t)
}

// TestDemoAlerts scrapes the demo. The alerts that it is to show fire, and no others.
func TestDemoAlerts(t *testing.T) {
	t.Parallel()
	demo := start(t, nil, exporter, "127.0.0.1:0", "demo")
	rules := readYAML(t, bundledRules)
	for _, group := range rules["groups"].([]any) {
		group.(object)["interval"] = "1s"
	}
	path := filepath.Join(t.TempDir(), "chatwize.rules.yml")
	writeYAML(t, path, rules)
	s := &stage{server: startPrometheus(t, t.TempDir(), path, demo.address)}
	s.waitForFiring(t,
		firing{alert: "ChatwizeNoNewSession", chatbot: &chatbot{uuid: simulator.DemoVanished, name: "Help centre"}, says: "no new session for "},
		firing{alert: "ChatwizeLeadsStopped", chatbot: &chatbot{uuid: simulator.DemoWithoutLeads, name: "Landing page"}, says: "lead form"})
	s.rulesAreHealthy(t)
}

// waitForFiring waits until the alerts that fire are these and no others.
func (s *stage) waitForFiring(t *testing.T, wants ...firing) {
	t.Helper()
	eventually(t, "the alerts fire", func() error {
		result, err := s.Alerts(t.Context())
		if err != nil {
			return err
		}
		var alerts []v1.Alert
		var descriptions []string
		for _, a := range result.Alerts {
			if a.State == v1.AlertStateFiring {
				alerts = append(alerts, a)
				descriptions = append(descriptions, fmt.Sprintf("%s: %s", a.Labels, a.Annotations["description"]))
			}
		}
		all := strings.Join(descriptions, "\n")
		if len(alerts) != len(wants) {
			return fmt.Errorf("%d alerts fire, want %d:\n%s", len(alerts), len(wants), all)
		}
		for _, want := range wants {
			if !slices.ContainsFunc(alerts, want.is) {
				return fmt.Errorf("%s does not fire as it should:\n%s", want.alert, all)
			}
		}
		return nil
	})
}

// is tells whether an alert is the one that should fire.
func (f firing) is(a v1.Alert) bool {
	switch {
	case a.Labels["alertname"] != model.LabelValue(f.alert), a.Labels["job"] != job, a.Labels["severity"] == "",
		a.Labels["instance"] != model.LabelValue(f.instance), a.Labels["name"] != "", a.Labels["reason"] != "",
		a.Annotations["runbook_url"] == "", !strings.Contains(string(a.Annotations["description"]), f.says):
		return false
	case f.chatbot == nil:
		return a.Labels["chatbot"] == "" && a.Annotations["summary"] != ""
	}
	// Where exporters disagree about the name, either will do.
	summary := string(a.Annotations["summary"])
	return a.Labels["chatbot"] == model.LabelValue(f.chatbot.uuid) &&
		(strings.Contains(summary, f.chatbot.nameIn(0)) || strings.Contains(summary, f.chatbot.nameIn(1)))
}

// rulesAreHealthy fails for each rule that cannot be evaluated.
func (s *stage) rulesAreHealthy(t *testing.T) {
	t.Helper()
	result, err := s.Rules(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range result.Groups {
		for _, rule := range group.Rules {
			switch rule := rule.(type) {
			case v1.AlertingRule:
				if rule.Health != v1.RuleHealthGood {
					t.Errorf("%s: %s", rule.Name, rule.LastError)
				}
			case v1.RecordingRule:
				if rule.Health != v1.RuleHealthGood {
					t.Errorf("%s: %s", rule.Name, rule.LastError)
				}
			}
		}
	}
}

// shortenedRules writes the bundled rules with shorter durations, and returns where.
func shortenedRules(t *testing.T) string {
	t.Helper()
	rules := readYAML(t, bundledRules)
	for _, group := range rules["groups"].([]any) {
		group.(object)["interval"] = "1s"
		for _, rule := range group.(object)["rules"].([]any) {
			shorten(t, rule.(object))
		}
	}
	path := filepath.Join(t.TempDir(), "chatwize.rules.yml")
	writeYAML(t, path, rules)
	return path
}

// shorten shortens what a rule waits for; where the rule looks back at counters, of
// which there is no history, also how far.
func shorten(t *testing.T, rule object) {
	t.Helper()
	for _, name := range []string{"for", "keep_firing_for"} {
		if _, ok := rule[name]; ok {
			rule[name] = "5s"
		}
	}
	expression := rule["expr"].(string)
	if !strings.Contains(expression, "chatwize_api_errors_total") {
		return
	}
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		t.Fatal(err)
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.MatrixSelector); ok {
			selector.Range /= 30
		}
		return nil
	})
	rule["expr"] = parsed.String()
}
