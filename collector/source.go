package collector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/semaphore"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Chatbot is a chatbot to be shown.
type Chatbot struct {
	// UUID is the chatbot's, as the user or the API writes it.
	UUID string
	// Name is shown beside it; the UUID where there is none.
	Name string
}

// API reads the sessions of a chatbot, as [client.Client] does.
type API interface {
	Sessions(ctx context.Context, chatbot string, since time.Time) iter.Seq2[client.Session, error]
}

// Source fetches summaries of chatbots for all scrapes together, a bounded number
// of them at a time. It logs and counts those that fail.
type Source struct {
	api         API
	concurrency int64
	requests    *semaphore.Weighted
	errors      *prometheus.CounterVec
	logger      log.Logger
}

// NewSource returns a Source that sends up to concurrency requests to api at a
// time and registers its counter of failed fetches with registerer.
func NewSource(api API, concurrency int, registerer prometheus.Registerer, logger log.Logger) *Source {
	s := &Source{
		api:         api,
		concurrency: int64(concurrency),
		requests:    semaphore.NewWeighted(int64(concurrency)),
		errors: promauto.With(registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "chatwize_api_errors_total",
			Help: "Fetches from the Chatwize API that failed, by reason.",
		}, []string{"reason"}),
		logger: logger,
	}
	for _, reason := range client.Reasons() {
		s.errors.WithLabelValues(string(reason))
	}
	return s
}

// Fetch is an attempt to fetch a chatbot's sessions.
type Fetch struct {
	// Summary is what the sessions add up to; zero if Err is not nil.
	Summary Summary
	// Finished is when the attempt was over, Took how long it had taken since the
	// request could be sent.
	Finished time.Time
	Took     time.Duration
	// Err is why it failed, or nil.
	Err error
}

// Fetch fetches and adds up the sessions of a chatbot. It ends with ctx at the
// latest.
func (s *Source) Fetch(ctx context.Context, chatbot Chatbot) Fetch {
	fetch := s.fetch(ctx, chatbot)
	if fetch.Err != nil {
		s.report(chatbot, fetch.Err)
	}
	return fetch
}

func (s *Source) fetch(ctx context.Context, chatbot Chatbot) Fetch {
	if err := s.requests.Acquire(ctx, 1); err != nil {
		return Fetch{Finished: time.Now(), Err: &client.Error{
			Reason: client.Timeout,
			Err: fmt.Errorf("waiting for one of the %d requests at a time that --chatwize.concurrency allows: %w",
				s.concurrency, context.Cause(ctx)),
		}}
	}
	defer s.requests.Release(1)

	start := time.Now()
	summary, err := Summarize(s.api.Sessions(ctx, chatbot.UUID, time.Time{}))
	finished := time.Now()
	return Fetch{Summary: summary, Finished: finished, Took: finished.Sub(start), Err: err}
}

// report counts and logs a failed fetch.
func (s *Source) report(chatbot Chatbot, err error) {
	reason := client.Network
	var failure *client.Error
	if errors.As(err, &failure) {
		reason = failure.Reason
	}
	s.errors.WithLabelValues(string(reason)).Inc()
	level.Warn(s.logger).Log("msg", "fetching the sessions failed",
		"chatbot", chatbot.UUID, "name", chatbot.Name, "reason", reason, "err", err, "todo", remedy(reason))
}

// remedy says what an operator can do about a failed fetch.
func remedy(reason client.Reason) string {
	switch reason {
	case client.Unauthorized:
		return "check that the API key is this account's and still valid"
	case client.NotFound:
		return "check the chatbot's UUID and that --chatwize.url is the brand the account is with"
	case client.RateLimited:
		return "scrape less often"
	case client.Timeout:
		return "raise the scrape timeout of Prometheus and --chatwize.timeout, or look at the way to the API"
	case client.Network:
		return "check --chatwize.url, DNS, proxy and firewall between here and the API"
	case client.ServerError:
		return "wait; if it lasts, ask the platform's support"
	default: // client.UnexpectedStatus, client.InvalidResponse
		return "check --chatwize.url; if it is right, the API has changed: report it to the exporter's maintainers"
	}
}
