// Package accounts reads what accounts there are and puts together what each consists of.
package accounts

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/apimetrics"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/secret"
)

// Label is the label with the name of an account.
const Label = "account"

// Config describes an account and how it is asked.
type Config struct {
	// Name is the value of [Label]. It is empty if there is only one account, from flags.
	Name string
	// URL is the base URL of the API.
	URL *url.URL
	// Key returns the API key; see [FileKey] and [InlineKey].
	Key func(context.Context) (string, error)
	// KeyFile is the file that Key reads, if it reads any.
	KeyFile string
	// TLS and Proxy are for connections to the API. Without a Proxy, those of the environment
	// are used.
	TLS   TLS
	Proxy *Proxy
	// Keys gets each key that is read, and hides them in the names of chatbots. It may be
	// nil.
	Keys *secret.Keys
	// Reads are the reads of files under way. Accounts that share it, before and after a reload,
	// leave few that hang. nil: one of its own.
	Reads *Reads
	// Buffers is the memory for reading lists; see [client.Config].
	Buffers *client.Buffers
	// UserAgent is sent with each request to the API.
	UserAgent string
	// Chatbots are the chatbots to fetch. None: the API is asked for all of them.
	Chatbots []client.Chatbot
	// Include and Exclude select among the chatbots that the API lists: only those, or all
	// but those, whose UUID or name matches. nil: all.
	Include, Exclude *regexp.Regexp
	// DiscoveryInterval is how long a list of chatbots from the API is kept.
	DiscoveryInterval time.Duration
	// Concurrency is the maximum number of concurrent requests to the API.
	Concurrency int
	// Timeout is the maximum duration of a fetch, including its retries.
	Timeout time.Duration
	// Source has the settings for the cache and for incremental mode.
	Source fetch.SourceOptions
}

// sameOrigin reports whether c and other ask the same API with the key of the same file, in
// the same way. Then what is remembered of one is true of the other.
func (c Config) sameOrigin(other Config) bool {
	return c.URL.String() == other.URL.String() && c.KeyFile != "" && c.KeyFile == other.KeyFile &&
		c.TLS == other.TLS && reflect.DeepEqual(c.Proxy, other.Proxy)
}

// equal reports whether c and other, which have the same origin, are the same.
func (c Config) equal(other Config) bool {
	return c.Name == other.Name && slices.Equal(c.Chatbots, other.Chatbots) &&
		text(c.Include) == text(other.Include) && text(c.Exclude) == text(other.Exclude) &&
		c.DiscoveryInterval == other.DiscoveryInterval && c.Concurrency == other.Concurrency &&
		c.Timeout == other.Timeout && c.Source == other.Source
}

func text(pattern *regexp.Regexp) string {
	if pattern == nil {
		return ""
	}
	return pattern.String()
}

// Account is an account that can be asked. It does not change: after a reload there is
// another Account, which may share the state of this one.
type Account struct {
	// Name is the value of [Label]; empty: the metrics do not have it.
	Name      string
	Source    *fetch.Source
	Directory fetch.Directory
	// Metrics has the metrics of requests to the API.
	Metrics prometheus.Gatherer
	// Logger adds the name.
	Logger log.Logger

	config Config
	state  *state
}

// Config returns the settings of the account.
func (a *Account) Config() Config { return a.config }

// Removed reports whether a reload removed the account. Its fetches have been ended.
func (a *Account) Removed() bool { return a.state != nil && a.state.removed.Load() }

// state is what an account keeps from one configuration to the next.
type state struct {
	name      atomic.Pointer[string] // for the log
	logger    log.Logger
	keys      *secret.Keys
	transport *transport
	metrics   *apimetrics.Metrics
	shared    fetch.Config
	source    *fetch.Source
	removed   atomic.Bool

	// discovery and named are kept while they are needed. The [Manager] makes one Account at
	// a time from them.
	discovery *discovery
	named     *fetch.Named
}

// discovery is a directory that sets a metric until it is given up.
type discovery struct {
	*fetch.Discovery
	givenUp atomic.Bool
}

// newState returns the state of a new account.
func newState(config Config, first http.RoundTripper, logger log.Logger) *state {
	s := &state{
		keys:      cmp.Or(config.Keys, new(secret.Keys)),
		transport: newReplaceable(first),
		metrics:   apimetrics.New(nil),
		logger:    logger,
	}
	s.name.Store(&config.Name)
	if config.Name != "" {
		s.logger = log.With(logger, Label, log.Valuer(func() any { return *s.name.Load() }))
	}
	s.shared = fetch.Config{
		API: client.New(client.Config{
			URL:       config.URL,
			Key:       s.keys.Watch(config.Key),
			UserAgent: config.UserAgent,
			Transport: s.metrics.Instrument(s.transport),
			Buffers:   config.Buffers,
		}),
		Gate:     fetch.NewGate(config.Concurrency, config.Timeout),
		Failures: fetch.NewFailures(s.metrics.CountFailure, s.logger),
		Logger:   s.logger,
	}
	s.source = fetch.NewSource(s.shared, config.Source)
	return s
}

// account returns the Account of a config with the state.
func (s *state) account(config Config) *Account {
	registry := prometheus.NewRegistry()
	registerer := prometheus.Registerer(registry)
	if config.Name != "" {
		registerer = prometheus.WrapRegistererWith(prometheus.Labels{Label: config.Name}, registry)
	}
	registerer.MustRegister(s.metrics)
	return &Account{
		Name: config.Name, Source: s.source, Directory: hidingDirectory{s.directory(config), s.keys},
		Metrics: registry, Logger: s.logger, config: config, state: s,
	}
}

// apply changes the settings to those of config, which has the same origin.
func (s *state) apply(config Config) {
	s.name.Store(&config.Name)
	s.shared.Gate.SetLimits(config.Concurrency, config.Timeout)
	s.source.SetOptions(config.Source)
}

// remove ends all fetches and closes connections.
func (s *state) remove() {
	s.removed.Store(true)
	s.shared.Gate.Close()
	s.transport.close()
}

// directory returns the directory of an account's chatbots.
func (s *state) directory(config Config) fetch.Directory {
	options := fetch.DiscoveryOptions{Interval: config.DiscoveryInterval}
	unnamed := func(chatbot client.Chatbot) bool { return chatbot.Name == "" }
	if len(config.Chatbots) > 0 && s.discovery != nil {
		s.discovery.giveUp(s.metrics)
		s.discovery = nil
	}
	switch {
	case len(config.Chatbots) == 0:
		if s.discovery == nil {
			s.discovery = newDiscovery(s.shared, options, s.metrics, s.source)
		}
		if config.Include == nil && config.Exclude == nil {
			return s.discovery
		}
		return selection{s.discovery, config.Include, config.Exclude, s.logger, new(atomic.Bool)}
	case slices.ContainsFunc(config.Chatbots, unnamed):
		if s.named == nil {
			s.named = fetch.NewNamed(s.shared, config.Chatbots, options)
		}
		return s.named.With(config.Chatbots)
	default:
		return fetch.Configured(config.Chatbots)
	}
}

func newDiscovery(shared fetch.Config, options fetch.DiscoveryOptions, metrics *apimetrics.Metrics, source *fetch.Source) *discovery {
	d := &discovery{}
	options.OnAttempt = func(succeeded bool) {
		if metrics.SetDiscovery(succeeded); d.givenUp.Load() {
			metrics.RemoveDiscovery()
		}
	}
	options.OnList = func(chatbots []client.Chatbot) {
		if !d.givenUp.Load() {
			source.Retain(chatbots)
		}
	}
	d.Discovery = fetch.NewDiscovery(shared, options)
	return d
}

func (d *discovery) giveUp(metrics *apimetrics.Metrics) {
	d.givenUp.Store(true)
	metrics.RemoveDiscovery()
}
