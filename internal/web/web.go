// Package web answers the exporter's own callers: Prometheus, people and the
// health checks of what runs the process.
package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	pathpkg "path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
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
	// TimeoutOffset is what is taken off Prometheus's scrape timeout, so that the
	// answer is there in time.
	TimeoutOffset time.Duration
	// Logger is told what goes wrong while metrics are written.
	Logger log.Logger
}

// The paths that are served whatever the configuration.
const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
)

// NewHandler returns the handler of all endpoints.
func NewHandler(config Config) (http.Handler, error) {
	// Prometheus asks for gzip. At this level a page takes a fifth of the time that
	// promhttp's own compression takes, and becomes hardly larger.
	compressed, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(exactly(config.TelemetryPath),
		promhttp.InstrumentMetricHandler(config.Registry, compressed(metricsHandler(config))))
	mux.HandleFunc(healthyPath, serveOK)
	mux.HandleFunc(readyPath, serveOK)
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
		mux.Handle(exactly("/"), landing)
	}
	return withLimits(mux), nil
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
		ctx := r.Context()
		if timeout := scrapeTimeout(r.Header, config.TimeoutOffset); timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		// Not by prometheus.Gatherers: for what may share a name, they check and sort
		// everything once more, which took a third of a scrape of 1,000 chatbots.
		gather := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			families, err := config.Chatbots.WithContext(ctx).Gather()
			if r.Context().Err() != nil {
				return nil, nil //nolint:nilerr // nobody is there to read either
			}
			own, ownErr := config.Registry.Gather()
			return slices.Concat(families, own), errors.Join(err, ownErr)
		})
		promhttp.HandlerFor(gather, promhttp.HandlerOpts{
			ErrorLog:           errorLog{config.Logger},
			ErrorHandling:      promhttp.ContinueOnError,
			Registry:           config.Registry,
			EnableOpenMetrics:  true,
			DisableCompression: true,
		}).ServeHTTP(w, r)
	})
}

// errorLog is a [promhttp.Logger].
type errorLog struct{ log.Logger }

func (l errorLog) Println(v ...any) {
	level.Error(l.Logger).Log("msg", "writing metrics failed", "err", strings.Join(strings.Fields(fmt.Sprint(v...)), " "))
}

// scrapeTimeout returns how long a scrape may take: the scrape timeout that
// Prometheus sends along, less offset or half of it, whichever is less. It is
// 0 where there is none.
func scrapeTimeout(header http.Header, offset time.Duration) time.Duration {
	seconds, err := strconv.ParseFloat(header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || !(seconds > 0) || seconds > maxScrapeTimeout.Seconds() {
		return 0
	}
	timeout := time.Duration(seconds * float64(time.Second))
	return timeout - min(offset, timeout/2)
}

// maxScrapeTimeout is the longest scrape timeout that is taken for one.
const maxScrapeTimeout = 24 * time.Hour
