package e2e_test

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

const day = 24 * time.Hour

// TestDashboard asks Prometheus what Grafana would ask.
func TestDashboard(t *testing.T) {
	t.Parallel()
	s := newStage(t, bundledRules)
	b := readBoard(t)
	for _, span := range []time.Duration{day, 7 * day} {
		t.Run(span.String(), func(t *testing.T) {
			v := everything(span, time.Now())
			s.variablesHaveValues(t, b, v)
			for _, p := range b.panels() {
				t.Run(p.Title, func(t *testing.T) { s.panelHasData(t, v, p) })
			}
			s.countsWhatIsNew(t, b, v, expected)
			s.comparesWithTheWeekBefore(t, b, v)
		})
	}
	t.Run("one chatbot", func(t *testing.T) { s.showsOneChatbot(t, b) })
	t.Run("totals", func(t *testing.T) { s.countsAll(t, b) })

	t.Run("after a deletion and restarts", func(t *testing.T) {
		s.disturb(t)
		s.countsAll(t, b)
		for _, span := range []time.Duration{day, 7 * day} {
			// So far ahead that the last step of each panel is after the disturbance.
			s.countsWhatIsNew(t, b, everything(span, time.Now().Add(30*time.Minute)), expected)
		}
	})
}

// variablesHaveValues asks for the values that the user may choose.
func (s *stage) variablesHaveValues(t *testing.T, b board, v view) {
	t.Helper()
	var uuids []string
	for _, c := range s.account.chatbots() {
		uuids = append(uuids, c.uuid)
	}
	instances := []string{s.exporters[0].address, s.exporters[1].address, replaced}
	if v.span < 3*day {
		// The index of a block does not say when in its days an instance was there.
		instances = instances[:2]
	}
	wants := map[string][]string{"job": {job}, "instance": instances, "chatbot": uuids}
	for _, variable := range b.Templating.List {
		want, ok := wants[variable.Name]
		if !ok {
			continue
		}
		delete(wants, variable.Name)
		found := labelValues.FindStringSubmatch(v.expand(t, variable.query(), 0))
		if found == nil {
			t.Errorf("%s: %s is not understood", variable.Name, variable.query())
			continue
		}
		values, warnings, err := s.LabelValues(t.Context(), found[2], []string{found[1]}, v.to.Add(-v.span), v.to)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %v", variable.Name, warnings, err)
		}
		for _, w := range want {
			if !slices.Contains(values, model.LabelValue(w)) {
				t.Errorf("%s has the values %v, want %v", variable.Name, values, want)
			}
		}
	}
	if len(wants) > 0 {
		t.Errorf("these variables are missing: %v", wants)
	}
}

// panelHasData asks all that a panel asks. What legends, transformations and
// overrides name must be in the answers.
func (s *stage) panelHasData(t *testing.T, v view, p boardPanel) {
	results := map[string]model.Matrix{}
	var names []string // of series
	for _, target := range p.Targets {
		matrix, err := v.ask(t, s.server, p, target)
		if err != nil {
			t.Error(err)
			continue
		}
		results[target.RefID] = matrix
		if !slices.ContainsFunc(matrix, hasNumber) {
			t.Errorf("%s has no data: %s", target.RefID, target.Expr)
		}
		for _, series := range matrix {
			names = append(names, target.legend(series.Metric))
			for _, label := range target.legendLabels() {
				if series.Metric[label] == "" {
					t.Errorf("%s: %s has no label %s", target.RefID, series.Metric, label)
				}
			}
		}
	}
	if p.Type == "table" {
		fields := p.fields(results)
		for _, transformation := range p.Transformations {
			o := transformation.Options
			for _, named := range slices.Concat(slices.Collect(maps.Keys(o.ExcludeByName)),
				slices.Collect(maps.Keys(o.IndexByName)), slices.Collect(maps.Keys(o.RenameByName))) {
				if _, ok := fields[named]; !ok {
					t.Errorf("%s names %q, which is none of %v", transformation.ID, named, fields)
				}
			}
		}
		names = slices.Collect(maps.Values(fields))
	}
	for _, override := range p.FieldConfig.Overrides {
		named := false
		switch m := override.Matcher; m.ID {
		case "byName":
			named = slices.Contains(names, m.Options)
		case "byRegexp":
			named = slices.ContainsFunc(names, regexp.MustCompile("^(?:"+m.Options+")$").MatchString)
		case "byFrameRefID":
			_, named = results[m.Options]
		}
		if !named {
			t.Errorf("an override is for %v, which is none of %q", override.Matcher, names)
		}
	}
}

func hasNumber(series *model.SampleStream) bool {
	return slices.ContainsFunc(series.Values, func(p model.SamplePair) bool { return !math.IsNaN(float64(p.Value)) })
}

// showsOneChatbot chooses one, and wants to see no other.
func (s *stage) showsOneChatbot(t *testing.T, b board) {
	v := everything(day, time.Now())
	v.variables["chatbot"] = s.account.shop.uuid
	for _, p := range b.panels() {
		for _, target := range p.Targets {
			matrix, err := v.ask(t, s.server, p, target)
			if err != nil {
				t.Error(err)
			}
			for _, series := range matrix {
				if uuid, ok := series.Metric["chatbot"]; ok && uuid != model.LabelValue(s.account.shop.uuid) {
					t.Errorf("%s: there is %s", p.Title, series.Metric)
				}
			}
		}
	}
}

// bounds are the least and the most that a panel may show.
type bounds struct{ least, most float64 }

func (b bounds) plus(c bounds) bounds { return bounds{b.least + c.least, b.most + c.most} }

// expected returns what a panel may count as new in a span. Where numbers were
// sampled, and from where steps are counted, it may be off by slack at both ends;
// and what came within slack of a deletion may be hidden by that.
func expected(c *chatbot, of func(numbers) float64, from, to time.Time, slack time.Duration) bounds {
	to = earlier(to, time.Now())
	least := of(c.arrived(from.Add(slack), to.Add(-slack)))
	for _, d := range *c.deletions.Load() {
		least -= of(c.arrived(d.at.Add(-slack), d.at.Add(slack)))
	}
	return bounds{max(0, least), of(c.arrived(from.Add(-slack), to))}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// numberOf says how the simulator's own count has the metric of a query.
func numberOf(t *testing.T, expression string) (name string, of func(numbers) float64) {
	t.Helper()
	name = regexp.MustCompile(`chatwize_\w+`).FindString(expression)
	switch name {
	case "chatwize_sessions":
		return name, func(n numbers) float64 { return n.sessions }
	case "chatwize_sessions_with_lead":
		return name, func(n numbers) float64 { return n.leads }
	case "chatwize_sessions_with_verified_identity":
		return name, func(n numbers) float64 { return n.verified }
	}
	return name, nil
}

// The shapes of queries whose results can be counted without Prometheus.
var (
	newQuery   = regexp.MustCompile(`^(?:sum\()?sum_over_time\(clamp_min\([^/]*\)\[(\$__range|\$__interval|1d):(\$__interval|10m)\]`)
	otherQuery = regexp.MustCompile(`offset 1w|\) / \(`) // compares two of these
	weekly     = regexp.MustCompile(`^(?:sum\()?avg_over_time\(clamp_min\(.*offset 1w.*- 1$`)
	total      = regexp.MustCompile(`^(?:sum\()?max by \(chatbot\) \([^/]*$`)
)

// expectation returns what a panel may count as new in a span, as expected does.
type expectation func(c *chatbot, of func(numbers) float64, from, to time.Time, slack time.Duration) bounds

// countsWhatIsNew compares what panels show as new with what the simulator let come.
func (s *stage) countsWhatIsNew(t *testing.T, b board, v view, expected expectation) {
	t.Helper()
	checked := map[string]int{}
	for _, p := range b.panels() {
		for _, target := range p.Targets {
			found := newQuery.FindStringSubmatch(target.Expr)
			if found == nil || otherQuery.MatchString(target.Expr) {
				continue
			}
			name, of := numberOf(t, target.Expr)
			matrix, err := v.ask(t, s.server, p, target)
			if err != nil {
				t.Error(err)
				continue
			}
			interval := v.interval(t, p, target)
			from, to, step := v.to.Add(-v.span), v.to, interval
			if found[2] == "10m" {
				step = 10 * time.Minute
			}
			value := last
			switch found[1] {
			case "1d":
				to = v.to.Truncate(interval)
				from = to.Add(-day)
			case "$__interval": // bars
				from, value = from.Truncate(interval), sum
			}
			s.compare(t, fmt.Sprintf("%s (%s, %s)", p.Title, target.RefID, v.span), matrix, value, func(c *chatbot) bounds {
				return expected(c, of, from, to, step+historyStep+time.Minute)
			})
			checked[name+found[1]]++
		}
	}
	for _, name := range []string{"chatwize_sessions", "chatwize_sessions_with_lead", "chatwize_sessions_with_verified_identity"} {
		for _, window := range []string{"$__range", "$__interval"} {
			if checked[name+window] == 0 {
				t.Errorf("no panel shows what is new of %s in each %s", name, window)
			}
		}
	}
}

func last(series *model.SampleStream) float64 {
	return float64(series.Values[len(series.Values)-1].Value)
}

func sum(series *model.SampleStream) (s float64) {
	for _, p := range series.Values {
		s += float64(p.Value)
	}
	return s
}

// compare compares a value of each chatbot's series, or of the one of all chatbots,
// with what it may be.
func (s *stage) compare(t *testing.T, what string, matrix model.Matrix, value func(*model.SampleStream) float64, may func(*chatbot) bounds) {
	t.Helper()
	var all bounds
	each := map[model.LabelValue]bounds{}
	for _, c := range s.account.chatbots() {
		each[model.LabelValue(c.uuid)] = may(c)
		all = all.plus(may(c))
	}
	shown := byChatbot(matrix)
	if len(shown) != len(each) && len(shown) != 1 {
		t.Errorf("%s: there are %d chatbots", what, len(shown))
	}
	for uuid, series := range shown {
		limits := all
		if uuid != "" {
			limits = each[uuid]
		}
		if got := value(series); !(got >= limits.least && got <= limits.most) {
			t.Errorf("%s: %s is %v, want %v to %v", what, uuid, got, limits.least, limits.most)
		}
	}
}

// byChatbot makes one series of those that a chatbot has after a renaming.
func byChatbot(matrix model.Matrix) map[model.LabelValue]*model.SampleStream {
	all := map[model.LabelValue]*model.SampleStream{}
	for _, series := range matrix {
		uuid := series.Metric["chatbot"]
		if all[uuid] == nil {
			all[uuid] = &model.SampleStream{}
		}
		all[uuid].Values = append(all[uuid].Values, series.Values...)
		slices.SortFunc(all[uuid].Values, func(a, b model.SamplePair) int { return int(a.Timestamp - b.Timestamp) })
	}
	return all
}

// comparesWithTheWeekBefore checks how much more is said to be new than a week ago.
func (s *stage) comparesWithTheWeekBefore(t *testing.T, b board, v view) {
	t.Helper()
	checked := 0
	for _, p := range b.panels() {
		for _, target := range p.Targets {
			if !target.Instant || !weekly.MatchString(target.Expr) {
				continue
			}
			_, of := numberOf(t, target.Expr)
			matrix, err := v.ask(t, s.server, p, target)
			if err != nil {
				t.Error(err)
				continue
			}
			slack := v.interval(t, p, target) + historyStep + time.Minute
			week := func(c *chatbot, to time.Time) bounds { return expected(c, of, to.Add(-v.span), to, slack) }
			for _, series := range matrix {
				var now, before bounds
				for _, c := range s.account.chatbots() {
					if uuid, ok := series.Metric["chatbot"]; ok && uuid != model.LabelValue(c.uuid) {
						continue
					}
					now, before = now.plus(week(c, v.to)), before.plus(week(c, v.to.Add(-7*day)))
				}
				limits := bounds{now.least/before.most - 1, now.most/before.least - 1}
				if got := last(series); !(got >= limits.least && got <= limits.most) {
					t.Errorf("%s (%s, %s): %s is %v, want %v to %v",
						p.Title, target.RefID, v.span, series.Metric, got, limits.least, limits.most)
				}
				checked++
			}
		}
	}
	if checked == 0 {
		t.Error("nothing is compared with the week before")
	}
}

// countsAll compares the totals of now with the simulator's.
func (s *stage) countsAll(t *testing.T, b board) {
	t.Helper()
	checked := map[string]bool{}
	for _, p := range b.panels() {
		for _, target := range p.Targets {
			name, of := numberOf(t, target.Expr)
			if of == nil || !target.Instant || !total.MatchString(target.Expr) {
				continue
			}
			checked[name] = true
			before := time.Now().Add(-5 * scrapeInterval)
			v := everything(day, time.Now())
			matrix, err := v.ask(t, s.server, p, target)
			if err != nil {
				t.Error(err)
				continue
			}
			s.compare(t, fmt.Sprintf("%s (%s)", p.Title, target.RefID), matrix, last, func(c *chatbot) bounds {
				now := of(c.count(v.to))
				return bounds{min(of(c.count(before)), now), now}
			})
		}
	}
	if len(checked) != 3 {
		t.Errorf("totals are only shown of %v", checked)
	}
}

// disturb lets happen what must not look like new sessions: most sessions of a
// chatbot are deleted, another cannot be fetched for a while, and both exporters
// are restarted.
func (s *stage) disturb(t *testing.T) {
	t.Helper()
	now := time.Now()
	s.account.shop.remove(now, now.Add(-6*day))
	s.account.desk.fails(http.StatusInternalServerError)
	for i := range s.exporters {
		s.exporters[i].kill()
		s.startExporter(t, i)
	}
	eventually(t, "the desk is down", func() error {
		up, err := s.instant(t.Context(), fmt.Sprintf(`max(chatwize_up{chatbot=%q})`, s.account.desk.uuid), time.Now())
		if err == nil && (len(up) != 1 || up[0].Value != 0) {
			err = fmt.Errorf("up is %v", up)
		}
		return err
	})
	s.account.desk.fails(0)
	eventually(t, "both exporters are scraped again", func() error { return s.showsChatbots(t, len(s.exporters)) })
	eventually(t, "the deletion is seen", func() error {
		sessions, err := s.instant(t.Context(), fmt.Sprintf(`max(chatwize_sessions{chatbot=%q})`, s.account.shop.uuid), time.Now())
		if err == nil && (len(sessions) != 1 || float64(sessions[0].Value) > s.account.shop.count(time.Now()).sessions) {
			err = fmt.Errorf("sessions are %v", sessions)
		}
		return err
	})
}
