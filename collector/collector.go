// Package collector turns chatbots' sessions into Prometheus metrics.
package collector

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Collector is a [prometheus.Collector] that fetches the sessions of its chatbots
// when it is collected, all at once as far as its Source lets it. A chatbot that
// cannot be fetched is shown as down and has no numbers.
type Collector struct {
	// ctx is that of the scrape; [prometheus.Collector] passes none.
	ctx       context.Context
	source    *Source
	directory Directory
	descs     *descs
	last      *atomic.Pointer[gathered]
}

// shown is a chatbot with what its metrics tell.
type shown struct {
	chatbot Chatbot
	fetch   Fetch
}

// gathered is what was gathered of chatbots.
type gathered struct {
	shown    []shown
	families []*dto.MetricFamily
}

// ChatbotLabel is the label that tells chatbots apart.
const ChatbotLabel = "chatbot"

// descs describes the metrics that each chatbot has.
type descs struct {
	up, lastFetch, fetchDuration, info *prometheus.Desc
	sums                               []Sum
}

// fullName returns the name of a metric.
func fullName(name string) string { return prometheus.BuildFQName("chatwize", "", name) }

// newDesc describes a metric that each chatbot has.
func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(fullName(name), help, append([]string{ChatbotLabel}, labels...), nil)
}

// New returns a Collector of the chatbots in a directory.
func New(source *Source, directory Directory) *Collector {
	return &Collector{ctx: context.Background(), source: source, directory: directory, last: &atomic.Pointer[gathered]{}, descs: &descs{
		up: newDesc("up",
			"Whether the chatbot's sessions could be fetched and read to the end (1) or not (0)."),
		sums: Sums(),
		lastFetch: newDesc("last_fetch_timestamp_seconds",
			"When the chatbot's numbers were fetched, in Unix time."),
		fetchDuration: newDesc("fetch_duration_seconds",
			"How long the last fetch of the chatbot's sessions took, successful or not."),
		info: newDesc("chatbot_info",
			"The chatbot's name; always 1.", "name"),
	}}
}

// WithContext returns a Collector for a scrape that ends with ctx.
func (c *Collector) WithContext(ctx context.Context) *Collector {
	scrape := *c
	scrape.ctx = ctx
	return &scrape
}

// Only returns a Collector of a single chatbot.
func (c *Collector) Only(chatbot Chatbot) *Collector {
	only := *c
	only.directory = Chatbots{chatbot}
	only.last = &atomic.Pointer[gathered]{}
	return &only
}

// Describe sends the descriptors of all metrics.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	d := c.descs
	for _, desc := range []*prometheus.Desc{d.up, d.lastFetch, d.fetchDuration, d.info} {
		ch <- desc
	}
	for _, sum := range d.sums {
		ch <- sum.desc
	}
}

// Collect fetches the chatbots' sessions and sends their metrics.
func (c *Collector) Collect(ch chan<- prometheus.Metric) { c.send(ch, c.fetch()) }

// Gather is Collect for a [prometheus.Gatherer]. While all fetches are cached it
// returns what it has gathered before, for to check and sort 10,000 metrics takes
// longer than to write them. The families are not to be changed.
func (c *Collector) Gather() ([]*dto.MetricFamily, error) {
	shown := c.fetch()
	if last := c.last.Load(); last != nil && slices.Equal(last.shown, shown) {
		return last.families, nil
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(collected{c, shown}); err != nil {
		return nil, err
	}
	families, err := registry.Gather()
	if err == nil {
		c.last.Store(&gathered{shown, families})
	}
	return families, err
}

// collected is a Collector that has fetched already.
type collected struct {
	*Collector
	shown []shown
}

func (c collected) Collect(ch chan<- prometheus.Metric) { c.send(ch, c.shown) }

// fetch fetches the chatbots' sessions.
func (c *Collector) fetch() []shown {
	start := time.Now()
	chatbots, _ := c.directory.Chatbots(c.ctx) // that it failed is counted and logged there
	all := make([]shown, len(chatbots))
	failed := 0
	for i, fetch := range c.source.FetchAll(c.ctx, chatbots) {
		all[i] = shown{chatbots[i], fetch}
		if fetch.Err != nil {
			failed++
		}
	}
	level.Debug(c.source.Logger).Log("msg", "collected the chatbots",
		"chatbots", len(chatbots), "failed", failed, "took", time.Since(start))
	return all
}

// send sends the chatbots' metrics.
func (c *Collector) send(ch chan<- prometheus.Metric, shown []shown) {
	for _, s := range shown {
		for _, metric := range c.metrics(s.chatbot, s.fetch) {
			ch <- metric
		}
	}
}

// metrics returns the metrics of one chatbot.
func (c *Collector) metrics(chatbot Chatbot, fetch Fetch) []prometheus.Metric {
	var metrics []prometheus.Metric
	send := func(desc *prometheus.Desc, valueType prometheus.ValueType, value float64, labels ...string) {
		metrics = append(metrics, prometheus.MustNewConstMetric(desc, valueType, value,
			append([]string{chatbot.UUID}, labels...)...))
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		send(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(c.descs.info, 1, chatbot.ShownName())
	gauge(c.descs.fetchDuration, fetch.Took.Seconds())
	if fetch.Err != nil {
		gauge(c.descs.up, 0)
		return metrics
	}
	gauge(c.descs.up, 1)
	gauge(c.descs.lastFetch, unix(fetch.Finished))
	for _, sum := range c.descs.sums {
		if value, ok := sum.Value(fetch.Summary); ok {
			send(sum.desc, sum.valueType, value)
		}
	}
	return metrics
}
