package web

import (
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

// familyCache gathers snapshots. It returns the families of the last snapshot again if
// the next one is equal, as it is while all results are cached: checking and sorting
// 10,000 metrics takes longer than writing them.
type familyCache struct {
	last atomic.Pointer[gatheredSnapshot]
}

type gatheredSnapshot struct {
	snapshot collector.Snapshot
	families []*dto.MetricFamily
}

// gather returns the metric families of a snapshot, which must not be changed.
func (c *familyCache) gather(snapshot collector.Snapshot) ([]*dto.MetricFamily, error) {
	if last := c.last.Load(); last != nil && slices.Equal(last.snapshot, snapshot) {
		return last.families, nil
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(snapshot); err != nil {
		return nil, err
	}
	families, err := registry.Gather()
	if err == nil {
		c.last.Store(&gatheredSnapshot{snapshot, families})
	}
	return families, err
}
