package fetch

import (
	"context"
	"slices"
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
	API  API
	Gate *Gate
	// CountFailure is called for each failed fetch.
	CountFailure func(client.Reason)
	Logger       log.Logger
}

// report counts a failed fetch from an endpoint. It logs it, with more pairs of key
// and value, unless it was not tried because of a pause: the answer that began the
// pause has been logged.
func (c *Config) report(err error, endpoint string, keyvals ...any) {
	reason := ReasonOf(err)
	c.CountFailure(reason)
	if isPaused(err) {
		return
	}
	line := slices.Concat(keyvals, []any{"reason", reason, "err", err, "hint", Hint(err, endpoint)})
	if until := PausedUntil(err); !until.IsZero() {
		line = append(line, "no_requests_until", until.UTC().Format(time.RFC3339))
	}
	level.Warn(c.Logger).Log(line...)
}
