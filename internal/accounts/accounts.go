// Package accounts puts together what an account consists of.
package accounts

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/apimetrics"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/secret"
)

// Config describes an account and how it is asked.
type Config struct {
	// URL is the base URL of the API.
	URL *url.URL
	// Key returns the API key; see [FileKey] and [InlineKey].
	Key func(context.Context) (string, error)
	// Keys gets each key that is read, and hides them in the names of chatbots. It may be
	// nil.
	Keys *secret.Keys
	// UserAgent is sent with each request to the API.
	UserAgent string
	// Chatbots are the chatbots to fetch. None: the API is asked for all of them.
	Chatbots []client.Chatbot
	// DiscoveryInterval is how long a list of chatbots from the API is kept.
	DiscoveryInterval time.Duration
	// Concurrency is the maximum number of concurrent requests to the API.
	Concurrency int
	// Timeout is the maximum duration of a fetch, including its retries.
	Timeout time.Duration
	// Source has the settings for the cache and for incremental mode.
	Source fetch.SourceOptions
}

// Account is an account that can be asked.
type Account struct {
	Source    *fetch.Source
	Directory fetch.Directory
}

// New returns an Account. It registers the metrics of its API with registerer.
func New(config Config, registerer prometheus.Registerer, logger log.Logger) *Account {
	metrics := apimetrics.New(registerer)
	keys := cmp.Or(config.Keys, new(secret.Keys))
	shared := fetch.Config{
		API: client.New(client.Config{
			URL:       config.URL,
			Key:       keys.Watch(config.Key),
			UserAgent: config.UserAgent,
			Transport: metrics.Instrument(client.NewTransport(config.Concurrency)),
		}),
		Gate:     fetch.NewGate(config.Concurrency, config.Timeout),
		Failures: fetch.NewFailures(metrics.CountFailure, logger),
		Logger:   logger,
	}
	return &Account{
		Source:    fetch.NewSource(shared, config.Source),
		Directory: hidingDirectory{newDirectory(config, shared, metrics), keys},
	}
}

// newDirectory returns the directory of an account's chatbots.
func newDirectory(config Config, shared fetch.Config, metrics *apimetrics.Metrics) fetch.Directory {
	options := fetch.DiscoveryOptions{Interval: config.DiscoveryInterval, OnAttempt: metrics.SetDiscovery}
	unnamed := func(chatbot client.Chatbot) bool { return chatbot.Name == "" }
	switch {
	case len(config.Chatbots) == 0:
		return fetch.NewDiscovery(shared, options)
	case slices.ContainsFunc(config.Chatbots, unnamed):
		return fetch.NewNamed(shared, config.Chatbots, options)
	default:
		return fetch.Configured(config.Chatbots)
	}
}
