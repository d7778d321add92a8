// Package apimetrics measures what is asked of the API. Its methods are hooks for
// packages client and fetch, which know no metrics.
package apimetrics

import (
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Metrics are the metrics of requests to the API. They are a [prometheus.Collector].
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	received *prometheus.CounterVec
	errors   *prometheus.CounterVec
	// discoveryUp has no labels. It is a vector so that it is absent before the first
	// attempt.
	discoveryUp *prometheus.GaugeVec
}

// New returns Metrics registered with registerer, if that is not nil.
func New(registerer prometheus.Registerer) *Metrics {
	factory := promauto.With(registerer)
	m := &Metrics{
		requests: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "chatwize_api_requests_total",
			Help: "Requests sent to the Chatwize API that were answered, by endpoint and status code.",
		}, []string{"endpoint", "code"}),
		duration: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "chatwize_api_request_duration_seconds",
			Help:                            "Time from sending a request to the Chatwize API to its response headers.",
			Buckets:                         prometheus.ExponentialBuckets(0.01, 2, 13), // 10 ms to 41 s
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"endpoint"}),
		received: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "chatwize_api_response_bytes_total",
			Help: "Bytes of response bodies read from the Chatwize API, as they came over the network.",
		}, []string{"endpoint"}),
		errors: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "chatwize_api_errors_total",
			Help: "Fetches from the Chatwize API that failed, by reason.",
		}, []string{"reason"}),
		discoveryUp: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "chatwize_discovery_up",
			Help: "Whether the last attempt to discover the account's chatbots worked (1) or not (0).",
		}, nil),
	}
	for _, reason := range client.Reasons() {
		m.errors.WithLabelValues(string(reason))
	}
	return m
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.duration, m.received, m.errors, m.discoveryUp}
}

// Describe sends the descriptors of all metrics.
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(descs)
	}
}

// Collect sends all metrics.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(metrics)
	}
}

// Instrument returns a transport that sends requests through next and counts and times
// them.
func (m *Metrics) Instrument(next http.RoundTripper) http.RoundTripper {
	endpoint := promhttp.WithLabelFromCtx("endpoint", client.Endpoint)
	next = promhttp.InstrumentRoundTripperCounter(m.requests, next, endpoint)
	next = promhttp.InstrumentRoundTripperDuration(m.duration, next, endpoint)
	return promhttp.RoundTripperFunc(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		if err == nil {
			counter := m.received.WithLabelValues(client.Endpoint(request.Context()))
			response.Body = &countingBody{ReadCloser: response.Body, read: counter}
		}
		return response, err
	})
}

// CountFailure counts a failed fetch.
func (m *Metrics) CountFailure(reason client.Reason) { m.errors.WithLabelValues(string(reason)).Inc() }

// SetDiscovery sets whether the last attempt to discover chatbots succeeded.
func (m *Metrics) SetDiscovery(succeeded bool) {
	value := 0.0
	if succeeded {
		value = 1
	}
	m.discoveryUp.WithLabelValues().Set(value)
}

// RemoveDiscovery removes the metric of [Metrics.SetDiscovery], as chatbots are not discovered
// any more.
func (m *Metrics) RemoveDiscovery() { m.discoveryUp.Reset() }

// countingBody counts the bytes that are read from the body of a response.
type countingBody struct {
	io.ReadCloser
	read prometheus.Counter
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(float64(n))
	return n, err
}
