package collector

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/semaphore"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// API reads an account, as [client.Client] does.
type API interface {
	Sessions(ctx context.Context, chatbot string, since time.Time, known *client.Validator) iter.Seq2[client.Session, error]
	Chatbots(ctx context.Context) (chatbots []client.Chatbot, skipped int, err error)
}

// SourceConfig says how a Source fetches.
type SourceConfig struct {
	API API
	// Concurrency is how many requests may be under way at a time.
	Concurrency int
	// Timeout is the longest that a fetch may take, with all its tries.
	Timeout time.Duration
	// CacheTTL is how long a chatbot's numbers may be had again without a fetch.
	CacheTTL time.Duration
	// Window makes fetches incremental if it is above 0: between full fetches only
	// sessions younger than that are asked for. FullInterval is the time from one
	// full fetch to the next.
	Window, FullInterval time.Duration
	// Registerer registers the counter of failed fetches.
	Registerer prometheus.Registerer
	Logger     log.Logger
}

// Source fetches summaries of chatbots for all scrapes together, a bounded number
// of them at a time and each for all who want it at the same time. It tries again
// where that is likely to help, keeps quiet for as long as the API wants it to,
// and logs and counts what fails.
type Source struct {
	SourceConfig
	requests *semaphore.Weighted
	errors   *prometheus.CounterVec
	pause    pause

	mutex   sync.Mutex
	flights map[string]*flight // under way, by chatbot
	history *lru.Cache[string, history]
}

// maxHistories is of how many chatbots the history is kept, those asked for last:
// more than there are, but whoever probes may ask for any.
const maxHistories = 20_000

// NewSource returns a Source.
func NewSource(config SourceConfig) *Source {
	s := &Source{
		SourceConfig: config,
		requests:     semaphore.NewWeighted(int64(config.Concurrency)),
		errors: promauto.With(config.Registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "chatwize_api_errors_total",
			Help: "Fetches from the Chatwize API that failed, by reason.",
		}, []string{"reason"}),
		flights: map[string]*flight{},
	}
	s.history, _ = lru.New[string, history](maxHistories) // fails for sizes below 1 only
	for _, reason := range client.Reasons() {
		s.errors.WithLabelValues(string(reason))
	}
	return s
}

// Fetch is an attempt to fetch a chatbot's sessions.
type Fetch struct {
	// Summary is what the sessions add up to; zero if Err is not nil.
	Summary Summary
	// Finished is when the attempt was over.
	Finished time.Time
	// Took is how long it had taken since its request could be sent; if it never
	// could, how long it had waited.
	Took time.Duration
	// Err is why it failed, or nil.
	Err error
}

// report counts a failed fetch and, unless it was not even tried, logs it with what
// was being done, in pairs of key and value, and with what can be done about it,
// which is find where the API says 404.
func (s *Source) report(err error, find string, doing ...any) {
	failure := &client.Error{Reason: client.Network}
	errors.As(err, &failure)
	s.errors.WithLabelValues(string(failure.Reason)).Inc()
	if errors.Is(err, errPaused) {
		return // the log has told of it once, when the API asked for it
	}
	line := slices.Concat(doing, []any{"reason", failure.Reason, "err", err, "todo", remedy(failure, find)})
	if !failure.RetryAt.IsZero() {
		// Another answer may have asked for a longer pause.
		line = append(line, "no_requests_until", s.pause.until(failure.RetryAt).UTC().Format(time.RFC3339))
	}
	level.Warn(s.Logger).Log(line...)
}

// reportChatbot reports the failed fetch of a chatbot's sessions.
func (s *Source) reportChatbot(chatbot Chatbot, err error) {
	doing := []any{"msg", "fetching the sessions failed", "chatbot", chatbot.UUID}
	if chatbot.Name != "" {
		doing = append(doing, "name", chatbot.Name)
	}
	s.report(err, findSessions, doing...)
}
