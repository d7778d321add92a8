package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// scrapeHandler serves metrics.
type scrapeHandler struct {
	Config
	compressed compressor
	families   familyCaches
	pages      *pages
}

func newScrapeHandler(config Config, compressed compressor) *scrapeHandler {
	h := &scrapeHandler{Config: config, compressed: compressed, families: newFamilyCaches()}
	h.handler(nil) // registers its counters, so that the first page has them
	h.pages = &pages{fetch: h.fetch, encode: h.encode, open: map[pageKey]*page{}}
	return h
}

// serveMetrics serves the metrics of the chatbots and of the exporter.
func (h *scrapeHandler) serveMetrics(w http.ResponseWriter, r *http.Request) {
	h.pages.serve(w, r, pageKey{timeout: scrapeTimeout(r.Header, h.TimeoutOffset)})
}

// wantsAccount reports whether a request is for all metrics of an account.
func (h *scrapeHandler) wantsAccount(r *http.Request) bool {
	query := r.URL.Query()
	return h.Accounts().Named() && query.Has(accountParameter) && !query.Has(targetParameter)
}

// serveAccount serves the metrics of an account.
func (h *scrapeHandler) serveAccount(w http.ResponseWriter, r *http.Request) {
	account, err := accountOf(h.Accounts(), r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.pages.serve(w, r, pageKey{account.Name, scrapeTimeout(r.Header, h.TimeoutOffset)})
}

// fetched is what a page shows of an account.
type fetched struct {
	account  *accounts.Account
	snapshot collector.Snapshot
	api      []*dto.MetricFamily // the metrics of requests to the API
	err      error               // of gathering these
}

// fetch fetches the chatbots of an account, or of all accounts if name is empty. Then it gathers
// the metrics of the API and of the exporter, so that they count these fetches. The function
// that it returns gathers all metrics of the page.
func (h *scrapeHandler) fetch(ctx context.Context, name string) prometheus.GathererFunc {
	set := h.Accounts()
	h.families.retain(set)
	all := set.Accounts
	if name != "" {
		account, ok := set.Find(name)
		if !ok {
			return noMetrics // a reload has just removed it
		}
		all = []*accounts.Account{account}
	}
	results := make([]fetched, len(all))
	var fetches sync.WaitGroup
	for i, account := range all {
		fetches.Go(func() {
			results[i].account = account
			if !h.ProbeOnly || name != "" {
				results[i].snapshot = snapshotOf(ctx, account, account.Directory)
			}
			results[i].api, results[i].err = account.Metrics.Gather()
		})
	}
	fetches.Wait()
	var own []*dto.MetricFamily
	var ownErr error
	if name == "" {
		own, ownErr = h.Registry.Gather()
	}
	return func() ([]*dto.MetricFamily, error) { return h.gather(results, own, ownErr) }
}

func noMetrics() ([]*dto.MetricFamily, error) { return nil, nil }

// gather returns the families of a page, each once, sorted by name. Accounts that were removed
// during the fetch are left out, as the end of their fetches is no failure.
func (h *scrapeHandler) gather(results []fetched, own []*dto.MetricFamily, ownErr error) ([]*dto.MetricFamily, error) {
	lists, errs := [][]*dto.MetricFamily{own}, []error{ownErr}
	for _, result := range results {
		if result.account.Removed() {
			continue
		}
		families, err := h.families.of(result.account).gather(result.snapshot)
		lists = append(lists, families, result.api)
		errs = append(errs, err, result.err)
	}
	merged, err := merge(lists...)
	return withoutDuplicates(merged), errors.Join(append(errs, err)...)
}

// serveProbe serves the metrics of one chatbot and, if it has a name, of its account.
func (h *scrapeHandler) serveProbe(w http.ResponseWriter, r *http.Request) {
	set, query := h.Accounts(), r.URL.Query()
	target, err := targetOf(set, query)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := scrapeContext(r, h.TimeoutOffset)
	defer cancel()
	account, err := h.accountOfTarget(ctx, set, query, target)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	chatbot, standing := account.Directory.Chatbot(ctx, target)
	var snapshot collector.Snapshot
	switch standing {
	case fetch.Unlisted:
		http.Error(w, "the target is not one of the chatbots of this "+listerOf(set)+", which "+discoveryPath+" lists", http.StatusBadRequest)
		return
	case fetch.Unverified:
		result := account.Source.FetchUnverified(ctx, chatbot)
		if errors.Is(result.Err, fetch.ErrNoBudget) {
			http.Error(w, "too many targets were not chatbots of the account; try again in a few seconds", http.StatusServiceUnavailable)
			return
		}
		snapshot = collector.Snapshot{{Chatbot: chatbot, Result: result}}
	default:
		snapshot = snapshotOf(ctx, account, fetch.Configured{chatbot})
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(snapshot)
	h.handler(func() ([]*dto.MetricFamily, error) {
		families, err := registry.Gather()
		if r.Context().Err() != nil || account.Removed() {
			return nil, nil //nolint:nilerr // the client has disconnected, or the account is gone
		}
		if account.Name == "" {
			return families, err
		}
		addAccount(families, account.Name)
		api, apiErr := account.Metrics.Gather()
		merged, mergeErr := merge(families, api)
		return merged, errors.Join(err, apiErr, mergeErr)
	}).ServeHTTP(w, r)
}

// accountOfTarget returns the account that a probe is for: the one it names or, without a
// name, the only one that lists the target. It returns an error for the client.
func (h *scrapeHandler) accountOfTarget(ctx context.Context, set *accounts.Set, query url.Values, target string) (*accounts.Account, error) {
	switch {
	case !set.Named() && len(set.Accounts) == 1:
		return set.Accounts[0], nil
	case query.Has(accountParameter):
		return accountOf(set, query)
	}
	having := set.Having(ctx, target)
	switch len(having) {
	case 0:
		return nil, errors.New("no account lists the target, as far as the lists are known; add the account, as in " + probePath + "?account=NAME&target=UUID")
	case 1:
		return having[0], nil
	}
	var names []string
	for _, account := range having {
		names = append(names, strconv.Quote(account.Name))
	}
	return nil, errors.New("several accounts have the target; add one of them as account: " + strings.Join(names, ", "))
}

// snapshotOf fetches chatbots of an account.
func snapshotOf(ctx context.Context, account *accounts.Account, chatbots collector.Lister) collector.Snapshot {
	return collector.Collector{Context: ctx, Chatbots: chatbots, Source: account.Source, Logger: account.Logger}.Fetch()
}

// encode returns the response with the metrics that gather returns, compressed. Its body is
// written to buffer.
func (h *scrapeHandler) encode(r *http.Request, gather prometheus.GathererFunc, buffer *bytes.Buffer) *response {
	return h.compressed.record(h.handler(gather), r, buffer)
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
	level.Error(l.Logger).Log("msg", "Writing metrics failed", "err", strings.Join(strings.Fields(fmt.Sprint(v...)), " "))
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
