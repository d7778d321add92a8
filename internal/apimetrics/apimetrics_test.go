package apimetrics_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/apimetrics"
)

func TestInstrument(t *testing.T) {
	const list = `[{"uuid":"a"},{"uuid":"b"}]`
	var zipped strings.Builder
	compressor := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(compressor, strings.Repeat(" ", 10000)+list)
	_ = compressor.Close()

	registry := prometheus.NewPedanticRegistry()
	var (
		response http.Response
		failure  error
	)
	api := client.New(client.Config{
		URL: &url.URL{Scheme: "https", Host: "api.example"},
		Key: func(context.Context) (string, error) { return "key", nil },
		Transport: apimetrics.Instrument(promhttp.RoundTripperFunc(func(r *http.Request) (*http.Response, error) {
			response.Request = r
			return &response, failure
		}), registry),
	})
	fetch := func(status int, encoding, body string) {
		response = http.Response{
			StatusCode: status,
			Header:     http.Header{"Content-Encoding": {encoding}},
			Body:       io.NopCloser(strings.NewReader(body)),
		}
		for range api.Sessions(t.Context(), "7f5e5376dbf045cd8c72c60f428653d1", time.Time{}, nil) {
		}
	}
	fetch(200, "", list)
	fetch(200, "gzip", zipped.String())
	fetch(503, "", "this is not read")
	failure = errors.New("no connection, so no answer to count")
	fetch(0, "", "")

	want := fmt.Sprintf(`
# HELP chatwize_api_requests_total Requests sent to the Chatwize API that were answered, by endpoint and status code.
# TYPE chatwize_api_requests_total counter
chatwize_api_requests_total{code="200",endpoint="sessions"} 2
chatwize_api_requests_total{code="503",endpoint="sessions"} 1
# HELP chatwize_api_response_bytes_total Bytes of response bodies read from the Chatwize API, as they came over the network.
# TYPE chatwize_api_response_bytes_total counter
chatwize_api_response_bytes_total{endpoint="sessions"} %d
`, len(list)+zipped.Len())
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want),
		"chatwize_api_requests_total", "chatwize_api_response_bytes_total"); err != nil {
		t.Error(err)
	}

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "chatwize_api_request_duration_seconds" {
			continue
		}
		histogram := family.GetMetric()[0].GetHistogram()
		if histogram.GetSampleCount() != 3 || len(histogram.GetBucket()) == 0 || histogram.Schema == nil {
			t.Errorf("got %v, want 3 observations in classic and native buckets", histogram)
		}
		if label := family.GetMetric()[0].GetLabel()[0]; label.GetName() != "endpoint" || label.GetValue() != "sessions" {
			t.Errorf("got label %v", label)
		}
		return
	}
	t.Error("there is no histogram of durations")
}
