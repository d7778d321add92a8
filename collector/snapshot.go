package collector

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// Fetched is a chatbot and the result of its fetch.
type Fetched struct {
	Chatbot client.Chatbot
	Result  fetch.Result
}

// Snapshot is a [prometheus.Collector] of chatbots that have been fetched.
type Snapshot []Fetched

// Describe sends the descriptors of all metrics of chatbots.
func (Snapshot) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{upDesc, infoDesc, failureDesc, fetchDurationDesc, lastFetchDesc} {
		descs <- desc
	}
	for _, metric := range numberMetrics {
		descs <- metric.desc
	}
}

// Collect sends the metrics of the chatbots. After a failed fetch a chatbot has no
// numbers, so that an old number is never shown as a new one.
func (s Snapshot) Collect(metrics chan<- prometheus.Metric) {
	for _, fetched := range s {
		fetched.collect(metrics)
	}
}

func (f Fetched) collect(metrics chan<- prometheus.Metric) {
	chatbot := []*dto.LabelPair{label(ChatbotLabel, f.Chatbot.UUID)}
	send := func(desc *prometheus.Desc, value float64, labels ...*dto.LabelPair) {
		metrics <- &gauge{desc: desc, value: value, labels: append(chatbot[:1:1], labels...)}
	}
	send(infoDesc, 1, label("name", f.Chatbot.NameOrUUID()))
	send(fetchDurationDesc, f.Result.Took.Seconds())
	if f.Result.Err != nil {
		send(upDesc, 0)
		send(failureDesc, 1, label("reason", string(fetch.ReasonOf(f.Result.Err))))
		return
	}
	send(upDesc, 1)
	send(lastFetchDesc, unixSeconds(f.Result.Received))
	for _, metric := range numberMetrics {
		if value, ok := metric.Value(f.Result.Numbers); ok {
			send(metric.desc, value, metric.labels...)
		}
	}
}

// gauge is a [prometheus.Metric]. A thousand chatbots have 34,000: their labels are made
// once, not for each.
type gauge struct {
	desc   *prometheus.Desc
	value  float64
	labels []*dto.LabelPair // sorted by name
}

func (g *gauge) Desc() *prometheus.Desc { return g.desc }

func (g *gauge) Write(out *dto.Metric) error {
	out.Label, out.Gauge = g.labels, &dto.Gauge{Value: &g.value}
	return nil
}

func label(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }
