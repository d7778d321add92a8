package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// scrapeHandler serves metrics.
type scrapeHandler struct {
	Config
	// compressed makes a handler compress its responses.
	compressed func(http.Handler) http.HandlerFunc
	families   familyCache
	pages      *pages
}

func newScrapeHandler(config Config, compressed func(http.Handler) http.HandlerFunc) *scrapeHandler {
	h := &scrapeHandler{Config: config, compressed: compressed}
	h.handler(nil) // registers its counters, so that the first page has them
	h.pages = &pages{fetch: h.fetch, encode: h.encode, open: map[time.Duration]*page{}}
	return h
}

// serveMetrics serves the metrics of the chatbots and of the exporter.
func (h *scrapeHandler) serveMetrics(w http.ResponseWriter, r *http.Request) {
	h.pages.serve(w, r, scrapeTimeout(r.Header, h.TimeoutOffset))
}

// fetch fetches the chatbots. It returns a function that makes their metrics and then
// those of the exporter, which count the fetches of this page.
func (h *scrapeHandler) fetch(ctx context.Context) prometheus.GathererFunc {
	var snapshot collector.Snapshot
	if !h.ProbeOnly {
		snapshot = h.collector(ctx, h.Directory).Fetch()
	}
	own, ownErr := h.Registry.Gather()
	return func() ([]*dto.MetricFamily, error) {
		families, err := h.families.gather(snapshot)
		// prometheus.Gatherers would check and sort everything once more, which took a
		// third of a scrape of 1,000 chatbots.
		return withoutDuplicates(slices.Concat(families, own)), errors.Join(err, ownErr)
	}
}

// serveProbe serves the metrics of one chatbot.
func (h *scrapeHandler) serveProbe(w http.ResponseWriter, r *http.Request) {
	targets := r.URL.Query()["target"]
	if len(targets) != 1 || targets[0] == "" {
		http.Error(w, "give one target, as in "+probePath+"?target=UUID", http.StatusBadRequest)
		return
	}
	if !client.IsUUID(targets[0]) {
		http.Error(w, "the target is not a UUID; write 32 hexadecimal digits, with or without dashes", http.StatusBadRequest)
		return
	}
	ctx, cancel := scrapeContext(r, h.TimeoutOffset)
	defer cancel()
	chatbot, standing := h.Directory.Chatbot(ctx, targets[0])
	var snapshot collector.Snapshot
	switch standing {
	case fetch.Unlisted:
		http.Error(w, "the target is not one of the chatbots of this exporter, which "+discoveryPath+" lists", http.StatusBadRequest)
		return
	case fetch.Unverified:
		result := h.Source.FetchUnverified(ctx, chatbot)
		if errors.Is(result.Err, fetch.ErrNoBudget) {
			http.Error(w, "too many targets were not chatbots of the account; try again in a few seconds", http.StatusServiceUnavailable)
			return
		}
		snapshot = collector.Snapshot{{Chatbot: chatbot, Result: result}}
	default:
		snapshot = h.collector(ctx, fetch.Configured{chatbot}).Fetch()
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(snapshot)
	h.handler(func() ([]*dto.MetricFamily, error) {
		families, err := registry.Gather()
		if r.Context().Err() != nil {
			return nil, nil //nolint:nilerr // the client has disconnected
		}
		return families, err
	}).ServeHTTP(w, r)
}

// collector returns the collector of a scrape.
func (h *scrapeHandler) collector(ctx context.Context, chatbots collector.Lister) collector.Collector {
	return collector.Collector{Context: ctx, Chatbots: chatbots, Source: h.Source, Logger: h.Logger}
}

// encode returns the response with the metrics that gather returns, compressed, as it may
// be needed for long: by a slow reader, or by many. Its body is written to buffer.
func (h *scrapeHandler) encode(r *http.Request, gather prometheus.GathererFunc, buffer *bytes.Buffer) *response {
	r = r.Clone(r.Context())
	r.Header.Set("Accept-Encoding", "gzip")
	length := 0
	counted := func(w http.ResponseWriter, r *http.Request) {
		h.handler(gather).ServeHTTP(&countingWriter{w, &length}, r)
	}
	recorded := record(h.compressed(http.HandlerFunc(counted)), r, buffer)
	recorded.uncompressed = length
	return recorded
}

// handler returns a handler that serves what gather returns.
func (h *scrapeHandler) handler(gather prometheus.GathererFunc) http.Handler {
	return promhttp.HandlerFor(gather, promhttp.HandlerOpts{
		ErrorLog:           errorLog{h.Logger},
		ErrorHandling:      promhttp.ContinueOnError,
		Registry:           h.Registry,
		EnableOpenMetrics:  true,
		DisableCompression: true,
	})
}

// errorLog is a [promhttp.Logger].
type errorLog struct{ log.Logger }

func (l errorLog) Println(v ...any) {
	level.Error(l.Logger).Log("msg", "writing metrics failed", "err", strings.Join(strings.Fields(fmt.Sprint(v...)), " "))
}

// scrapeContext returns a context that ends in time for the response.
func scrapeContext(r *http.Request, offset time.Duration) (context.Context, context.CancelFunc) {
	if timeout := scrapeTimeout(r.Header, offset); timeout > 0 {
		return context.WithTimeout(r.Context(), timeout)
	}
	return context.WithCancel(r.Context())
}

// Limits of the scrape timeout. A longer one is ignored. A shorter one is raised, so
// that a client cannot make all fetches fail.
const (
	maxScrapeTimeout = 24 * time.Hour
	minScrapeTimeout = 100 * time.Millisecond
)

// scrapeTimeout returns the maximum duration of a scrape: the scrape timeout that
// Prometheus sends, less offset or half of it, whichever is less. It is 0 if
// Prometheus sends none.
func scrapeTimeout(header http.Header, offset time.Duration) time.Duration {
	seconds, err := strconv.ParseFloat(header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || !(seconds > 0) || seconds > maxScrapeTimeout.Seconds() {
		return 0
	}
	timeout := max(time.Duration(seconds*float64(time.Second)), minScrapeTimeout)
	return timeout - min(offset, timeout/2)
}
