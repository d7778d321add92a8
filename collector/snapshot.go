package collector

import (
	"github.com/prometheus/client_golang/prometheus"

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
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{f.Chatbot.UUID}, labels...)...)
	}
	gauge(infoDesc, 1, f.Chatbot.NameOrUUID())
	gauge(fetchDurationDesc, f.Result.Took.Seconds())
	if f.Result.Err != nil {
		gauge(upDesc, 0)
		gauge(failureDesc, 1, string(fetch.ReasonOf(f.Result.Err)))
		return
	}
	gauge(upDesc, 1)
	gauge(lastFetchDesc, unixSeconds(f.Result.Received))
	for _, metric := range numberMetrics {
		value, ok := metric.Value(&f.Result.Numbers)
		switch {
		case !ok:
		case metric.Window != "":
			gauge(metric.desc, value, metric.Window)
		default:
			gauge(metric.desc, value)
		}
	}
}
