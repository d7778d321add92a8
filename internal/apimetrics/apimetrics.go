// Package apimetrics measures the requests that the client sends to the API.
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

// Instrument returns a transport that sends requests by way of next and counts
// and times them in metrics that it registers with registerer.
func Instrument(next http.RoundTripper, registerer prometheus.Registerer) http.RoundTripper {
	factory := promauto.With(registerer)
	requests := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "chatwize_api_requests_total",
		Help: "Requests sent to the Chatwize API that were answered, by endpoint and status code.",
	}, []string{"endpoint", "code"})
	duration := factory.NewHistogramVec(prometheus.HistogramOpts{
		Name:                            "chatwize_api_request_duration_seconds",
		Help:                            "Time from sending a request to the Chatwize API to its response headers.",
		Buckets:                         prometheus.ExponentialBuckets(0.01, 2, 13), // 10 ms to 41 s
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}, []string{"endpoint"})
	received := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "chatwize_api_response_bytes_total",
		Help: "Bytes of response bodies read from the Chatwize API, as they came over the network.",
	}, []string{"endpoint"})

	endpoint := promhttp.WithLabelFromCtx("endpoint", client.Endpoint)
	next = promhttp.InstrumentRoundTripperCounter(requests, next, endpoint)
	next = promhttp.InstrumentRoundTripperDuration(duration, next, endpoint)
	return promhttp.RoundTripperFunc(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		if err == nil {
			counter := received.WithLabelValues(client.Endpoint(request.Context()))
			response.Body = &countingBody{ReadCloser: response.Body, read: counter}
		}
		return response, err
	})
}

// countingBody counts the bytes that are read from a response's body.
type countingBody struct {
	io.ReadCloser
	read prometheus.Counter
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(float64(n))
	return n, err
}
