package accounts

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Set is an immutable set of accounts.
type Set struct {
	// Accounts are sorted by name.
	Accounts []*Account
}

// NewSet returns a Set of accounts.
func NewSet(accounts ...*Account) *Set {
	accounts = slices.Clone(accounts)
	slices.SortFunc(accounts, func(a, b *Account) int { return cmp.Compare(a.Name, b.Name) })
	return &Set{accounts}
}

// Named reports whether the accounts have names, as those of a file. Otherwise there is one
// account.
func (s *Set) Named() bool { return len(s.Accounts) > 0 && s.Accounts[0].Name != "" }

// Find returns the account with a name.
func (s *Set) Find(name string) (*Account, bool) {
	i := slices.IndexFunc(s.Accounts, func(a *Account) bool { return a.Name == name })
	if i < 0 {
		return nil, false
	}
	return s.Accounts[i], true
}

// List is the list of an account's chatbots, or why there is none.
type List struct {
	Account  *Account
	Chatbots []client.Chatbot
	Err      error // nil if there is a list, which may be empty
}

// Problem returns why there is nothing to fetch: the error of the list, or what to do about a
// list that is empty. It is nil otherwise.
func (l List) Problem() error {
	switch config := l.Account.config; {
	case l.Err != nil || len(l.Chatbots) > 0:
		return l.Err
	case config.Include != nil || config.Exclude != nil:
		return errors.New("no chatbot is selected; " + selectionHint)
	default:
		return errors.New("the account has no chatbots; check the base URL and the API key")
	}
}

// Lists returns the lists of all accounts, in their order. It fetches those that are due side
// by side.
func (s *Set) Lists(ctx context.Context) []List {
	lists := make([]List, len(s.Accounts))
	var fetches sync.WaitGroup
	for i, account := range s.Accounts {
		fetches.Go(func() {
			chatbots, err := account.Directory.Chatbots(ctx)
			lists[i] = List{account, chatbots, err}
		})
	}
	fetches.Wait()
	return lists
}

// othersPatience is how long a lookup waits for the lists of other accounts when one has the
// chatbot.
const othersPatience = 100 * time.Millisecond

// Having returns the accounts that list a chatbot, asked side by side. Once one has it, it
// does not wait for lists that hang.
func (s *Set) Having(ctx context.Context, uuid string) []*Account {
	type answer struct {
		i     int
		lists bool
	}
	answers := make(chan answer, len(s.Accounts)) // nobody may wait for some
	for i, account := range s.Accounts {
		go func() { answers <- answer{i, account.Directory.Lists(ctx, uuid)} }()
	}
	lists := make([]bool, len(s.Accounts))
	var enough <-chan time.Time
collect:
	for range s.Accounts {
		select {
		case a := <-answers:
			lists[a.i] = a.lists
			if a.lists && enough == nil {
				enough = time.After(othersPatience)
			}
		case <-enough:
			break collect
		}
	}
	var having []*Account
	for i, account := range s.Accounts {
		if lists[i] {
			having = append(having, account)
		}
	}
	return having
}

// Manager has the accounts that are served. It is safe for concurrent use.
type Manager struct {
	load    func(context.Context) ([]Config, error)
	logger  log.Logger
	current atomic.Pointer[Set]

	turn       chan struct{} // held by the reload under way
	lines      *rate.Limiter // of log lines of reloads that change nothing: clients cause them
	failure    atomic.Pointer[error]
	successful prometheus.Gauge
	lastReload prometheus.Gauge
}

// NewManager returns a Manager of the accounts that load returns. It has none until the first
// Reload.
func NewManager(load func(context.Context) ([]Config, error), logger log.Logger) *Manager {
	m := &Manager{
		load: load, logger: logger, turn: make(chan struct{}, 1), lines: rate.NewLimiter(rate.Every(time.Second), 10),
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "chatwize_exporter_config_last_reload_successful",
			Help: "Whether the last reload of the configuration file succeeded (1) or not (0).",
		}),
		lastReload: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "chatwize_exporter_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration file was last reloaded successfully, in Unix time.",
		}),
	}
	m.current.Store(&Set{})
	return m
}

// Describe sends the descriptors of the metrics of the last reload.
func (m *Manager) Describe(descs chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, descs) }

// Collect sends the metrics of the last reload.
func (m *Manager) Collect(metrics chan<- prometheus.Metric) {
	m.successful.Collect(metrics)
	m.lastReload.Collect(metrics)
}

// Current returns the accounts. A later call may return others, after a reload.
func (m *Manager) Current() *Set { return m.current.Load() }

// Failure returns why the last reload failed, nil if it did not. Abandoned ones do not count.
func (m *Manager) Failure() error {
	if failure := m.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

// Reload loads the accounts anew and logs what changed. On error, they stay as they were.
// Accounts keep state and counters unless URL, key file, TLS or proxy changed. The fetches
// of those that are gone end. A reload that ctx ends while it waits or reads changes nothing.
func (m *Manager) Reload(ctx context.Context) error {
	// A free turn is taken even if ctx has ended: a single select would choose at random.
	select {
	case m.turn <- struct{}{}:
	default:
		select {
		case m.turn <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	defer func() { <-m.turn }()
	first := len(m.Current().Accounts) == 0
	changes, err := m.reload(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		level.Debug(m.logger).Log("msg", "A reload was abandoned", "err", err)
		return err
	case err != nil:
		m.successful.Set(0)
		m.failure.Store(&err)
		if !first && m.lines.Allow() {
			level.Error(m.logger).Log("msg", "Reloading the configuration failed; the accounts stay as they were", "err", err)
		}
		return err
	}
	m.successful.Set(1)
	m.failure.Store(nil)
	m.lastReload.SetToCurrentTime()
	if !first && (changes.any() || m.lines.Allow()) {
		level.Info(m.logger).Log("msg", "Reloaded the configuration", "accounts", len(m.Current().Accounts),
			"added", strings.Join(changes.added, ", "), "changed", strings.Join(changes.changed, ", "), "removed", strings.Join(changes.removed, ", "))
	}
	return nil
}

// changes are the names of the accounts that a reload changed.
type changes struct{ added, changed, removed []string }

func (c changes) any() bool { return len(c.added)+len(c.changed)+len(c.removed) > 0 }

// step is how a reload makes an account.
type step struct {
	config    Config
	old       *Account          // with the state to keep, or nil
	transport http.RoundTripper // new, or nil to keep the old one
}

// reload replaces the accounts.
func (m *Manager) reload(ctx context.Context) (changes, error) {
	const timeout = 30 * time.Second // key files may be on a network
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	configs, err := m.load(ctx)
	if err != nil {
		return changes{}, err
	}
	before := m.Current()
	steps, err := plan(ctx, before.Accounts, configs)
	if err != nil {
		return changes{}, err
	}
	// From here on nothing can fail.
	var done changes
	var accounts []*Account
	kept := map[*state]bool{}
	for _, step := range steps {
		account := m.take(step)
		switch {
		case step.old == nil:
			if _, existed := before.Find(account.Name); existed {
				done.changed = append(done.changed, account.Name)
			} else {
				done.added = append(done.added, account.Name)
			}
		case account != step.old:
			done.changed = append(done.changed, account.Name)
		}
		kept[account.state] = true
		accounts = append(accounts, account)
	}
	m.current.Store(NewSet(accounts...))
	for _, account := range before.Accounts {
		if kept[account.state] {
			continue
		}
		account.state.remove()
		if _, exists := m.Current().Find(account.Name); !exists {
			done.removed = append(done.removed, account.Name)
		}
	}
	return done, nil
}

// plan returns the steps of a reload. It does everything that can fail.
func plan(ctx context.Context, accounts []*Account, configs []Config) ([]step, error) {
	steps := make([]step, len(configs))
	free := slices.Clone(accounts)
	// take sets the first free account that fits.
	take := func(s *step, fits func(*Account) bool) {
		i := slices.IndexFunc(free, func(a *Account) bool { return fits(a) && a.config.sameOrigin(s.config) })
		if s.old == nil && i >= 0 {
			s.old = free[i]
			free = slices.Delete(free, i, i+1)
		}
	}
	for i, config := range configs {
		steps[i].config = config
		take(&steps[i], func(a *Account) bool { return a.Name == config.Name })
	}
	for i := range steps { // accounts with another name
		take(&steps[i], func(*Account) bool { return true })
	}
	for i, s := range steps {
		if s.old != nil && s.old.config.Concurrency == s.config.Concurrency {
			continue
		}
		var err error
		if steps[i].transport, err = newTransport(ctx, s.config); err != nil {
			return nil, fieldError(s.config.Name, "tls_config", err)
		}
	}
	return steps, nil
}

// take returns the account of a step.
func (m *Manager) take(s step) *Account {
	if s.old == nil {
		return newState(s.config, s.transport, m.logger).account(s.config)
	}
	if s.old.config.equal(s.config) {
		return s.old
	}
	if s.transport != nil {
		s.old.state.transport.replace(s.transport)
	}
	s.old.state.apply(s.config)
	return s.old.state.account(s.config)
}
