// Package collector turns chatbots' sessions into Prometheus metrics.
package collector

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
)

// Collector is a [prometheus.Collector] that fetches the sessions of its chatbots
// when it is collected, all at once as far as its Source lets it. A chatbot that
// cannot be fetched is shown as down and has no numbers.
type Collector struct {
	// ctx is that of the scrape; [prometheus.Collector] passes none.
	ctx      context.Context
	source   *Source
	chatbots []Chatbot
	descs    *descs
	sent     *sync.Map // the last metrics of each chatbot, by UUID
}

// sent are the metrics of a fetch, to be sent again for as long as that is cached.
type sent struct {
	chatbot Chatbot
	fetch   Fetch
	metrics []prometheus.Metric
}

// descs describes the metrics that each chatbot has.
type descs struct {
	up, sessions, withLead, withVerifiedIdentity, malformed,
	lastCreated, lastModified, lastFetch, fetchDuration, info *prometheus.Desc
}

// New returns a Collector of chatbots.
func New(source *Source, chatbots []Chatbot) *Collector {
	// In the order in which a page has them, which is then found to be sorted.
	chatbots = slices.SortedFunc(slices.Values(chatbots), func(a, b Chatbot) int { return cmp.Compare(a.UUID, b.UUID) })
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("chatwize", "", name), help,
			append([]string{"chatbot"}, labels...), nil)
	}
	return &Collector{ctx: context.Background(), source: source, chatbots: chatbots, sent: &sync.Map{}, descs: &descs{
		up: desc("up",
			"Whether the chatbot's sessions could be fetched and read to the end (1) or not (0)."),
		sessions: desc("sessions",
			"Sessions of the chatbot."),
		withLead: desc("sessions_with_lead",
			"Sessions whose visitor submitted the lead form."),
		withVerifiedIdentity: desc("sessions_with_verified_identity",
			"Sessions whose visitor's identity was verified and saved."),
		malformed: desc("malformed_sessions",
			"Sessions that break the documented shape; they are counted as sessions all the same."),
		lastCreated: desc("last_session_created_timestamp_seconds",
			"When the newest session was created, in Unix time."),
		lastModified: desc("last_session_modified_timestamp_seconds",
			"When a session was last modified, in Unix time."),
		lastFetch: desc("last_fetch_timestamp_seconds",
			"When the chatbot's numbers were fetched, in Unix time."),
		fetchDuration: desc("fetch_duration_seconds",
			"How long the last fetch of the chatbot's sessions took, successful or not."),
		info: desc("chatbot_info",
			"The chatbot's name; always 1.", "name"),
	}}
}

// WithContext returns a Collector for a scrape that ends with ctx.
func (c *Collector) WithContext(ctx context.Context) *Collector {
	scrape := *c
	scrape.ctx = ctx
	return &scrape
}

// Describe sends the descriptors of all metrics.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	d := c.descs
	for _, desc := range []*prometheus.Desc{
		d.up, d.sessions, d.withLead, d.withVerifiedIdentity, d.malformed,
		d.lastCreated, d.lastModified, d.lastFetch, d.fetchDuration, d.info,
	} {
		ch <- desc
	}
}

// Collect fetches the chatbots' sessions and sends their metrics.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	start := time.Now()
	var failed atomic.Int64
	c.source.FetchAll(c.ctx, c.chatbots, func(chatbot Chatbot, fetch Fetch) {
		if fetch.Err != nil {
			failed.Add(1)
		}
		c.send(ch, chatbot, fetch)
	})
	level.Debug(c.source.Logger).Log("msg", "collected the chatbots",
		"chatbots", len(c.chatbots), "failed", failed.Load(), "took", time.Since(start))
}

// send sends the metrics of one chatbot.
func (c *Collector) send(ch chan<- prometheus.Metric, chatbot Chatbot, fetch Fetch) {
	last, ok := c.sent.Load(chatbot.UUID)
	if !ok || last.(sent).chatbot != chatbot || last.(sent).fetch != fetch {
		last = sent{chatbot: chatbot, fetch: fetch, metrics: c.metrics(chatbot, fetch)}
		c.sent.Store(chatbot.UUID, last)
	}
	for _, metric := range last.(sent).metrics {
		ch <- metric
	}
}

// metrics returns the metrics of one chatbot.
func (c *Collector) metrics(chatbot Chatbot, fetch Fetch) []prometheus.Metric {
	var metrics []prometheus.Metric
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics = append(metrics, prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value,
			append([]string{chatbot.UUID}, labels...)...))
	}
	timestamp := func(desc *prometheus.Desc, t time.Time) {
		if !t.IsZero() {
			gauge(desc, float64(t.Unix())+float64(t.Nanosecond())/1e9)
		}
	}
	name := chatbot.Name
	if name == "" {
		name = chatbot.UUID
	}
	gauge(c.descs.info, 1, name)
	gauge(c.descs.fetchDuration, fetch.Took.Seconds())
	if fetch.Err != nil {
		gauge(c.descs.up, 0)
		return metrics
	}
	gauge(c.descs.up, 1)
	gauge(c.descs.sessions, float64(fetch.Summary.Sessions))
	gauge(c.descs.withLead, float64(fetch.Summary.WithLead))
	gauge(c.descs.withVerifiedIdentity, float64(fetch.Summary.WithVerifiedIdentity))
	gauge(c.descs.malformed, float64(fetch.Summary.Malformed))
	timestamp(c.descs.lastCreated, fetch.Summary.LastCreated)
	timestamp(c.descs.lastModified, fetch.Summary.LastModified)
	timestamp(c.descs.lastFetch, fetch.Finished)
	return metrics
}
