// Package web serves metrics to Prometheus, a page to people and health checks to
// whatever runs the process.
package web

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	pathpkg "path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-kit/log"
	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
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
	// MaxRequests is the maximum number of requests for TelemetryPath at a time, until
	// their last byte is written. Ten times as many are allowed for /probe, and 40 for
	// the other pages that are not health checks. 0: no limit.
	MaxRequests int
}

// Config is what the handler serves.
type Config struct {
	Options
	// Accounts returns the accounts to serve, as [accounts.Manager.Current] does.
	Accounts func() *accounts.Set
	// Reload reads the configuration file again; nil if there is none.
	Reload func(context.Context) error
	// ReloadFailure returns why the last reload failed, nil if it did not; nil if there is no file.
	ReloadFailure func() error
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
	reloadPath    = "/-/reload"
)

// maxOthers is the maximum number of requests at a time for the overview and for service
// discovery together.
const maxOthers = 40

// maxReloads is the maximum number of reloads at a time: one under way, and those that wait.
const maxReloads = 10

// limiters return the limiters of the metrics, of probes, of the other pages and of reloads.
func (o Options) limiters() (metrics, probes, others, reloads func(http.Handler) http.Handler) {
	if o.MaxRequests == 0 {
		return unlimited, unlimited, unlimited, unlimited
	}
	return limiter(o.MaxRequests), limiter(10 * min(o.MaxRequests, math.MaxInt/10)), limiter(maxOthers), limiter(maxReloads)
}

// NewHandler returns the handler of all endpoints.
func NewHandler(config Config) (http.Handler, error) {
	// Prometheus accepts gzip. At this level compression takes a fifth of the time of
	// promhttp's own, and the page is hardly larger.
	wrapper, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		return nil, err
	}
	compressed := compressor(wrapper)
	scrapes := newScrapeHandler(config, compressed)
	limitMetrics, limitProbes, limitOthers, limitReloads := config.limiters()
	mux := http.NewServeMux()
	get := func(path string, handler http.Handler) { mux.Handle("GET "+path, handler) }
	get(exactly(config.TelemetryPath),
		promhttp.InstrumentMetricHandler(config.Registry, limitMetrics(compressed(http.HandlerFunc(scrapes.serveMetrics)))))
	account := limitMetrics(compressed(http.HandlerFunc(scrapes.serveAccount)))
	probe := limitProbes(compressed.buffered(http.HandlerFunc(scrapes.serveProbe)))
	get(probePath, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if scrapes.wantsAccount(r) {
			account.ServeHTTP(w, r)
		} else {
			probe.ServeHTTP(w, r)
		}
	}))
	get(discoveryPath, limitOthers(compressed.buffered(&serviceDiscovery{accounts: config.Accounts})))
	if config.Reload != nil {
		mux.Handle("POST "+reloadPath, http.NewCrossOriginProtection().Handler(limitReloads(reloader{config.Reload})))
	}
	get(healthyPath, http.HandlerFunc(serveOK))
	get(readyPath, http.HandlerFunc(serveOK))
	if config.TelemetryPath != "/" {
		overview, err := newOverview(config)
		if err != nil {
			return nil, err
		}
		get(exactly("/"), limitOthers(compressed(overview)))
	}
	return limitCallers(mux), nil
}

// CheckTelemetryPath returns an error if metrics cannot be served at path.
func CheckTelemetryPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New("must begin with a slash, such as /metrics")
	case slices.Contains([]string{healthyPath, readyPath, reloadPath, probePath, discoveryPath}, path):
		return errors.New("is taken by another page; choose another path, such as /metrics")
	case path != "/" && path != "/"+strings.Trim(pathpkg.Clean(path), "/"), strings.ContainsAny(path, "{} ?#%"), strings.ContainsFunc(path, unicode.IsControl):
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
