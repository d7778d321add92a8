// Package collector turns what was fetched of chatbots into Prometheus metrics.
package collector

import (
	"context"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// Fetcher fetches chatbots, as [fetch.Source] does. The results are in the order of
// chatbots.
type Fetcher interface {
	FetchAll(ctx context.Context, chatbots []client.Chatbot) []fetch.Result
}

// Lister returns the chatbots to fetch, as [fetch.Directory] does. It logs its failures
// itself.
type Lister interface {
	Chatbots(ctx context.Context) ([]client.Chatbot, error)
}

// Collector is a [prometheus.Collector] for one scrape. It fetches its chatbots when
// it is collected.
type Collector struct {
	// Context ends the scrape.
	Context  context.Context
	Chatbots Lister
	Source   Fetcher
	Logger   log.Logger
}

// Describe sends the descriptors of all metrics of chatbots.
func (c Collector) Describe(descs chan<- *prometheus.Desc) { Snapshot{}.Describe(descs) }

// Collect fetches the chatbots and sends their metrics. A chatbot that cannot be
// fetched has the metrics of a failed fetch.
func (c Collector) Collect(metrics chan<- prometheus.Metric) { c.Fetch().Collect(metrics) }

// Fetch fetches the chatbots.
func (c Collector) Fetch() Snapshot {
	begun := time.Now()
	chatbots, _ := c.Chatbots.Chatbots(c.Context) // a failure has been logged
	snapshot := make(Snapshot, len(chatbots))
	failed := 0
	for i, result := range c.Source.FetchAll(c.Context, chatbots) {
		snapshot[i] = Fetched{chatbots[i], result}
		if result.Err != nil {
			failed++
		}
	}
	level.Debug(c.Logger).Log("msg", "Fetched the chatbots",
		"chatbots", len(chatbots), "failed", failed, "took", time.Since(begun))
	return snapshot
}
