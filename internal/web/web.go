// Package web answers the exporter's own callers: Prometheus, people and the
// health checks of what runs the process.
package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	pathpkg "path"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

// Config says what is served.
type Config struct {
	// TelemetryPath is where the metrics are.
	TelemetryPath string
	// Chatbots are collected anew for each scrape.
	Chatbots *collector.Collector
	// Registry holds the exporter's own metrics; the handlers' are added to it.
	Registry *prometheus.Registry
	// Timeout is the longest a scrape may take.
	Timeout time.Duration
	// TimeoutOffset is what is taken off Prometheus's own timeout, so that the
	// answer is there in time.
	TimeoutOffset time.Duration
	// ErrorLog is told what goes wrong while metrics are written.
	ErrorLog promhttp.Logger
}

// The paths that are served whatever the configuration.
const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
)

// NewHandler returns the handler of all endpoints.
func NewHandler(config Config) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.Handle("GET "+exactly(config.TelemetryPath),
		promhttp.InstrumentMetricHandler(config.Registry, metricsHandler(config)))
	mux.HandleFunc("GET "+healthyPath, serveOK)
	mux.HandleFunc("GET "+readyPath, serveOK)
	if config.TelemetryPath != "/" {
		landing, err := toolkit.NewLandingPage(toolkit.LandingConfig{
			Name:        "Chatwize exporter",
			Description: "Prometheus exporter for Chatwize chatbots",
			Version:     version.Info(),
			Profiling:   "false",
			Links: []toolkit.LandingLinks{
				{Address: config.TelemetryPath, Text: "Metrics", Description: "of every chatbot and of the exporter"},
				{Address: healthyPath, Text: "Healthy", Description: "whether the process serves"},
				{Address: readyPath, Text: "Ready", Description: "whether the process serves"},
			},
		})
		if err != nil {
			return nil, err
		}
		mux.Handle("GET "+exactly("/"), landing)
	}
	return mux, nil
}

// CheckTelemetryPath returns an error where NewHandler cannot serve metrics at path.
func CheckTelemetryPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New("must begin with a slash, such as /metrics")
	case path == healthyPath, path == readyPath:
		return errors.New("is taken by a health check; choose another, such as /metrics")
	case path != "/" && path != "/"+strings.Trim(pathpkg.Clean(path), "/"), strings.ContainsAny(path, "{} \t?#%"):
		return errors.New("must be a plain path, such as /metrics")
	}
	return nil
}

// exactly returns the pattern for a path; a bare slash would match all paths.
func exactly(path string) string {
	if path == "/" {
		return "/{$}"
	}
	return path
}

func serveOK(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "OK\n")
}

// metricsHandler serves the chatbots' metrics and then the exporter's own, so
// that these count the very scrape.
func metricsHandler(config Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), scrapeTimeout(r.Header, config.Timeout, config.TimeoutOffset))
		defer cancel()
		chatbots := prometheus.NewRegistry()
		chatbots.MustRegister(config.Chatbots.WithContext(ctx))
		promhttp.HandlerFor(prometheus.Gatherers{chatbots, config.Registry}, promhttp.HandlerOpts{
			ErrorLog:          config.ErrorLog,
			ErrorHandling:     promhttp.ContinueOnError,
			Registry:          config.Registry,
			EnableOpenMetrics: true,
		}).ServeHTTP(w, r)
	})
}

// scrapeTimeout returns how long a scrape may take: timeout, or less where the
// scrape timeout that Prometheus sends along, less offset, is shorter. Half of a
// scrape timeout is never taken off, however large the offset.
func scrapeTimeout(header http.Header, timeout, offset time.Duration) time.Duration {
	seconds, err := strconv.ParseFloat(header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || !(seconds > 0) || seconds > timeout.Seconds()+offset.Seconds() {
		return timeout
	}
	theirs := time.Duration(seconds * float64(time.Second))
	return min(timeout, theirs-min(offset, theirs/2))
}
