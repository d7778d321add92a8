package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
	"go.yaml.in/yaml/v3"
)

const ruleTests = "../alerts/*_test.yml"

// bundledAlert is an alert of the bundled rules.
type bundledAlert struct {
	name        string
	expression  string
	parsed      parser.Expr
	hold, keep  time.Duration
	annotations map[string]string
}

// bundledAlerts returns the alerts of the bundled rules, which have one group.
func bundledAlerts(t *testing.T) (alerts []bundledAlert, interval time.Duration) {
	t.Helper()
	groups := readYAML(t, bundledRules)["groups"].([]any)
	if len(groups) != 1 {
		t.Fatalf("the rules have %d groups, want 1", len(groups))
	}
	duration := func(value any) time.Duration {
		if value == nil {
			return 0
		}
		d, err := model.ParseDuration(value.(string))
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(d)
	}
	for _, rule := range groups[0].(object)["rules"].([]any) {
		rule := rule.(object)
		name, ok := rule["alert"].(string)
		if !ok {
			t.Fatalf("%v is no alert: no alert may read what its own group records", rule)
		}
		a := bundledAlert{
			name: name, expression: rule["expr"].(string),
			hold: duration(rule["for"]), keep: duration(rule["keep_firing_for"]), annotations: map[string]string{},
		}
		for key, text := range rule["annotations"].(object) {
			a.annotations[key] = text.(string)
		}
		var err error
		if a.parsed, err = parser.NewParser(parser.Options{}).ParseExpr(a.expression); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		alerts = append(alerts, a)
	}
	return alerts, duration(groups[0].(object)["interval"])
}

var (
	chatbotLabels = []string{"cluster", "namespace", "job", "account", "chatbot"}
	// querySelector finds the selectors in the templates' queries, before printf fills them.
	querySelector = regexp.MustCompile(`chatwize_\w+\{([^}]*)\}`)
	// shared is the selector that a template keeps in a variable.
	shared = regexp.MustCompile("printf `([^`{]*)`")
)

// TestRulesLint checks what keeps the rules cheap and right wherever they run.
func TestRulesLint(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(bundledRules)
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(content, []byte("\n")); lines > 260 {
		t.Errorf("the rules have %d lines, want 260 at most", lines)
	}
	alerts, interval := bundledAlerts(t)
	if interval < time.Minute || interval > 2*time.Minute {
		t.Errorf("the group is evaluated every %v, want 1m to 2m", interval)
	}
	runbooks, err := os.ReadFile("../alerts/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts {
		parser.Inspect(a.parsed, func(node parser.Node, _ []parser.Node) error {
			switch n := node.(type) {
			case *parser.SubqueryExpr:
				t.Errorf("%s has a subquery", a.name)
			case *parser.MatrixSelector:
				vector := n.VectorSelector.(*parser.VectorSelector)
				if back := n.Range + vector.OriginalOffset; back > 24*time.Hour {
					t.Errorf("%s looks back %v", a.name, back)
				}
			case *parser.AggregateExpr:
				if n.Without || !slices.Equal(n.Grouping[:min(3, len(n.Grouping))], chatbotLabels[:3]) {
					t.Errorf("%s aggregates by %v", a.name, n.Grouping)
				}
			case *parser.BinaryExpr:
				if n.VectorMatching == nil || n.LHS.Type() != parser.ValueTypeVector || n.RHS.Type() != parser.ValueTypeVector {
					return nil
				}
				if !n.VectorMatching.On || !slices.Equal(n.VectorMatching.MatchingLabels[:min(3, len(n.VectorMatching.MatchingLabels))], chatbotLabels[:3]) {
					t.Errorf("%s matches without on (cluster, namespace, job, …): %s", a.name, n)
				}
			}
			return nil
		})
		for key, text := range a.annotations {
			selectors := shared.FindAllStringSubmatch(text, -1)
			for _, found := range querySelector.FindAllStringSubmatch(text, -1) {
				if !strings.HasPrefix(found[1], "%s") {
					selectors = append(selectors, found)
				}
			}
			for _, found := range selectors {
				for _, label := range chatbotLabels {
					if !strings.Contains(found[1], label+"=%q") {
						t.Errorf("a query of %s's %s does not select the %s: %s", a.name, key, label, found[0])
					}
				}
			}
		}
		anchor := "#" + strings.ToLower(a.name)
		if !strings.HasSuffix(a.annotations["runbook_url"], "alerts/README.md"+anchor) ||
			!bytes.Contains(runbooks, []byte("\n## "+a.name+"\n")) || !bytes.Contains(runbooks, []byte("("+anchor+")")) {
			t.Errorf("%s has no runbook", a.name)
		}
	}
}

// TestRulesEnforced runs the tests of the rules again, as an operator changes the rules who
// forces a namespace on each tenant. Another tenant has the same series, with other names.
func TestRulesEnforced(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	command := filepath.Join(directory, "enforce")
	if _, err := goCommand("-C", "enforce", "build", "-o", command, "."); err != nil {
		t.Fatal(err)
	}
	rules, err := os.Open(bundledRules)
	if err != nil {
		t.Fatal(err)
	}
	defer rules.Close()
	enforce := exec.CommandContext(t.Context(), command, "namespace", "tenant")
	enforce.Stdin = rules
	output, err := enforce.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(directory, filepath.Base(bundledRules)), output, 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(ruleTests)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var all unitTests
			if err := yaml.Unmarshal(content, &all); err != nil {
				t.Fatal(err)
			}
			all.Tests = slices.DeleteFunc(all.Tests, func(test *unitTest) bool { return !test.giveToTenant() })
			if len(all.Tests) == 0 {
				t.Skip("each test has namespaces of its own")
			}
			path := filepath.Join(directory, filepath.Base(file))
			writeYAML(t, path, all)
			checkWithPromtool(t, "", "test", "rules", path)
		})
	}
}

// unitTests is a file of tests of rules, as far as a namespace changes it.
type unitTests struct {
	Tests []*unitTest `yaml:"tests"`
	Rest  object      `yaml:",inline"`
}

type unitTest struct {
	Series []inputSeries `yaml:"input_series"`
	Checks []struct {
		Alerts []struct {
			Labels object `yaml:"exp_labels"`
			Rest   object `yaml:",inline"`
		} `yaml:"exp_alerts"`
		Rest object `yaml:",inline"`
	} `yaml:"alert_rule_test"`
	Rest object `yaml:",inline"`
}

type inputSeries struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"` // such as 0x60, which is no number
}

var nameOrReason = regexp.MustCompile(`(name|reason)="[^"]*"`)

// giveToTenant gives series and expected alerts of a test the namespace of the tenant, and adds
// those of another tenant. It reports false if the test has namespaces of its own.
func (test *unitTest) giveToTenant() bool {
	// The other's are first, so that a query that sees both returns them first.
	var series []inputSeries
	for i, s := range test.Series {
		if strings.Contains(s.Series, "namespace=") {
			return false
		}
		s.Series = strings.Replace(s.Series, "{", `{namespace="foreign",`, 1)
		// Several names of one chatbot must not become one series.
		s.Series = nameOrReason.ReplaceAllString(s.Series, fmt.Sprintf(`$1="foreign %d"`, i))
		series = append(series, s)
	}
	for _, s := range test.Series {
		s.Series = strings.Replace(s.Series, "{", `{namespace="tenant",`, 1)
		series = append(series, s)
	}
	test.Series = series
	for _, check := range test.Checks {
		for _, alert := range check.Alerts {
			alert.Labels["namespace"] = "tenant"
		}
	}
	return true
}

// TestRulesCost evaluates all expressions for many chatbots of one exporter.
func TestRulesCost(t *testing.T) {
	const chatbots = 200
	db, err := tsdb.Open(t.TempDir(), nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := time.Now().Truncate(time.Minute)
	appendChatbots(t, db, chatbots, now)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: time.Minute})
	defer engine.Close()
	alerts, _ := bundledAlerts(t)
	// The least of several, as others use the machine too.
	var total time.Duration
	for _, a := range alerts {
		least := time.Hour
		for range 10 {
			start := time.Now()
			query, err := engine.NewInstantQuery(t.Context(), db, nil, a.expression, now)
			if err != nil {
				t.Fatal(err)
			}
			if result := query.Exec(t.Context()); result.Err != nil || len(result.Warnings) > 0 {
				t.Fatalf("%s: %v %v", a.name, result.Err, result.Warnings)
			}
			query.Close()
			least = min(least, time.Since(start))
		}
		total += least
		t.Logf("%-28s %8.1f µs a chatbot", a.name, float64(least.Microseconds())/chatbots)
	}
	t.Logf("%-28s %8.1f µs a chatbot", "all", float64(total.Microseconds())/chatbots)
	if each := total / chatbots; each > time.Millisecond {
		t.Errorf("an evaluation takes %v a chatbot, want 1 ms at most", each)
	}
}

// appendChatbots appends what an exporter shows of chatbots: a day by the minute of what the
// rules read of a day, and two hours of the rest.
func appendChatbots(t *testing.T, db *tsdb.DB, chatbots int, now time.Time) {
	t.Helper()
	var series []labels.Labels
	add := func(metric string, pairs ...string) {
		series = append(series, labels.FromStrings(append(pairs, "__name__", metric, "job", job, "instance", "a")...))
	}
	add("up")
	add("chatwize_exporter_build_info", "version", "1")
	add("chatwize_discovery_up")
	add("chatwize_api_errors_total", "reason", "unauthorized")
	add("chatwize_api_errors_total", "reason", "rate_limited")
	for i := range chatbots {
		chatbot := fmt.Sprintf("%032x", i)
		add("chatwize_chatbot_info", "chatbot", chatbot, "name", fmt.Sprint("Chatbot ", i))
		for _, metric := range []string{"up", "fetch_duration_seconds", "last_fetch_timestamp_seconds", "sessions", "malformed_sessions",
			"missing_sessions", "missing_sessions_with_lead", "missing_sessions_with_verified_identity"} {
			add("chatwize_"+metric, "chatbot", chatbot)
		}
		for _, window := range []string{"1h", "1d", "7d"} {
			add("chatwize_recent_sessions", "chatbot", chatbot, "window", window)
			add("chatwize_usual_sessions", "chatbot", chatbot, "window", window)
		}
		add("chatwize_recent_sessions", "chatbot", chatbot, "window", "28d")
	}
	ofDay := regexp.MustCompile("^chatwize_(sessions|malformed_sessions|exporter_build_info)$")
	for at := now.Add(-24 * time.Hour); !at.After(now); at = at.Add(time.Minute) {
		appender := db.Appender(context.Background())
		for i, s := range series {
			if now.Sub(at) > 2*time.Hour && !ofDay.MatchString(s.Get("__name__")) {
				continue
			}
			if _, err := appender.Append(0, s, at.UnixMilli(), float64(i%20+1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := appender.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}
