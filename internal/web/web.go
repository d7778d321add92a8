// Package web serves metrics to Prometheus, a page to people and health checks to
// whatever runs the process.
package web

import (
	"errors"
	"io"
	"net/http"
	pathpkg "path"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// Options are the settings of the handler.
type Options struct {
	// TelemetryPath is the path of the metrics; see [CheckTelemetryPath].
	TelemetryPath string
	// ProbeOnly removes chatbots from TelemetryPath, so that only /probe has them.
	ProbeOnly bool
	// TimeoutOffset is subtracted from the scrape timeout of Prometheus, so that the
	// response arrives in time. At most half of the timeout is subtracted.
	TimeoutOffset time.Duration
}

// Config is what the handler serves.
type Config struct {
	Options
	// Directory knows the chatbots.
	Directory fetch.Directory
	// Source fetches them.
	Source collector.Fetcher
	// Registry holds the metrics of the exporter itself. The handlers add theirs.
	Registry *prometheus.Registry
	Logger   log.Logger
}

// The paths that do not depend on the settings.
const (
	healthyPath   = "/-/healthy"
	readyPath     = "/-/ready"
	probePath     = "/probe"
	discoveryPath = "/sd"
)

// NewHandler returns the handler of all endpoints.
func NewHandler(config Config) (http.Handler, error) {
	// Prometheus accepts gzip. At this level compression takes a fifth of the time of
	// promhttp's own, and the page is hardly larger.
	compressed, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		return nil, err
	}
	scrapes := &scrapeHandler{Config: config}
	mux := http.NewServeMux()
	get := func(path string, handler http.Handler) { mux.Handle("GET "+path, handler) }
	get(exactly(config.TelemetryPath),
		promhttp.InstrumentMetricHandler(config.Registry, compressed(http.HandlerFunc(scrapes.serveMetrics))))
	get(probePath, compressed(http.HandlerFunc(scrapes.serveProbe)))
	get(discoveryPath, compressed(serviceDiscovery{config.Directory}))
	get(healthyPath, http.HandlerFunc(serveOK))
	get(readyPath, http.HandlerFunc(serveOK))
	if config.TelemetryPath != "/" {
		landing, err := newLandingPage(config.Options)
		if err != nil {
			return nil, err
		}
		get(exactly("/"), landing)
	}
	return limitCallers(mux), nil
}

func newLandingPage(options Options) (http.Handler, error) {
	metrics := "of all chatbots and of the exporter"
	if options.ProbeOnly {
		metrics = "of the exporter"
	}
	return toolkit.NewLandingPage(toolkit.LandingConfig{
		Name:        "Chatwize exporter",
		Description: "Prometheus exporter for Chatwize chatbots",
		Version:     version.Info(),
		Profiling:   "false",
		Links: []toolkit.LandingLinks{
			{Address: options.TelemetryPath, Text: "Metrics", Description: metrics},
			{Address: discoveryPath, Text: "Service discovery", Description: "all chatbots, for http_sd_configs of Prometheus"},
			{Address: probePath, Text: "Probe", Description: "metrics of one chatbot, whose UUID is the parameter target"},
			{Address: healthyPath, Text: "Healthy", Description: "whether the process serves"},
			{Address: readyPath, Text: "Ready", Description: "whether the process serves"},
		},
	})
}

// CheckTelemetryPath returns an error if metrics cannot be served at path.
func CheckTelemetryPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New("must begin with a slash, such as /metrics")
	case slices.Contains([]string{healthyPath, readyPath, probePath, discoveryPath}, path):
		return errors.New("is taken by another page; choose another path, such as /metrics")
	case path != "/" && path != "/"+strings.Trim(pathpkg.Clean(path), "/"), strings.ContainsAny(path, "{} \t?#%"):
		return errors.New("must be a plain path, such as /metrics")
	}
	return nil
}

// exactly returns the pattern for a path. A single slash would match all paths.
func exactly(path string) string {
	if path == "/" {
		return "/{$}"
	}
	return path
}

func serveOK(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "OK\n")
}
