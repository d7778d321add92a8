package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// lintDashboard is what the rules look at.
type lintDashboard struct {
	ID            *int            `json:"id"`
	UID           string          `json:"uid"`
	Title         string          `json:"title"`
	Inputs        json.RawMessage `json:"__inputs"`
	Editable      *bool           `json:"editable"` // Grafana's default is true
	SchemaVersion int             `json:"schemaVersion"`
	Tags          []string        `json:"tags"`
	Refresh       string          `json:"refresh"`
	Links         []lintLink      `json:"links"`
	Templating    struct {
		List []lintVariable `json:"list"`
	} `json:"templating"`
	Panels []lintPanel `json:"panels"`
}

type lintLink struct {
	URL string `json:"url"`
}

type lintDatasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type lintVariable struct {
	Name       string          `json:"name"`
	Label      string          `json:"label"`
	Type       string          `json:"type"`
	Datasource lintDatasource  `json:"datasource"`
	Query      json.RawMessage `json:"query"` // text, or an object with the text in query
	Refresh    int             `json:"refresh"`
	Multi      bool            `json:"multi"`
	IncludeAll bool            `json:"includeAll"`
	AllValue   string          `json:"allValue"`
	Regex      string          `json:"regex"`
	Hide       int             `json:"hide"`
}

type lintPanel struct {
	ID          int            `json:"id"`
	Type        string         `json:"type"`
	Title       string         `json:"title"`
	Description string         `json:"description"`
	Collapsed   bool           `json:"collapsed"`
	Datasource  lintDatasource `json:"datasource"`
	GridPos     struct{ X, Y, W, H int }
	Targets     []lintTarget `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit    string `json:"unit"`
			NoValue string `json:"noValue"`
		} `json:"defaults"`
		Overrides []struct {
			Matcher struct {
				ID      string `json:"id"`
				Options string `json:"options"`
			} `json:"matcher"`
			Properties []struct {
				ID    string `json:"id"`
				Value any    `json:"value"`
			} `json:"properties"`
		} `json:"overrides"`
	} `json:"fieldConfig"`
	Panels []lintPanel `json:"panels"` // of a row
}

type lintTarget struct {
	RefID      string         `json:"refId"`
	Datasource lintDatasource `json:"datasource"`
	Expr       string         `json:"expr"`
	Instant    bool           `json:"instant"`
	Range      bool           `json:"range"`
	Interval   string         `json:"interval"`
}

// query returns the text of the variable's query.
func (v lintVariable) query() string {
	var text string
	if json.Unmarshal(v.Query, &text) == nil {
		return text
	}
	var object struct {
		Query string `json:"query"`
	}
	_ = json.Unmarshal(v.Query, &object)
	return object.Query
}

func (d lintDashboard) variable(name string) (lintVariable, bool) {
	i := slices.IndexFunc(d.Templating.List, func(v lintVariable) bool { return v.Name == name })
	if i < 0 {
		return lintVariable{}, false
	}
	return d.Templating.List[i], true
}

// content returns all panels but the rows themselves.
func (d lintDashboard) content() []lintPanel {
	var panels []lintPanel
	for _, p := range d.Panels {
		if p.Type == "row" {
			panels = append(panels, p.Panels...)
		} else {
			panels = append(panels, p)
		}
	}
	return panels
}

// Odd durations stand for Grafana's macros, so that they are told from any other.
const (
	lintRateInterval = "4m13s"
	lintInterval     = "7m"
	lintRange        = "25h"
)

var lintMacros = strings.NewReplacer(
	"$__rate_interval", lintRateInterval, "$__interval", lintInterval, "$__range", lintRange)

func lintParse(expression string) (parser.Expr, error) {
	return parser.NewParser(parser.Options{}).ParseExpr(lintMacros.Replace(expression))
}

// finding says where a rule is broken, and how.
type finding struct{ rule, what string }

// lintRule adds what breaks it.
type lintRule func(d lintDashboard, report func(format string, a ...any))

// eachPanel makes a rule of a check of one panel.
func eachPanel(check func(p lintPanel) error) lintRule {
	return func(d lintDashboard, report func(string, ...any)) {
		for _, p := range d.content() {
			if err := check(p); err != nil {
				report("panel %q: %v", p.Title, err)
			}
		}
	}
}

// eachSelector makes a rule of a check of one selector of a panel's query; path
// leads down to it.
func eachSelector(check func(s *parser.VectorSelector, path []parser.Node) error) lintRule {
	return func(d lintDashboard, report func(string, ...any)) {
		for _, p := range d.content() {
			for _, target := range p.Targets {
				expression, err := lintParse(target.Expr)
				if err != nil {
					continue // target-promql-rule says so
				}
				parser.Inspect(expression, func(node parser.Node, path []parser.Node) error {
					if s, ok := node.(*parser.VectorSelector); ok {
						if err := check(s, path); err != nil {
							report("panel %q, query %s: %s %v", p.Title, target.RefID, s.Name, err)
						}
					}
					return nil
				})
			}
		}
	}
}

// selects asks for the matcher that follows the variable.
func selects(s *parser.VectorSelector, variable string) error {
	for _, m := range s.LabelMatchers {
		if m.Name == variable && m.Type == labels.MatchRegexp && m.Value == "$"+variable {
			return nil
		}
	}
	return fmt.Errorf(`lacks %s=~"$%[1]s"`, variable)
}

// call returns the innermost function around the end of a path.
func call(path []parser.Node) string {
	for _, node := range slices.Backward(path) {
		if c, ok := node.(*parser.Call); ok {
			return c.Func.Name
		}
	}
	return ""
}

// filters asks for a variable of chatbots, jobs or instances as the linter wants it.
func filters(name, label, all string) lintRule {
	return func(d lintDashboard, report func(string, ...any)) {
		v, ok := d.variable(name)
		if !ok {
			report("there is no variable %s", name)
			return
		}
		if v.Type != "query" || v.Label != label || !v.Multi || !v.IncludeAll || v.AllValue != all || v.Datasource.UID != "${datasource}" {
			report("variable %s: not a query of ${datasource} labelled %s, for several values or %s for all", name, label, all)
		}
	}
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// chatbotGauge matches the gauges that a replica has for each chatbot. They fall when
// sessions are deleted, and every replica has them.
var chatbotGauge = regexp.MustCompile(`^chatwize_(up|sessions.*|malformed_sessions|(recent|usual|missing)_.+|last_.+|fetch_.+|chatbot_info)$`)

// metric returns the name that a selector is for, or the expression of several names.
func metric(s *parser.VectorSelector) string {
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			return m.Value
		}
	}
	return s.Name
}

// names says whether a selector only finds the names of chatbots that another selects.
func names(s *parser.VectorSelector, path []parser.Node) bool {
	inGroup := slices.ContainsFunc(path, func(node parser.Node) bool {
		a, ok := node.(*parser.AggregateExpr)
		return ok && a.Op == parser.GROUP
	})
	return s.Name == "chatwize_chatbot_info" || s.Name == "chatwize_sessions" && inGroup
}

// ofAlerts says whether a selector is for alerts. These are of jobs, and perhaps not of
// an instance, so that the linter has to be told to except their panels.
func ofAlerts(s *parser.VectorSelector) bool {
	return s.Name == "ALERTS" || s.Name == "ALERTS_FOR_STATE"
}

// Names of Grafana's units, as in its valueFormats/categories.ts: those that are in use.
var units = []string{"none", "string", "locale", "percentunit", "s", "bytes", "Bps", "cpm", "opm", "dateTimeFromNow"}

// lintRules holds those of grafana/dashboard-linter under its names for them, for
// it has no release that could be had as a module; where it leaves out some types
// of panels or lets a default pass, these do not. The rest are our own.
var lintRules = map[string]lintRule{
	"template-datasource-rule": func(d lintDashboard, report func(string, ...any)) {
		v, _ := d.variable("datasource")
		if v.Type != "datasource" || v.Label != "Data source" || v.query() != "prometheus" {
			report("no variable datasource, labelled Data source, of Prometheus")
		}
	},
	"template-job-rule":      filters("job", "Job", ".+"),
	"template-instance-rule": filters("instance", "Instance", ".+"),
	"template-label-promql-rule": func(d lintDashboard, report func(string, ...any)) {
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			if found := queryResult.FindStringSubmatch(v.query()); found != nil {
				if _, err := lintParse(found[1]); err != nil || v.Regex == "" {
					report("variable %s: no regular expression, or %v", v.Name, err)
				}
			} else if found := labelValues.FindStringSubmatch(v.query()); found == nil {
				report("variable %s: not label_values(series, label) or query_result(query)", v.Name)
			} else if _, err := lintParse(found[1]); err != nil {
				report("variable %s: %v", v.Name, err)
			} else if found[2] != v.Name {
				report("variable %s: has the values of %s", v.Name, found[2])
			}
		}
	},
	"template-on-time-change-reload-rule": func(d lintDashboard, report func(string, ...any)) {
		for _, v := range d.Templating.List {
			if v.Type == "query" && v.Refresh != 2 {
				report("variable %s: not refreshed when the time range changes", v.Name)
			}
		}
	},
	"panel-datasource-rule": eachPanel(func(p lintPanel) error {
		want := lintDatasource{Type: "prometheus", UID: "${datasource}"}
		if p.Datasource != want {
			return fmt.Errorf("data source %s", p.Datasource)
		}
		for _, target := range p.Targets {
			if target.Datasource != want {
				return fmt.Errorf("data source %s of query %s", target.Datasource, target.RefID)
			}
		}
		return nil
	}),
	"panel-title-description-rule": eachPanel(func(p lintPanel) error {
		if p.Title == "" || p.Description == "" {
			return fmt.Errorf("panel %d has no title or no description", p.ID)
		}
		return nil
	}),
	"panel-units-rule": eachPanel(func(p lintPanel) error {
		used := []any{p.FieldConfig.Defaults.Unit}
		for _, o := range p.FieldConfig.Overrides {
			for _, property := range o.Properties {
				if property.ID == "unit" {
					used = append(used, property.Value)
				}
			}
		}
		for _, u := range used {
			if text, _ := u.(string); !slices.Contains(units, text) {
				return fmt.Errorf("unit %q", u)
			}
		}
		return nil
	}),
	"panel-no-targets-rule": eachPanel(func(p lintPanel) error {
		if len(p.Targets) == 0 {
			return fmt.Errorf("no query")
		}
		return nil
	}),
	"target-promql-rule": eachPanel(func(p lintPanel) error {
		for _, target := range p.Targets {
			if _, err := lintParse(target.Expr); err != nil {
				return fmt.Errorf("query %s: %w", target.RefID, err)
			}
		}
		return nil
	}),
	"target-rate-interval-rule": eachSelector(func(_ *parser.VectorSelector, path []parser.Node) error {
		if name := call(path); name == "rate" || name == "irate" {
			if m, ok := path[len(path)-1].(*parser.MatrixSelector); !ok || m.Range.String() != lintRateInterval {
				return fmt.Errorf("has a %s over another range than $__rate_interval", name)
			}
		}
		return nil
	}),
	"target-job-rule": eachSelector(func(s *parser.VectorSelector, _ []parser.Node) error {
		if ofAlerts(s) {
			return nil
		}
		return selects(s, "job")
	}),
	"target-instance-rule": eachSelector(func(s *parser.VectorSelector, _ []parser.Node) error {
		if ofAlerts(s) {
			return nil
		}
		return selects(s, "instance")
	}),
	"target-counter-agg-rule": eachSelector(func(s *parser.VectorSelector, path []parser.Node) error {
		if strings.HasSuffix(s.Name, "_total") && !slices.Contains([]string{"rate", "irate", "increase"}, call(path)) {
			return fmt.Errorf("is a counter without rate or increase")
		}
		return nil
	}),
	"target-histogram-rule": eachSelector(func(s *parser.VectorSelector, path []parser.Node) error {
		inQuantile := slices.ContainsFunc(path, func(node parser.Node) bool {
			c, ok := node.(*parser.Call)
			return ok && c.Func.Name == "histogram_quantile"
		})
		if strings.HasSuffix(s.Name, "_bucket") && !inQuantile {
			return fmt.Errorf("is a bucket without histogram_quantile")
		}
		return nil
	}),
	"uneditable-dashboard": func(d lintDashboard, report func(string, ...any)) {
		if d.Editable == nil || *d.Editable {
			report("it is editable")
		}
	},

	// An id or inputs would tie it to one Grafana, or to one way of import.
	"importable": func(d lintDashboard, report func(string, ...any)) {
		if d.ID != nil || d.Inputs != nil || d.UID != "chatwize" || d.SchemaVersion < 42 {
			report("it has an id or inputs, another uid, or an old schema")
		}
		if d.Title == "" || len(d.Tags) == 0 || d.Refresh == "" {
			report("it has no title, no tags, or no refresh")
		}
		if !slices.ContainsFunc(d.Links, func(l lintLink) bool { return strings.HasSuffix(l.URL, "/alerts/README.md") }) {
			report("it has no link to the alerts")
		}
	},
	"template-chatbot": filters("chatbot", "Chatbot", ".+"),
	// Without accounts there is no label, and nothing to choose.
	"template-account": filters("account", "Account", ".*"),
	"template-hide": func(d lintDashboard, report func(string, ...any)) {
		const inMenu, hidden = 3, 2
		for name, want := range map[string]int{"account": inMenu, "twins": hidden, "slots": hidden, "chatbot": 0} {
			if v, _ := d.variable(name); v.Hide != want {
				report("variable %s: hide is %d, want %d", name, v.Hide, want)
			}
		}
	},
	// What can be chosen follows what has been chosen to the left.
	"template-chain": func(d lintDashboard, report func(string, ...any)) {
		for name, wanted := range map[string][]string{
			"instance": {"job"}, "account": {"job", "instance"}, "chatbot": {"job", "instance", "account"},
		} {
			v, _ := d.variable(name)
			for _, w := range wanted {
				if !strings.Contains(v.query(), fmt.Sprintf(`%s=~"$%[1]s"`, w)) {
					report("variable %s does not depend on %s", name, w)
				}
			}
		}
	},
	"target-chatbot": eachSelector(func(s *parser.VectorSelector, path []parser.Node) error {
		if chatbotGauge.MatchString(metric(s)) && !names(s, path) {
			return selects(s, "chatbot")
		}
		return nil
	}),
	"target-account": eachSelector(func(s *parser.VectorSelector, path []parser.Node) error {
		if name := metric(s); strings.HasPrefix(name, "chatwize_") && name != "chatwize_exporter_build_info" && !names(s, path) {
			return selects(s, "account")
		}
		return nil
	}),
	// Where the data source is left at 15 seconds and scrapes come each minute, the window
	// of a rate would have a sample or none.
	"target-rate-window": eachPanel(func(p lintPanel) error {
		for _, target := range p.Targets {
			if strings.Contains(target.Expr, "$__rate_interval") != (target.Interval == "1m") {
				return fmt.Errorf("query %s has the interval %q", target.RefID, target.Interval)
			}
		}
		return nil
	}),
	"target-instant": eachPanel(func(p lintPanel) error {
		for _, target := range p.Targets {
			if onlyLast := p.Type == "stat" || p.Type == "table"; target.Instant != onlyLast || target.Range == onlyLast {
				return fmt.Errorf("query %s is instant: %v", target.RefID, target.Instant)
			}
		}
		return nil
	}),
	"target-short": eachPanel(func(p lintPanel) error {
		for _, target := range p.Targets {
			if len(target.Expr) > 800 {
				return fmt.Errorf("query %s has %d characters", target.RefID, len(target.Expr))
			}
		}
		return nil
	}),
	// The exporter itself says what was weeks ago.
	"target-lookback": func(d lintDashboard, report func(string, ...any)) {
		check := func(where, query string) {
			expression, err := lintParse(query)
			if err != nil {
				return // target-promql-rule says so
			}
			parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
				var back time.Duration
				switch n := node.(type) {
				case *parser.MatrixSelector:
					back = n.Range + n.VectorSelector.(*parser.VectorSelector).OriginalOffset
				case *parser.SubqueryExpr:
					back = n.Range + max(0, n.OriginalOffset)
				case *parser.VectorSelector:
					back = n.OriginalOffset
				}
				if back > day {
					report("%s: looks back for %v", where, back)
				}
				return nil
			})
		}
		for _, v := range d.Templating.List {
			if found := queryResult.FindStringSubmatch(v.query()); found != nil {
				check("variable "+v.Name, found[1])
			}
		}
		for _, p := range d.content() {
			for _, target := range p.Targets {
				check(fmt.Sprintf("panel %q, query %s", p.Title, target.RefID), target.Expr)
			}
		}
	},
	"panel-says-why-empty": eachPanel(func(p lintPanel) error {
		if p.FieldConfig.Defaults.NoValue == "" {
			return fmt.Errorf("no text for the case of no data")
		}
		// In a table, the text would be in each empty cell.
		if p.Type == "table" {
			o := p.FieldConfig.Overrides[0]
			if o.Matcher.Options != "/.*/" || len(o.Properties) != 1 || o.Properties[0].ID != "noValue" || o.Properties[0].Value != "–" {
				return fmt.Errorf("no other text for empty cells")
			}
		}
		return nil
	}),
	"panel-plain-description": eachPanel(func(p lintPanel) error {
		for _, sentence := range regexp.MustCompile(`[.:;]\s`).Split(p.Description, -1) {
			if n := len(strings.Fields(sentence)); n > 20 {
				return fmt.Errorf("%d words without a stop: %s", n, sentence)
			}
		}
		return nil
	}),
	// The dashboard may have been imported under another uid.
	"links-without-uid": func(d lintDashboard, report func(string, ...any)) {
		for _, l := range d.Links {
			if strings.Contains(l.URL, "/d/") {
				report("link to %s", l.URL)
			}
		}
		for _, p := range d.content() {
			for _, o := range p.FieldConfig.Overrides {
				for _, property := range o.Properties {
					if property.ID != "links" {
						continue
					}
					if text := fmt.Sprint(property.Value); strings.Contains(text, "/d/") || !strings.Contains(text, "url:${__url.path}?") {
						report("panel %q: link %s", p.Title, text)
					}
				}
			}
		}
	},
	// Process metrics exist for every job, and $job may be all of them.
	"target-own": eachSelector(func(s *parser.VectorSelector, path []parser.Node) error {
		if strings.HasPrefix(metric(s), "chatwize_") {
			return nil
		}
		if ofAlerts(s) {
			if strings.Contains(s.String(), `alertname=~"Chatwize.+"`) {
				return nil
			}
			return fmt.Errorf("is not limited to the alerts of chatbots and exporters")
		}
		for _, node := range path {
			if b, ok := node.(*parser.BinaryExpr); ok && b.Op == parser.LAND && strings.Contains(b.RHS.String(), "chatwize_exporter_build_info") {
				return nil
			}
		}
		return fmt.Errorf("is not limited to exporters by chatwize_exporter_build_info")
	}),
	// A gauge that falls is no counter that was reset.
	"gauge-no-rate": eachSelector(func(s *parser.VectorSelector, path []parser.Node) error {
		if !chatbotGauge.MatchString(metric(s)) {
			return nil
		}
		for _, node := range path {
			if c, ok := node.(*parser.Call); ok && slices.Contains([]string{
				"rate", "irate", "increase", "resets", "delta", "idelta", "deriv", "predict_linear",
			}, c.Func.Name) {
				return fmt.Errorf("is a gauge in %s", c.Func.Name)
			}
		}
		return nil
	}),
	// Two replicas show the same chatbots, and a new pod has a new instance: they
	// are folded by max, or by group where only their labels matter, before anything
	// else is done that adds up or compares.
	"replica-max": eachSelector(func(s *parser.VectorSelector, path []parser.Node) error {
		name := metric(s)
		if !chatbotGauge.MatchString(name) {
			return nil
		}
		for _, node := range slices.Backward(path) {
			switch n := node.(type) {
			case *parser.AggregateExpr:
				// The replica that knows more sessions misses fewer.
				op := parser.ItemType(parser.MAX)
				if strings.HasPrefix(name, "chatwize_missing_") {
					op = parser.MIN
				}
				if (n.Op == op || n.Op == parser.GROUP) && !n.Without && slices.Contains(n.Grouping, "chatbot") && !slices.Contains(n.Grouping, "instance") {
					return nil
				}
				return fmt.Errorf("is in %s before it is in max by (chatbot)", n.Op)
			case *parser.SubqueryExpr:
				return fmt.Errorf("is in a subquery before it is in max by (chatbot)")
			case *parser.BinaryExpr:
				if n.VectorMatching != nil {
					return fmt.Errorf("is compared with another before it is in max by (chatbot)")
				}
			}
		}
		return fmt.Errorf("is not in max by (chatbot)")
	}),
	"layout": func(d lintDashboard, report func(string, ...any)) {
		ids := map[int]bool{}
		taken := map[[2]int]string{}
		place := func(p lintPanel) {
			if p.ID == 0 || ids[p.ID] {
				report("panel %q: no id of its own", p.Title)
			}
			ids[p.ID] = true
			if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W < 1 || p.GridPos.H < 1 {
				report("panel %q: off the grid", p.Title)
			}
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if other, ok := taken[at]; ok {
						report("panel %q: on top of %q", p.Title, other)
						return
					}
					taken[at] = p.Title
				}
			}
		}
		for _, p := range d.Panels {
			place(p)
			if p.Type == "row" && (!p.Collapsed || len(p.Panels) == 0) {
				report("row %q: not collapsed, or empty", p.Title)
			}
			for _, inRow := range p.Panels {
				place(inRow)
			}
		}
	},
}

// lint returns what breaks the rules.
func lint(t *testing.T, dashboard []byte) []finding {
	t.Helper()
	var d lintDashboard
	if err := json.Unmarshal(dashboard, &d); err != nil {
		t.Fatal(err)
	}
	var findings []finding
	for name, rule := range lintRules {
		rule(d, func(format string, a ...any) {
			findings = append(findings, finding{name, fmt.Sprintf(format, a...)})
		})
	}
	return findings
}

func readDashboard(t *testing.T) []byte {
	t.Helper()
	dashboard, err := os.ReadFile("../dashboards/chatwize.json")
	if err != nil {
		t.Fatal(err)
	}
	return dashboard
}

// Rates have samples in their window, even where the data source is left at Grafana's
// 15 seconds: of scrapes each minute three, so that one may fail.
func TestDashboardRateWindow(t *testing.T) {
	b := readBoard(t)
	checked := 0
	for _, p := range b.panels() {
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, "$__rate_interval") {
				continue
			}
			checked++
			for _, span := range []time.Duration{15 * time.Minute, day, 30 * day} {
				v := everything(span, time.Now())
				window, err := model.ParseDuration(v.expand(t, "$__rate_interval", v.interval(t, p, target), target.scrapeInterval(t)))
				if err != nil || time.Duration(window) < 4*time.Minute {
					t.Errorf("%s (%s), %v: the window is %v, %v", p.Title, target.RefID, span, window, err)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("there are no rates")
	}
}

// The dashboard keeps the rules of grafana/dashboard-linter, and ours.
func TestDashboardLint(t *testing.T) {
	for _, f := range lint(t, readDashboard(t)) {
		t.Errorf("%s: %s", f.rule, f.what)
	}
}

// Each rule finds what it is there for: a dashboard that breaks one is found out.
func TestDashboardLintFinds(t *testing.T) {
	dashboard := readDashboard(t)
	tests := []struct{ rule, old, broken string }{
		{"template-datasource-rule", `"label": "Data source"`, `"label": "Datasource"`},
		{"template-datasource-rule", `"query": "prometheus"`, `"query": "loki"`},
		{"template-job-rule", `"label": "Job"`, `"label": "Jobs"`},
		{"template-job-rule", `"allValue": ".+"`, `"allValue": ".*"`},
		{"template-job-rule", `"multi": true`, `"multi": false`},
		{"template-instance-rule", `"name": "instance"`, `"name": "pod"`},
		{"template-chatbot", `"label": "Chatbot"`, `"label": "Bot"`},
		{"template-label-promql-rule", `label_values(chatwize_up, job)`, `label_values(chatwize_up{, job)`},
		{"template-label-promql-rule", `label_values(chatwize_up, job)`, `label_values(chatwize_up, instance)`},
		{"template-label-promql-rule", `label_values(chatwize_up, job)`, `query_result(chatwize_up)`},
		{"template-on-time-change-reload-rule", `"refresh": 2`, `"refresh": 1`},
		{"template-chain", `label_values(chatwize_up{job=~\"$job\"}, instance)`, `label_values(chatwize_up, instance)`},
		{"panel-datasource-rule", `"gridPos":`, `"datasource": {"uid": "prometheus"}, "gridPos":`},
		{"panel-datasource-rule", `"editorMode":`, `"datasource": {"uid": "prometheus"}, "editorMode":`},
		{"panel-title-description-rule", `"title": "Missing"`, `"title": ""`},
		{"panel-title-description-rule", `"description": "How long fetches`, `"note": "How long fetches`},
		{"panel-units-rule", `"unit": "percentunit"`, `"unit": "percent-unit"`},
		{"panel-units-rule", `"value": "percentunit"`, `"value": 1`},
		{"panel-no-targets-rule", `"targets": [`, `"sources": [`},
		{"target-promql-rule", `"expr": "sum(`, `"expr": "sum((`},
		{"target-rate-interval-rule", `[$__rate_interval]`, `[5m]`},
		{"target-rate-interval-rule", `[$__rate_interval]`, `[$__interval]`},
		{"target-job-rule", `_with_lead{job=~\"$job\"`, `_with_lead{job=\"$job\"`},
		{"template-account", `"allValue": ".*"`, `"allValue": ".+"`},
		{"template-hide", `"hide": 3`, `"hide": 0`},
		{"template-label-promql-rule", `query_result(label_join(`, `query_result((label_join(`},
		{"template-label-promql-rule", `"regex": "/chatbot=`, `"pattern": "/chatbot=`},
		{"target-account", `, account=~\"$account\", chatbot`, `, chatbot`},
		{"target-rate-window", `"interval": "1m"`, `"interval": "15s"`},
		{"target-rate-window", `"interval": "1m"`, `"intervals": "1m"`},
		{"target-instant", `"instant": true`, `"range": true`},
		{"target-instant", `"range": true`, `"instant": true`},
		{"target-short", `"expr": "sum(`, `"expr": "sum(` + strings.Repeat(" ", 800)},
		{"target-lookback", `}[1d]`, `}[25h]`},
		{"target-lookback", `}[25h] @ end()`, `}[50h] @ end()`},
		{"target-lookback", `window=\"7d\"}[1h]`, `window=\"7d\"}[1h] offset 1w`},
		{"panel-says-why-empty", `"noValue": "–"`, `"noValue": ""`},
		{"panel-says-why-empty", `"id": "noValue"`, `"id": "unit"`},
		{"panel-plain-description", `The table below says which. `, strings.Repeat("The table below says which ", 4)},
		{"links-without-uid", `${__url.path}?`, `/d/chatwize?`},
		{"links-without-uid", `/alerting/list`, `/d/chatwize`},
		{"target-job-rule", `process_resident_memory_bytes{job=~\"$job\", `, `process_resident_memory_bytes{`},
		{"target-instance-rule", `_with_lead{job=~\"$job\", instance=~\"$instance\"`, `_with_lead{job=~\"$job\", instance=~\"$job\"`},
		{"target-chatbot", `, chatbot=~\"$chatbot\"}`, `}`},
		{"target-counter-agg-rule", `rate(chatwize_api_errors_total{job=~\"$job\", instance=~\"$instance\", account=~\"$account\"}[$__rate_interval])`,
			`chatwize_api_errors_total{job=~\"$job\", instance=~\"$instance\", account=~\"$account\"}`},
		{"target-histogram-rule", `histogram_quantile(0.95, `, `topk(1, `},
		{"target-own", ` and on (job, instance) chatwize_exporter_build_info{job=~\"$job\", instance=~\"$instance\"}`, ``},
		{"target-own", `alertname=~\"Chatwize.+\", `, ``},
		{"gauge-no-rate", `last_over_time(chatwize_sessions_with_lead{`, `delta(chatwize_sessions_with_lead{`},
		{"gauge-no-rate", `last_over_time(chatwize_recent_sessions{`, `increase(chatwize_recent_sessions{`},
		{"replica-max", `count(max by (chatbot) (chatwize_up`, `count((chatwize_up`},
		{"replica-max", `max by (chatbot) (last_over_time(`, `max by (chatbot, instance) (last_over_time(`},
		{"replica-max", `max by (chatbot) (last_over_time(`, `sum by (chatbot) (last_over_time(`},
		{"replica-max", `max by (chatbot) (last_over_time(`, `(last_over_time(`},
		{"replica-max", `min by (__name__, chatbot)`, `max by (__name__, chatbot)`},
		{"uneditable-dashboard", `"editable": false`, `"editable": true`},
		{"uneditable-dashboard", `"editable": false,`, ``},
		{"importable", `"uid": "chatwize"`, `"id": 7, "uid": "chatwize"`},
		{"importable", `"uid": "chatwize"`, `"__inputs": [], "uid": "chatwize"`},
		{"importable", `"refresh": "1m"`, `"refresh": ""`},
		{"importable", `/alerts/README.md`, `/README.md`},
		{"importable", `"schemaVersion": 42`, `"schemaVersion": 36`},
		{"layout", `"id": 2`, `"id": 1`},
		{"layout", `"x": 0`, `"x": 1`},
		{"layout", `"collapsed": true`, `"collapsed": false`},
	}
	untested := map[string]bool{}
	for rule := range lintRules {
		untested[rule] = true
	}
	for _, tt := range tests {
		delete(untested, tt.rule)
		t.Run(tt.rule+" "+tt.broken, func(t *testing.T) {
			if !bytes.Contains(dashboard, []byte(tt.old)) {
				t.Fatalf("the dashboard has no %s to break", tt.old)
			}
			broken := bytes.Replace(dashboard, []byte(tt.old), []byte(tt.broken), 1)
			if !slices.ContainsFunc(lint(t, broken), func(f finding) bool { return f.rule == tt.rule }) {
				t.Errorf("with %s in place of %s nothing is found", tt.broken, tt.old)
			}
		})
	}
	for rule := range untested {
		t.Errorf("%s is never shown to find anything", rule)
	}
}
