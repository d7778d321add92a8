package web

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// familyCaches are the caches of all accounts.
type familyCaches struct {
	mutex  sync.Mutex
	caches map[*fetch.Source]*familyCache
}

func newFamilyCaches() familyCaches {
	return familyCaches{caches: map[*fetch.Source]*familyCache{}}
}

// of returns the cache of an account.
func (c *familyCaches) of(account *accounts.Account) *familyCache {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	cache := c.caches[account.Source]
	if cache == nil || cache.account != account.Name {
		cache = &familyCache{account: account.Name}
		c.caches[account.Source] = cache
	}
	return cache
}

// retain drops the caches of accounts that are not in set.
func (c *familyCaches) retain(set *accounts.Set) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	current := map[*fetch.Source]bool{}
	for _, account := range set.Accounts {
		current[account.Source] = true
	}
	maps.DeleteFunc(c.caches, func(source *fetch.Source, _ *familyCache) bool { return !current[source] })
}

// familyCache gathers snapshots of an account. It returns the families of the last snapshot
// again if the next one is equal, as it is while all results are cached: checking and
// sorting 10,000 metrics takes longer than writing them.
type familyCache struct {
	account  string // its name, or empty
	registry *prometheus.Registry
	snapshot collector.Snapshot
	families []*dto.MetricFamily // of snapshot, nil if there is none
}

// Describe sends the descriptors of all metrics of chatbots.
func (*familyCache) Describe(descs chan<- *prometheus.Desc) { collector.Snapshot{}.Describe(descs) }

// Collect sends the metrics of the snapshot.
func (c *familyCache) Collect(metrics chan<- prometheus.Metric) { c.snapshot.Collect(metrics) }

// gather returns the metric families of a snapshot, which must not be changed.
func (c *familyCache) gather(snapshot collector.Snapshot) ([]*dto.MetricFamily, error) {
	if c.families != nil && slices.Equal(c.snapshot, snapshot) {
		return c.families, nil
	}
	if c.registry == nil {
		c.registry = prometheus.NewRegistry()
		c.registry.MustRegister(c)
	}
	c.snapshot = snapshot
	families, err := c.registry.Gather()
	addAccount(families, c.account)
	if c.families = families; err != nil {
		c.families = nil
	}
	return families, err
}

// addAccount adds the label account to metrics of chatbots, if name is not empty.
// [prometheus.WrapCollectorWith] would make the label anew for each of 34,000 metrics, and
// sort their labels once more.
func addAccount(families []*dto.MetricFamily, name string) {
	if name == "" {
		return
	}
	n := 0
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			n += 1 + len(metric.GetLabel())
		}
	}
	key := accounts.Label
	label := &dto.LabelPair{Name: &key, Value: &name}
	all := make([]*dto.LabelPair, 0, n) // one allocation for all metrics
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			first := len(all)
			all = append(append(all, label), metric.GetLabel()...) // sorted: it is the first
			metric.Label = all[first:len(all):len(all)]
		}
	}
}

// merge returns the families of several lists, each once, sorted by name. The metrics of a
// family are in the order of the lists, which are not changed.
//
// [prometheus.Gatherers] would check and sort all metrics once more, which took a third of a
// scrape of 1,000 chatbots.
func merge(lists ...[]*dto.MetricFamily) ([]*dto.MetricFamily, error) {
	sources := map[string][]*dto.MetricFamily{}
	for _, list := range lists {
		for _, family := range list {
			sources[family.GetName()] = append(sources[family.GetName()], family)
		}
	}
	var merged []*dto.MetricFamily
	var errs []error
	for name, families := range sources {
		first := families[0]
		n := 0
		for _, family := range families {
			n += len(family.GetMetric())
			if family.GetType() != first.GetType() {
				errs = append(errs, errors.New("metrics named "+name+" have different types"))
			}
		}
		if len(families) > 1 {
			metrics := make([]*dto.Metric, 0, n)
			for _, family := range families {
				metrics = append(metrics, family.GetMetric()...)
			}
			first = &dto.MetricFamily{Name: first.Name, Help: first.Help, Type: first.Type, Unit: first.Unit, Metric: metrics}
		}
		merged = append(merged, first)
	}
	slices.SortFunc(merged, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return merged, errors.Join(errs...)
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
