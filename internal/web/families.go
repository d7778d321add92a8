package web

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

// familyCache gathers snapshots. It returns the families of the last snapshot again if
// the next one is equal, as it is while all results are cached: checking and sorting
// 10,000 metrics takes longer than writing them.
type familyCache struct {
	snapshot collector.Snapshot
	families []*dto.MetricFamily // of snapshot, nil if there is none
}

// gather returns the metric families of a snapshot, which must not be changed.
func (c *familyCache) gather(snapshot collector.Snapshot) ([]*dto.MetricFamily, error) {
	if c.families != nil && slices.Equal(c.snapshot, snapshot) {
		return c.families, nil
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(snapshot); err != nil {
		return nil, err
	}
	families, err := registry.Gather()
	if err == nil {
		c.snapshot, c.families = snapshot, families
	}
	return families, err
}

// withoutDuplicates removes counters that have the family of another metric in
// OpenMetrics, where families of counters are named without _total. Parsers refuse a
// page with a family twice. The Go collector has go_memstats_alloc_bytes and
// go_memstats_alloc_bytes_total.
func withoutDuplicates(families []*dto.MetricFamily) []*dto.MetricFamily {
	names := map[string]bool{}
	for _, family := range families {
		names[family.GetName()] = true
	}
	return slices.DeleteFunc(families, func(family *dto.MetricFamily) bool {
		base, isTotal := strings.CutSuffix(family.GetName(), "_total")
		return isTotal && family.GetType() == dto.MetricType_COUNTER && names[base]
	})
}
