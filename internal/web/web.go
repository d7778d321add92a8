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

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

// Config says what is served.
type Config struct {
	// TelemetryPath is where the metrics are.
	TelemetryPath string
	// Directory tells which chatbots there are.
	Directory collector.Directory
	// Chatbots collects those of the directory anew for each scrape.
	Chatbots *collector.Collector
	// ProbeOnly keeps them from the page of all metrics.
	ProbeOnly bool
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
	healthyPath   = "/-/healthy"
	readyPath     = "/-/ready"
	probePath     = "/probe"
	discoveryPath = "/sd"
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
	mux.Handle(probePath, compressed(probeHandler(config)))
	mux.Handle(discoveryPath, compressed(discoveryHandler(config)))
	mux.HandleFunc(healthyPath, serveOK)
	mux.HandleFunc(readyPath, serveOK)
	if config.TelemetryPath != "/" {
		metrics := "of every chatbot and of the exporter"
		if config.ProbeOnly {
			metrics = "of the exporter"
		}
		landing, err := toolkit.NewLandingPage(toolkit.LandingConfig{
			Name:        "Chatwize exporter",
			Description: "Prometheus exporter for Chatwize chatbots",
			Version:     version.Info(),
			Profiling:   "false",
			Links: []toolkit.LandingLinks{
				{Address: config.TelemetryPath, Text: "Metrics", Description: metrics},
				{Address: discoveryPath, Text: "Service discovery", Description: "every chatbot, for http_sd_configs of Prometheus"},
				{Address: probePath, Text: "Probe", Description: "one chatbot's metrics, of the UUID given as target"},
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
	case slices.Contains([]string{healthyPath, readyPath, probePath, discoveryPath}, path):
		return errors.New("is taken by another page; choose another path, such as /metrics")
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
		ctx, cancel := scrapeContext(r, config.TimeoutOffset)
		defer cancel()
		// Not by prometheus.Gatherers: for what may share a name, they check and sort
		// everything once more, which took a third of a scrape of 1,000 chatbots.
		serveMetrics(config, w, r, func() (families []*dto.MetricFamily, err error) {
			if !config.ProbeOnly {
				families, err = config.Chatbots.WithContext(ctx).Gather()
			}
			own, ownErr := config.Registry.Gather()
			return slices.Concat(families, own), errors.Join(err, ownErr)
		})
	})
}

// probeHandler serves one chatbot's metrics.
func probeHandler(config Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		targets := r.URL.Query()["target"]
		if len(targets) != 1 || targets[0] == "" {
			http.Error(w, "give one target, as in "+probePath+"?target=UUID", http.StatusBadRequest)
			return
		}
		if !client.IsUUID(targets[0]) {
			http.Error(w, "the target is not a UUID; write 32 hexadecimal digits, with or without dashes", http.StatusBadRequest)
			return
		}
		ctx, cancel := scrapeContext(r, config.TimeoutOffset)
		defer cancel()
		chatbot, ok := config.Directory.Chatbot(ctx, targets[0])
		if !ok {
			http.Error(w, "the target is not one of the chatbots that --chatwize.chatbot names; add it there", http.StatusBadRequest)
			return
		}
		serveMetrics(config, w, r, config.Chatbots.Only(chatbot).WithContext(ctx).Gather)
	})
}

// scrapeContext returns the context of a scrape, which ends in time for the answer.
func scrapeContext(r *http.Request, offset time.Duration) (context.Context, context.CancelFunc) {
	if timeout := scrapeTimeout(r.Header, offset); timeout > 0 {
		return context.WithTimeout(r.Context(), timeout)
	}
	return context.WithCancel(r.Context())
}

// serveMetrics serves what gather returns, unless nobody is there any more to read it.
func serveMetrics(config Config, w http.ResponseWriter, r *http.Request, gather prometheus.GathererFunc) {
	promhttp.HandlerFor(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := gather()
		if r.Context().Err() != nil {
			return nil, nil //nolint:nilerr // nobody is there to read either
		}
		return families, err
	}), promhttp.HandlerOpts{
		ErrorLog:           errorLog{config.Logger},
		ErrorHandling:      promhttp.ContinueOnError,
		Registry:           config.Registry,
		EnableOpenMetrics:  true,
		DisableCompression: true,
	}).ServeHTTP(w, r)
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
