package e2e_test

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

const day = 24 * time.Hour

// TestDashboard asks Prometheus what Grafana would ask, in several situations.
func TestDashboard(t *testing.T) {
	t.Parallel()
	var (
		reason = `What needs attention first C|Failing chatbots by reason A`
		graphs = `.* per (hour|day) A|.* in 24 hours, and the usual [A-D]|(Lead|Verification) rate of 7 days A|Missing A`
		lines  = `Fetch duration .|Age of the numbers A|API response time .`
		rates  = `Errors by reason A|Requests by code A|Bytes read A|Memory A`
	)
	tests := []struct {
		name     string
		chatbots []simulator.Chatbot
		options  watchOptions
		empty    string // queries without a result, by title and refId
		check    func(*testing.T, *watch, board)
	}{
		{"demo", demoChatbots(), watchOptions{replicas: 1, past: 8 * day}, reason, func(t *testing.T, w *watch, b board) {
			w.overridesMatch(t, b)
			w.alertsFire(t, b, "Help centre")
		}},
		{"one chatbot", manyChatbots(3)[2:], watchOptions{replicas: 1, past: 2 * day}, reason + `|Firing alerts A`, nil},
		{"thirty chatbots", manyChatbots(30), watchOptions{replicas: 1, past: 2 * day}, reason, func(t *testing.T, w *watch, b board) {
			w.showsTheChosen(t, b)
		}},
		{"two replicas", manyChatbots(8), watchOptions{replicas: 2, past: 4 * day}, reason, func(t *testing.T, w *watch, b board) {
			w.showsThePast(t, b)
		}},
		{"failing", manyChatbots(8), watchOptions{replicas: 2, past: 2 * day, fail: []int{3, 5}}, "", nil},
		// Nothing but a few scrapes: graphs of whole hours and days have no points yet.
		{"no history", manyChatbots(8), watchOptions{replicas: 1}, reason + `|.* per (hour|day) A`, nil},
		{"no chatbots", nil, watchOptions{replicas: 1},
			`What needs .*|Firing alerts A|Failing .*|Fetches, .*|Rates.*|(Sessions|Leads|Verified identities) [ABC]|` + lines + `|` + graphs, nil},
		{"no exporter", nil, watchOptions{},
			`Exporter B|What needs .*|Fetches, .*|Rates.*|(Sessions|Leads|Verified identities) [ABC]|Failing .*|` + lines + `|` + graphs + `|` + rates, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.options.rules = testRules(t)
			w := newWatch(t, tt.chatbots, tt.options)
			b := readBoard(t)
			empty := regexp.MustCompile(`^(` + tt.empty + `)$`)
			// So far ahead that the last step of two minutes is after the first scrapes.
			v := w.everything(t, b, day, time.Now().Add(2*time.Minute))
			for _, p := range b.panels() {
				w.panelShows(t, v, p, empty)
			}
			w.coloursAreTheSame(t, v, b)
			if len(tt.chatbots) > 0 {
				w.countsAll(t, b)
				w.tableIsRight(t, b)
				w.offersNames(t, b)
			}
			if tt.options.past > 0 {
				w.barsAreRight(t, v, b)
			}
			if tt.check != nil {
				tt.check(t, w, b)
			}
		})
	}
}

// testRules writes rules that are like the bundled ones, but fire at once, and others
// that the dashboard must not show. It returns where.
func testRules(t *testing.T) string {
	t.Helper()
	alert := func(name, expression string, more object) object {
		rule := object{"alert": name, "expr": expression, "labels": object{"severity": "warning"}}
		maps.Copy(rule, more)
		return rule
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	writeYAML(t, path, object{"groups": []object{{"name": "chatwize", "interval": "1s", "rules": []object{
		alert("ChatwizeNoNewSession", "min by (job, chatbot) (last_over_time(chatwize_missing_sessions[15m])) >= 15", nil),
		alert("ChatwizeExporterGone", "max by (job, instance) (up) == 0", nil),
		alert("ChatwizePending", "vector(1)", object{"for": "1h"}),
		alert("Other", "vector(1)", nil),
	}}}})
	return path
}

// panelShows asks all that a panel asks, and wants a result of each query that is not
// expected to be empty. Every series must have its own name.
func (w *watch) panelShows(t *testing.T, v view, p boardPanel, empty *regexp.Regexp) {
	t.Helper()
	names := map[string]bool{}
	for _, target := range p.Targets {
		matrix, err := v.ask(t, w.server, p, target)
		if err != nil {
			t.Errorf("%s: %v", p.Title, err)
			continue
		}
		if has := slices.ContainsFunc(matrix, hasNumber); has == empty.MatchString(p.Title+" "+target.RefID) {
			t.Errorf("%s (%s) has data: %v: %s\n%v", p.Title, target.RefID, has, target.Expr, matrix)
		}
		for _, series := range matrix {
			for _, label := range target.legendLabels() {
				if series.Metric[label] == "" && label != "slot" {
					t.Errorf("%s (%s): %s has no label %s", p.Title, target.RefID, series.Metric, label)
				}
			}
			if name, _ := p.display(target, series.Metric); p.Type != "table" && names[name] {
				t.Errorf("%s: two series are called %q", p.Title, name)
			} else {
				names[name] = true
			}
		}
	}
}

func hasNumber(series *model.SampleStream) bool {
	return slices.ContainsFunc(series.Values, func(p model.SamplePair) bool { return !math.IsNaN(float64(p.Value)) })
}

// overridesMatch wants transformations and overrides to name what is in the answers.
func (w *watch) overridesMatch(t *testing.T, b board) {
	t.Helper()
	v := w.everything(t, b, day, time.Now())
	absent := []string{"account", "reason", "twin", "Value #C", "Reason", "instance"} // without accounts, failures, equal names
	for _, p := range b.panels() {
		results := map[string]model.Matrix{}
		var names []string
		for _, target := range p.Targets {
			matrix, err := v.ask(t, w.server, p, target)
			if err != nil {
				t.Error(err)
			}
			results[target.RefID] = matrix
			for _, series := range matrix {
				names = append(names, target.legend(series.Metric))
			}
		}
		if p.Type == "table" {
			fields := p.fields(results)
			for _, transformation := range p.Transformations {
				o := transformation.Options
				for _, named := range slices.Concat(slices.Collect(maps.Keys(o.ExcludeByName)),
					slices.Collect(maps.Keys(o.IndexByName)), slices.Collect(maps.Keys(o.RenameByName))) {
					if _, ok := fields[named]; !ok && !slices.Contains(absent, named) {
						t.Errorf("%s: %s names %q, which is none of %v", p.Title, transformation.ID, named, fields)
					}
				}
			}
			names = slices.Collect(maps.Values(fields))
		}
		for _, override := range p.FieldConfig.Overrides {
			if override.Matcher.ID != "byName" {
				continue // coloursAreTheSame tests these
			}
			if name := override.Matcher.Options; !slices.Contains(names, name) && !slices.Contains(absent, name) {
				t.Errorf("%s: an override is for %v, which is none of %q", p.Title, override.Matcher, names)
			}
		}
	}
}

// alertsFire wants the table of alerts to show one of a chatbot, and no other.
func (w *watch) alertsFire(t *testing.T, b board, name string) {
	t.Helper()
	p := b.panel(t, "Firing alerts")
	eventually(t, "an alert fires", func() error {
		matrix, err := w.everything(t, b, day, time.Now()).ask(t, w.server, p, p.Targets[0])
		if err == nil && len(matrix) != 1 {
			err = fmt.Errorf("firing are %v", matrix)
		}
		return err
	})
	matrix, err := w.everything(t, b, day, time.Now()).ask(t, w.server, p, p.Targets[0])
	if err != nil {
		t.Fatal(err)
	}
	alert := matrix[0]
	if alert.Metric["alertname"] != "ChatwizeNoNewSession" || string(alert.Metric["name"]) != name {
		t.Errorf("the alert is %v, want one of %s", alert.Metric, name)
	}
	if since := time.UnixMilli(int64(last(alert))); time.Since(since) > 5*time.Minute || time.Since(since) < 0 {
		t.Errorf("it fires since %v", since)
	}
}

func (b board) panel(t *testing.T, title string) boardPanel {
	t.Helper()
	for _, p := range b.panels() {
		if p.Title == title {
			return p
		}
	}
	t.Fatalf("there is no panel %s", title)
	return boardPanel{}
}

func last(series *model.SampleStream) float64 {
	return float64(series.Values[len(series.Values)-1].Value)
}

// coloursAreTheSame wants each chatbot to have one colour in all panels, whichever are
// chosen, and twelve chatbots twelve colours.
func (w *watch) coloursAreTheSame(t *testing.T, v view, b board) {
	t.Helper()
	colours := map[string]string{}
	few := v
	few.variables = maps.Clone(v.variables)
	if len(w.chatbots) > 2 {
		few.choose("chatbot", w.chatbots[1].UUID, w.chatbots[2].UUID)
		w.resolve(t, b, few)
	}
	for _, p := range b.panels() {
		for _, target := range p.Targets {
			if !strings.Contains(target.LegendFormat, "{{slot}}") {
				continue
			}
			for _, v := range []view{v, few} {
				matrix, err := v.ask(t, w.server, p, target)
				if err != nil {
					t.Error(err)
				}
				for _, series := range matrix {
					uuid := string(series.Metric["chatbot"])
					_, colour := p.display(target, series.Metric)
					if before, ok := colours[uuid]; ok && before != colour {
						t.Errorf("%s: %s is %s, in an earlier panel %s", p.Title, uuid, colour, before)
					}
					colours[uuid] = colour
				}
			}
		}
	}
	distinct := map[string]bool{}
	for _, colour := range colours {
		if colour != "" {
			distinct[colour] = true
		}
	}
	if len(colours) > 0 && len(distinct) != min(len(w.chatbots), 12) {
		t.Errorf("%d chatbots have %d colours: %v", len(w.chatbots), len(distinct), colours)
	}
}

// bounds are the least and the most that a panel may show.
type bounds struct{ least, most float64 }

func (b bounds) plus(c bounds) bounds { return bounds{b.least + c.least, b.most + c.most} }

func (b bounds) has(value float64) bool { return value >= b.least && value <= b.most }

// slack is how far what Prometheus knows may be behind.
const slack = 5 * scrapeInterval

// recently counts the sessions of a chatbot in a span until now, or none where it fails.
func (c *watchedChatbot) recently(now time.Time, span time.Duration, of func(numbers) float64) bounds {
	a, b := of(c.count(now.Add(-span), now)), of(c.count(now.Add(-slack-span), now.Add(-slack)))
	// A lead comes some minutes after its session, and hours are spread evenly.
	return bounds{min(a, b) - 5, max(a, b) + 5}
}

var kinds = map[string]func(numbers) float64{
	"Sessions":            func(n numbers) float64 { return n.sessions },
	"Leads":               func(n numbers) float64 { return n.leads },
	"Verified identities": func(n numbers) float64 { return n.verified },
}

// countsAll compares the totals with the simulator's own.
func (w *watch) countsAll(t *testing.T, b board) {
	t.Helper()
	v := w.everything(t, b, day, time.Now())
	for title, of := range kinds {
		p := b.panel(t, title)
		var all, week, usual bounds
		for _, c := range w.chatbots {
			if !c.fails.Load() {
				week, usual = week.plus(c.recently(v.to, 7*day, of)), usual.plus(c.usually(v.to, 7*day, of))
				all = all.plus(c.recently(v.to, 100*day, of))
			}
		}
		shown := map[string]float64{}
		for _, target := range p.Targets {
			matrix, err := v.ask(t, w.server, p, target)
			if err != nil || len(matrix) != 1 {
				t.Errorf("%s (%s): %v, %v", title, target.RefID, matrix, err)
				continue
			}
			shown[target.LegendFormat] = last(matrix[0])
		}
		wants := map[string]bounds{
			"last 7 days":  week,
			"week on week": {week.least/usual.most - 1, week.most/usual.least - 1},
		}
		// For an hour, those that fail count with their last number.
		if !slices.ContainsFunc(w.chatbots, func(c *watchedChatbot) bool { return c.fails.Load() }) {
			wants["in all"] = all
		} else {
			delete(wants, "last 7 days")
		}
		for name, want := range wants {
			if !want.has(shown[name]) {
				t.Errorf("%s, %s: %v, want %v", title, name, shown[name], want)
			}
		}
	}
}

// usually returns the median of the same span one, two, three and four weeks ago.
func (c *watchedChatbot) usually(now time.Time, span time.Duration, of func(numbers) float64) bounds {
	var least, most []float64
	for week := range 4 {
		b := c.recently(now.AddDate(0, 0, -7*(week+1)), span, of)
		least, most = append(least, b.least), append(most, b.most)
	}
	slices.Sort(least)
	slices.Sort(most)
	return bounds{(least[1] + least[2]) / 2, (most[1] + most[2]) / 2}
}

// table returns the rows of a table: for each chatbot, numbers and labels by column.
func (w *watch) table(t *testing.T, v view, p boardPanel) (values map[string]map[string]float64, labels map[string]map[string]string) {
	t.Helper()
	values, labels = map[string]map[string]float64{}, map[string]map[string]string{}
	for _, target := range p.Targets {
		matrix, err := v.ask(t, w.server, p, target)
		if err != nil {
			t.Error(err)
		}
		fields := p.fields(map[string]model.Matrix{target.RefID: matrix})
		seen := map[string]bool{}
		for _, series := range matrix {
			uuid := string(series.Metric["chatbot"])
			if seen[uuid] {
				t.Errorf("%s (%s) has two rows for %s", p.Title, target.RefID, uuid)
			}
			seen[uuid] = true
			if values[uuid] == nil {
				values[uuid], labels[uuid] = map[string]float64{}, map[string]string{}
			}
			values[uuid][fields["Value #"+target.RefID]] = last(series)
			for label, value := range series.Metric {
				labels[uuid][fields[string(label)]] = string(value)
			}
		}
	}
	return values, labels
}

// tableIsRight compares the table of chatbots with the simulator's own numbers.
func (w *watch) tableIsRight(t *testing.T, b board) {
	t.Helper()
	v := w.everything(t, b, day, time.Now())
	values, labels := w.table(t, v, b.panel(t, "What needs attention first"))
	if len(values) != len(w.chatbots) {
		t.Errorf("the table has %d chatbots, want %d", len(values), len(w.chatbots))
	}
	for _, c := range w.chatbots {
		got, label := values[c.UUID], labels[c.UUID]
		of := kinds["Sessions"]
		want := map[string]bounds{
			"Fetch": {1, 1}, "Last day": c.recently(v.to, day, of), "Last week": c.recently(v.to, 7*day, of),
			"Usual day": c.usually(v.to, day, of), "Usual week": c.usually(v.to, 7*day, of),
		}
		month := c.count(v.to.AddDate(0, 0, -28), v.to)
		want["Lead rate, 28 d"] = bounds{month.leads/month.sessions - 0.01, month.leads/month.sessions + 0.01}
		newest := unix(c.count(time.Time{}, v.to).created) * 1000
		earlier := unix(c.count(time.Time{}, v.to.Add(-slack)).created) * 1000
		want["Newest session"] = bounds{earlier - 1, newest}
		of28 := "sessions"
		switch c.Name {
		case "Old site", "Help centre":
			want["Missing"] = bounds{15, 100000}
		case "Broken form", "Landing page":
			want["Missing"], of28 = bounds{15, 100000}, "sessions_with_lead"
		default:
			want["Missing"], of28 = bounds{0, 14.9}, label["of"]
		}
		if label["of"] != of28 {
			t.Errorf("%s misses %s, want %s", c.Name, label["of"], of28)
		}
		if c.fails.Load() {
			want = map[string]bounds{"Fetch": {0, 0}}
			if label["Reason"] != "server_error" || len(got) > 5 {
				t.Errorf("%s fails with %s and has the numbers %v", c.Name, label["Reason"], got)
			}
		}
		for column, limits := range want {
			if value, ok := got[column]; !ok || !limits.has(value) {
				t.Errorf("%s, %s: %v, want %v", c.Name, column, value, limits)
			}
		}
		if !slices.Contains(c.displayNames(w), label["Chatbot"]) {
			t.Errorf("the table calls %s %q", c.Name, label["Chatbot"])
		}
	}
}

// displayNames returns what a chatbot may be called: by what either replica calls it,
// with a part of the UUID if another has this name too.
func (c *watchedChatbot) displayNames(w *watch) []string {
	names := []string{c.Name}
	if len(w.exporters) > 1 {
		names = append(names, formerName(c.Name))
	}
	for _, other := range w.chatbots {
		if other != c && other.Name == c.Name {
			for i := range names {
				names[i] += " " + c.UUID[:8]
			}
		}
	}
	return names
}

// offersNames wants the variable to offer each chatbot by its name, and legends to have it.
func (w *watch) offersNames(t *testing.T, b board) {
	t.Helper()
	v := w.everything(t, b, day, time.Now().Add(2*time.Minute))
	names := map[string]string{}
	for _, o := range v.options(t, w.server, b.variable(t, "chatbot")) {
		names[o.value] = o.text
	}
	if len(names) != len(w.chatbots) {
		t.Errorf("the variable offers %v", names)
	}
	for _, c := range w.chatbots {
		if !slices.Contains(c.displayNames(w), names[c.UUID]) {
			t.Errorf("the variable calls %s %q, want one of %q", c.UUID, names[c.UUID], c.displayNames(w))
		}
	}
	for _, p := range b.panels() {
		if !strings.Contains(p.Targets[0].LegendFormat, "{{slot}}") {
			continue
		}
		matrix, err := v.ask(t, w.server, p, p.Targets[0])
		if err != nil || len(matrix) > len(w.chatbots) {
			t.Errorf("%s has %d series, %v", p.Title, len(matrix), err)
		}
		for _, series := range matrix {
			i := slices.IndexFunc(w.chatbots, func(c *watchedChatbot) bool { return c.UUID == string(series.Metric["chatbot"]) })
			if name, _ := p.display(p.Targets[0], series.Metric); !slices.Contains(w.chatbots[i].displayNames(w), name) {
				t.Errorf("%s: %s is called %q", p.Title, series.Metric, name)
			}
		}
	}
	for name, want := range map[string][]option{"job": {{job, job}}, "account": nil} {
		if got := v.options(t, w.server, b.variable(t, name)); !slices.Equal(got, want) {
			t.Errorf("%s offers %v, want %v", name, got, want)
		}
	}
}

// showsTheChosen chooses three chatbots, by what the variable offers, and wants no other.
func (w *watch) showsTheChosen(t *testing.T, b board) {
	t.Helper()
	v := w.everything(t, b, day, time.Now())
	var chosen []string
	for _, o := range v.options(t, w.server, b.variable(t, "chatbot")) {
		if strings.HasPrefix(o.text, "Shop ") || o.text == `Say "hi"` {
			chosen = append(chosen, o.value)
		}
	}
	if len(chosen) != 3 {
		t.Fatalf("chosen are %v", chosen)
	}
	v.choose("chatbot", slices.Clone(chosen)...)
	for _, p := range b.panels() {
		for _, target := range p.Targets {
			matrix, err := v.ask(t, w.server, p, target)
			if err != nil {
				t.Error(err)
			}
			shown := map[string]bool{}
			for _, series := range matrix {
				if uuid, ok := series.Metric["chatbot"]; ok {
					shown[string(uuid)] = true
				}
			}
			if len(shown) > 0 && !slices.Equal(slices.Sorted(maps.Keys(shown)), slices.Sorted(slices.Values(chosen))) {
				t.Errorf("%s (%s) shows %v, want %v", p.Title, target.RefID, shown, chosen)
			}
		}
	}
}

// showsThePast looks at a day long before the first scrape: without names, but all is there.
func (w *watch) showsThePast(t *testing.T, b board) {
	t.Helper()
	v := w.everything(t, b, day, time.Now().Add(-2*day))
	for _, p := range b.panels() {
		for _, target := range p.Targets {
			if !strings.Contains(target.LegendFormat, "{{slot}}") {
				continue
			}
			matrix, err := v.ask(t, w.server, p, target)
			if err != nil || len(matrix) != len(w.chatbots) {
				t.Errorf("%s shows %d chatbots, %v", p.Title, len(matrix), err)
			}
			for _, series := range matrix {
				if series.Metric["name"] != series.Metric["chatbot"] {
					t.Errorf("%s: the name is %s", p.Title, series.Metric)
				}
			}
		}
	}
}

// barsAreRight compares each bar with the simulator's count of its hour or day.
func (w *watch) barsAreRight(t *testing.T, v view, b board) {
	t.Helper()
	for noun, step := range map[string]time.Duration{"hour": time.Hour, "day": day} {
		for title, of := range kinds {
			p := b.panel(t, title+" per "+noun)
			if got := v.interval(t, p, p.Targets[0]); got != step {
				t.Fatalf("%s has steps of %v", p.Title, got)
			}
			matrix, err := v.ask(t, w.server, p, p.Targets[0])
			if err != nil {
				t.Error(err)
			}
			for _, series := range matrix {
				i := slices.IndexFunc(w.chatbots, func(c *watchedChatbot) bool { return c.UUID == string(series.Metric["chatbot"]) })
				c := w.chatbots[i]
				if want := int(v.span / step); len(series.Values) < want || len(series.Values) > want+1 {
					t.Errorf("%s: %s has %d bars, want %d", p.Title, c.Name, len(series.Values), want)
				}
				for _, bar := range []model.SamplePair{series.Values[1], series.Values[len(series.Values)/2]} {
					at := bar.Timestamp.Time()
					if !at.Equal(at.Truncate(step)) {
						t.Errorf("%s: a bar is at %v", p.Title, at)
					}
					// The sample may be five minutes old.
					at = at.Add(-historyStep)
					least := of(c.count(at.Add(historyStep-step), at))
					most := of(c.count(at.Add(-step), at.Add(historyStep)))
					if got := float64(bar.Value); got < least || got > most {
						t.Errorf("%s: %s has %v at %v, want %v to %v", p.Title, c.Name, got, at, least, most)
					}
				}
			}
		}
	}
}
