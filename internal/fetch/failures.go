package fetch

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// API reads an account, as [client.Client] does.
type API interface {
	Sessions(ctx context.Context, uuid string, options client.SessionsOptions) (*client.SessionsResponse, error)
	Chatbots(ctx context.Context) (*client.ChatbotsResponse, error)
}

// Config is what a [Source] and a [Discovery] of the same account share.
type Config struct {
	API      API
	Gate     *Gate
	Failures *Failures
	Logger   log.Logger
}

const (
	// logInterval is the time from one line of the same kind to the next.
	logInterval = time.Minute
	// maxNamed is the maximum number of chatbots that a line names.
	maxNamed = 3
)

// Failures counts and logs failed fetches of an account: at most one line a minute for
// an endpoint and reason. It is safe for concurrent use.
type Failures struct {
	count  func(client.Reason)
	logger log.Logger

	mutex sync.Mutex
	kinds map[failureKind]unlogged
}

// failureKind is what failures on one line have in common.
type failureKind struct {
	endpoint string // see [client.Endpoint]
	reason   client.Reason
}

// unlogged are failures of a kind since its last line.
type unlogged struct {
	failures int
	chatbots []string // the first of them, as the line names them
	last     error
	next     time.Time // when the next line may be written
}

// NewFailures returns Failures that call count for each failure.
func NewFailures(count func(client.Reason), logger log.Logger) *Failures {
	return &Failures{count: count, logger: logger, kinds: map[failureKind]unlogged{}}
}

// add counts a failed fetch of the sessions of a chatbot or, if that is zero, of the list
// of chatbots. Its line is written by flush.
func (f *Failures) add(err error, endpoint string, chatbot client.Chatbot) {
	kind := failureKind{endpoint, ReasonOf(err)}
	f.count(kind.reason)
	if isPaused(err) {
		return // the response that began the pause has been logged
	}
	name := strings.TrimSpace(chatbot.Name + " " + chatbot.UUID)
	_ = level.Debug(f.logger).Log(kind.line(1, name, err)...)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	u := f.kinds[kind]
	u.failures++
	u.last = err
	if name != "" && len(u.chatbots) < maxNamed && !slices.Contains(u.chatbots, name) {
		u.chatbots = append(u.chatbots, name)
	}
	f.kinds[kind] = u
}

// flush writes the lines that are due.
func (f *Failures) flush() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	now := time.Now()
	for kind, u := range f.kinds {
		if u.failures > 0 && !now.Before(u.next) {
			_ = level.Warn(f.logger).Log(kind.line(u.failures, strings.Join(u.chatbots, ", "), u.last)...)
			f.kinds[kind] = unlogged{next: now.Add(logInterval)}
		}
	}
}

// line returns the keys and values of a line.
func (k failureKind) line(failures int, chatbots string, err error) []any {
	line := []any{"msg", "Discovering the chatbots failed"}
	if k.endpoint == client.EndpointSessions {
		line = []any{"msg", "Fetching the sessions failed", "chatbots", chatbots}
	}
	line = append(line, "failures", failures, "reason", k.reason, "err", err, "hint", Hint(err, k.endpoint))
	if until := PausedUntil(err); !until.IsZero() {
		line = append(line, "no_requests_until", until.UTC().Format(time.RFC3339))
	}
	return line
}
