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

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/apimetrics"
)

// Requests that were answered are counted and timed, and bytes are counted as they came
// over the network.
func TestInstrument(t *testing.T) {
	const list = `[{"uuid":"a"},{"uuid":"b"}]`
	var zipped strings.Builder
	compressor := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(compressor, strings.Repeat(" ", 10000)+list)
	_ = compressor.Close()

	const failure503 = "read, so that the connection can be used again"
	registry := prometheus.NewPedanticRegistry()
	var (
		response http.Response
		failure  error
	)
	api := client.New(client.Config{
		URL: &url.URL{Scheme: "https", Host: "api.example"},
		Key: func(context.Context) (string, error) { return "key", nil },
		Transport: apimetrics.New(registry).Instrument(promhttp.RoundTripperFunc(func(r *http.Request) (*http.Response, error) {
			response.Request = r
			return &response, failure
		})),
	})
	fetch := func(status int, encoding, body string) {
		response = http.Response{
			StatusCode: status,
			Header:     http.Header{"Content-Encoding": {encoding}},
			Body:       io.NopCloser(strings.NewReader(body)),
		}
		response, err := api.Sessions(t.Context(), "7f5e5376dbf045cd8c72c60f428653d1", client.SessionsOptions{})
		if err != nil {
			return
		}
		for range response.Sessions {
		}
	}
	fetch(200, "", list)
	fetch(200, "gzip", zipped.String())
	fetch(503, "", failure503)
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
`, len(list)+zipped.Len()+len(failure503))
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

// Every reason is there from the start. A failed fetch counts one of them.
func TestCountFailure(t *testing.T) {
	page := func(failed client.Reason) string {
		var page strings.Builder
		page.WriteString("# HELP chatwize_api_errors_total Fetches from the Chatwize API that failed, by reason.\n" +
			"# TYPE chatwize_api_errors_total counter\n")
		for _, reason := range []client.Reason{"unauthorized", "not_found", "rate_limited", "server_error",
			"unexpected_status", "timeout", "network", "invalid_response"} {
			n := 0
			if reason == failed {
				n = 1
			}
			fmt.Fprintf(&page, "chatwize_api_errors_total{reason=%q} %d\n", reason, n)
		}
		return page.String()
	}
	for _, reason := range client.Reasons() {
		registry := prometheus.NewPedanticRegistry()
		metrics := apimetrics.New(registry)
		const name = "chatwize_api_errors_total"
		if err := testutil.GatherAndCompare(registry, strings.NewReader(page("")), name); err != nil {
			t.Error(err)
		}
		metrics.CountFailure(reason)
		if err := testutil.GatherAndCompare(registry, strings.NewReader(page(reason)), name); err != nil {
			t.Error(err)
		}
	}
}

// The metric of discovery is absent before the first attempt.
func TestSetDiscovery(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	metrics := apimetrics.New(registry)
	const name, help = "chatwize_discovery_up", "# HELP chatwize_discovery_up Whether the last attempt to discover the account's chatbots worked (1) or not (0).\n# TYPE chatwize_discovery_up gauge\n"
	if n, err := testutil.GatherAndCount(registry, name); err != nil || n != 0 {
		t.Errorf("before the first attempt: got %d, %v", n, err)
	}
	for succeeded, want := range map[bool]string{true: "1", false: "0"} {
		metrics.SetDiscovery(succeeded)
		if err := testutil.GatherAndCompare(registry, strings.NewReader(help+name+" "+want+"\n"), name); err != nil {
			t.Error(err)
		}
	}
}
