package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

// board is what Grafana reads from a dashboard to ask Prometheus.
type board struct {
	Panels     []boardPanel `json:"panels"`
	Templating struct {
		List []lintVariable `json:"list"`
	} `json:"templating"`
}

type boardPanel struct {
	ID            int           `json:"id"`
	Title         string        `json:"title"`
	Type          string        `json:"type"`
	Interval      string        `json:"interval"`
	MaxDataPoints int           `json:"maxDataPoints"`
	Targets       []boardTarget `json:"targets"`
	Panels        []boardPanel  `json:"panels"` // of a collapsed row
	FieldConfig   struct {
		Defaults struct {
			NoValue string `json:"noValue"`
			Color   struct {
				Mode string `json:"mode"`
			} `json:"color"`
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
	Transformations []struct {
		ID      string `json:"id"`
		Options struct {
			ExcludeByName map[string]bool   `json:"excludeByName"`
			IndexByName   map[string]int    `json:"indexByName"`
			RenameByName  map[string]string `json:"renameByName"`
		} `json:"options"`
	} `json:"transformations"`
}

type boardTarget struct {
	RefID        string `json:"refId"`
	Expr         string `json:"expr"`
	Instant      bool   `json:"instant"`
	Range        bool   `json:"range"`
	Interval     string `json:"interval"`
	LegendFormat string `json:"legendFormat"`
}

// scrapeInterval returns the interval from which Grafana computes the rate window: the
// query's own, or the data source's.
func (target boardTarget) scrapeInterval(t *testing.T) time.Duration {
	t.Helper()
	if target.Interval == "" {
		return grafanaInterval
	}
	d, err := model.ParseDuration(target.Interval)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(d)
}

func readBoard(t *testing.T) board {
	t.Helper()
	var b board
	if err := json.Unmarshal(readDashboard(t), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// panels returns all panels that ask something, those in collapsed rows included.
func (b board) panels() []boardPanel {
	var panels []boardPanel
	for _, p := range b.Panels {
		panels = append(panels, p.Panels...)
		panels = append(panels, p)
	}
	return slices.DeleteFunc(panels, func(p boardPanel) bool { return len(p.Targets) == 0 })
}

// inRow says whether a panel is in a collapsed row.
func (b board) inRow(p boardPanel) bool {
	return !slices.ContainsFunc(b.Panels, func(other boardPanel) bool { return other.ID == p.ID })
}

// view is what a user of the dashboard has chosen.
type view struct {
	to        time.Time
	span      time.Duration
	variables map[string]string // by name, as the regular expressions they become
}

// everything is the view of all there is, over a span until a time.
func everything(span time.Duration, to time.Time) view {
	return view{to: to, span: span, variables: map[string]string{
		"job": ".+", "instance": ".+", "account": ".*", "twins": "none", "slots": "", "chatbot": ".+",
	}}
}

// option is what a variable offers.
type option struct{ text, value string }

// options returns what a variable offers, as Grafana's Prometheus data source and its
// variables of type query make it.
func (v view) options(t *testing.T, s *server, variable lintVariable) []option {
	t.Helper()
	query := v.expand(t, variable.query(), 0, 0)
	if found := labelValues.FindStringSubmatch(query); found != nil {
		values, warnings, err := s.LabelValues(t.Context(), found[2], []string{found[1]}, v.to.Add(-v.span), v.to)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %v", variable.Name, warnings, err)
		}
		var options []option
		for _, value := range values {
			options = append(options, option{string(value), string(value)})
		}
		return options
	}
	found := queryResult.FindStringSubmatch(query)
	if found == nil {
		t.Fatalf("%s: %s is not understood", variable.Name, query)
	}
	vector, err := s.instant(t.Context(), found[1], v.to)
	if err != nil {
		t.Errorf("%s: %v", variable.Name, err)
	}
	pattern := regexp.MustCompile(strings.Trim(variable.Regex, "/"))
	var options []option
	for _, sample := range vector {
		// Grafana does not escape anything here.
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(sample.Metric)) {
			labels = append(labels, fmt.Sprintf(`%s="%s"`, name, sample.Metric[name]))
		}
		text := fmt.Sprintf("{%s} %v %d", strings.Join(labels, ","), sample.Value, sample.Timestamp)
		match := pattern.FindStringSubmatch(text)
		if match == nil {
			t.Errorf("%s: %s does not match %s", variable.Name, text, pattern)
			continue
		}
		o := option{match[1], match[1]}
		if i := pattern.SubexpIndex("text"); i > 0 {
			o = option{match[i], match[pattern.SubexpIndex("value")]}
		}
		if !slices.ContainsFunc(options, func(other option) bool { return other.value == o.value }) {
			options = append(options, o)
		}
	}
	slices.SortFunc(options, func(a, b option) int { return strings.Compare(a.text, b.text) })
	return options
}

var queryResult = regexp.MustCompile(`^query_result\((.+)\)$`)

// choose sets a variable to some of its values, as Grafana writes these into a query.
func (v view) choose(name string, values ...string) {
	for i, value := range values {
		values[i] = regexp.QuoteMeta(value)
	}
	v.variables[name] = values[0]
	if len(values) > 1 {
		v.variables[name] = "(" + strings.Join(values, "|") + ")"
	}
}

// Grafana's own defaults: of the data source's scrape interval, and of how many
// points a panel of half a screen's width has.
const (
	grafanaInterval = 15 * time.Second
	grafanaPoints   = 800
)

// interval returns the panel's $__interval: a span per point, rounded, and not
// below the least that panel, target or data source set.
func (v view) interval(t *testing.T, p boardPanel, target boardTarget) time.Duration {
	t.Helper()
	points := p.MaxDataPoints
	if points == 0 {
		points = grafanaPoints
	}
	least := grafanaInterval
	for _, set := range []string{p.Interval, target.Interval} {
		if set != "" {
			parsed, err := model.ParseDuration(strings.TrimPrefix(set, ">"))
			if err != nil {
				t.Fatalf("%s: interval: %v", p.Title, err)
			}
			least = time.Duration(parsed)
		}
	}
	return max(least, rounded(v.span/time.Duration(points)))
}

// rounded rounds to the nearest of the intervals that Grafana likes.
func rounded(d time.Duration) time.Duration {
	liked := []time.Duration{
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	}
	return slices.MinFunc(liked, func(a, b time.Duration) int { return int((a - d).Abs() - (b - d).Abs()) })
}

var macro = regexp.MustCompile(`\$(?:(\w+)|\{(\w+)(?::\w+)?\})`)

// expand puts in what Grafana does for its macros and the dashboard's variables.
func (v view) expand(t *testing.T, expression string, interval, scrapeInterval time.Duration) string {
	t.Helper()
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) }
	return macro.ReplaceAllStringFunc(expression, func(text string) string {
		found := macro.FindStringSubmatch(text)
		switch name := found[1] + found[2]; name {
		case "__interval":
			return seconds(interval) + "s"
		case "__interval_ms":
			return seconds(interval) + "000"
		case "__range":
			return seconds(v.span) + "s"
		case "__range_s":
			return seconds(v.span)
		case "__rate_interval":
			return seconds(max(interval+scrapeInterval, 4*scrapeInterval)) + "s"
		default:
			if name[0] >= '0' && name[0] <= '9' {
				return text // of a regular expression
			}
			value, ok := v.variables[name]
			if !ok {
				t.Errorf("%s\nhas a variable %s that is none", expression, text)
			}
			return value
		}
	})
}

// ask asks what a target of a panel asks, and returns one row for each series: an
// instant query's has one value.
func (v view) ask(t *testing.T, s *server, p boardPanel, target boardTarget) (model.Matrix, error) {
	t.Helper()
	interval := v.interval(t, p, target)
	query := v.expand(t, target.Expr, interval, target.scrapeInterval(t))
	if target.Instant {
		vector, err := s.instant(t.Context(), query, v.to)
		var matrix model.Matrix
		for _, sample := range vector {
			matrix = append(matrix, &model.SampleStream{
				Metric: sample.Metric,
				Values: []model.SamplePair{{Timestamp: sample.Timestamp, Value: sample.Value}},
			})
		}
		return matrix, err
	}
	return s.span(t.Context(), query, v.to.Add(-v.span), v.to, interval)
}

// placeholder finds the labels of a legend.
var placeholder = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// legendLabels returns the labels that the legend names.
func (target boardTarget) legendLabels() []model.LabelName {
	var labels []model.LabelName
	for _, found := range placeholder.FindAllStringSubmatch(target.LegendFormat, -1) {
		labels = append(labels, model.LabelName(found[1]))
	}
	return labels
}

// legend returns what Grafana calls a series.
func (target boardTarget) legend(metric model.Metric) string {
	return placeholder.ReplaceAllStringFunc(target.LegendFormat, func(text string) string {
		return string(metric[model.LabelName(placeholder.FindStringSubmatch(text)[1])])
	})
}

// display returns the name that Grafana shows for a series, and its colour, if there are
// overrides of them.
func (p boardPanel) display(target boardTarget, metric model.Metric) (name, color string) {
	name = target.legend(metric)
	shown := name
	for _, o := range p.FieldConfig.Overrides {
		switch o.Matcher.ID {
		case "byName":
			if o.Matcher.Options != name {
				continue
			}
		case "byRegexp":
			if !regexp.MustCompile(strings.Trim(o.Matcher.Options, "/")).MatchString(name) {
				continue
			}
		}
		for _, property := range o.Properties {
			switch property.ID {
			case "displayName":
				shown = fieldLabel.ReplaceAllStringFunc(property.Value.(string), func(text string) string {
					return string(metric[model.LabelName(fieldLabel.FindStringSubmatch(text)[1])])
				})
			case "color":
				color, _ = property.Value.(map[string]any)["fixedColor"].(string)
			}
		}
	}
	return shown, color
}

var fieldLabel = regexp.MustCompile(`\$\{__field\.labels\.(\w+)\}`)

// fields returns, by the name in the results, what Grafana calls the columns of a
// table in the end. The results are by refId.
func (p boardPanel) fields(results map[string]model.Matrix) map[string]string {
	fields := map[string]string{"Time": "Time"}
	for refID, matrix := range results {
		value := "Value"
		if len(p.Targets) > 1 {
			value = "Value #" + refID
		}
		fields[value] = value
		for _, series := range matrix {
			for label := range series.Metric {
				fields[string(label)] = string(label)
			}
		}
	}
	for _, transformation := range p.Transformations {
		for from, to := range transformation.Options.RenameByName {
			if _, ok := fields[from]; ok {
				fields[from] = to
			}
		}
	}
	return fields
}
