package backfill

import (
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// part is a part of the numbers of a chatbot. A series needs one part only; computing all
// of them for each series would take ten times as long.
type part struct {
	// compute sets the part to its value at a moment.
	compute func(*tally.Numbers, *tally.Moment)
	// mark sets all numbers of the part to 1.
	mark func(*tally.Numbers)
}

// partOf returns the part that a metric shows.
func partOf(metric collector.Metric) part {
	for _, part := range parts() {
		var numbers tally.Numbers
		part.mark(&numbers)
		if value, ok := metric.Value(&numbers); ok && value == 1 {
			return part
		}
	}
	return part{compute: func(n *tally.Numbers, m *tally.Moment) {
		*n = tally.Numbers{Counts: m.Counts(), Activity: tally.ActivityOf(m.Arrivals(), m.Time)}
	}}
}

// parts returns all parts.
func parts() []part {
	all := []part{{
		func(n *tally.Numbers, m *tally.Moment) { n.Counts = m.Counts() },
		func(n *tally.Numbers) {
			n.Counts = tally.Counts{Sessions: 1, WithLead: 1, WithVerifiedIdentity: 1, LastCreated: time.Unix(1, 0)}
		},
	}}
	one := tally.Value{Number: 1, Known: true}
	for i := range (tally.Activity{}).Missing {
		kind := tally.Kind(i)
		for i, window := range tally.RecentWindows {
			all = append(all, part{
				func(n *tally.Numbers, m *tally.Moment) {
					n.Recent[kind][i] = tally.Recent(m.Arrivals(), m.Time, kind, window)
				},
				func(n *tally.Numbers) { n.Recent[kind][i] = 1 },
			})
		}
		for i, window := range tally.UsualWindows {
			all = append(all, part{
				func(n *tally.Numbers, m *tally.Moment) {
					n.Usual[kind][i] = tally.Usual(m.Arrivals(), m.Time, kind, window)
				},
				func(n *tally.Numbers) { n.Usual[kind][i] = one },
			})
		}
		all = append(all, part{
			func(n *tally.Numbers, m *tally.Moment) { n.Missing[kind] = tally.Missing(m.Arrivals(), m.Time, kind) },
			func(n *tally.Numbers) { n.Missing[kind] = one },
		})
	}
	return all
}
