package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/apimetrics"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// answer is what the API has to say of a chatbot.
type answer struct {
	sessions []client.Session
	err      error
	takes    time.Duration
	deaf     bool // it goes on after the end of the request's context
}

// api answers for chatbots by their UUID.
type api map[string]answer

func (a api) Sessions(ctx context.Context, chatbot string, _ client.SessionsOptions) (*client.SessionsResponse, error) {
	return &client.SessionsResponse{Sessions: func(yield func(client.Session, error) bool) {
		answer := a[chatbot]
		if answer.deaf {
			ctx = context.WithoutCancel(ctx)
		}
		select {
		case <-time.After(answer.takes):
		case <-ctx.Done():
			yield(client.Session{}, &client.Error{Reason: client.Timeout, Err: context.Cause(ctx)})
			return
		}
		for _, session := range answer.sessions {
			if !yield(session, nil) {
				return
			}
		}
		if answer.err != nil {
			yield(client.Session{}, answer.err)
		}
	}}, nil
}

func (api) Chatbots(context.Context) (*client.ChatbotsResponse, error) {
	return &client.ChatbotsResponse{}, nil
}

// The clock of the tests stands at midnight when each begins.
var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// newConfig returns a Config with a timeout of a minute.
func newConfig(api fetch.API, concurrency int, metrics *apimetrics.Metrics, logger log.Logger) fetch.Config {
	return fetch.Config{API: api, Gate: fetch.NewGate(concurrency, time.Minute), Failures: fetch.NewFailures(metrics.CountFailure, level.NewFilter(logger, level.AllowInfo())), Logger: logger}
}

// newSource returns a Source with a timeout of a minute, or as changes have it.
func newSource(
	api fetch.API, concurrency int, registry *prometheus.Registry, logger log.Logger, changes ...func(*fetch.SourceOptions),
) *fetch.Source {
	options := fetch.SourceOptions{}
	for _, change := range changes {
		change(&options)
	}
	return fetch.NewSource(newConfig(api, concurrency, apimetrics.New(registry), logger), options)
}

// caching has a Source cache numbers.
func caching(ttl time.Duration) func(*fetch.SourceOptions) {
	return func(options *fetch.SourceOptions) { options.CacheTTL = ttl }
}

// incremental has a Source fetch incrementally.
func incremental(window, interval time.Duration) func(*fetch.SourceOptions) {
	return func(options *fetch.SourceOptions) { options.Window, options.FullInterval = window, interval }
}

// fetchOne fetches a single chatbot.
func fetchOne(ctx context.Context, source *fetch.Source, chatbot string) fetch.Result {
	return source.FetchAll(ctx, []client.Chatbot{{UUID: chatbot}})[0]
}

// tries answers requests one after the other, the last answer for ever, and
// remembers when they came.
type tries struct {
	api
	answers []answer
	mutex   sync.Mutex
	at      []time.Time
}

func (a *tries) Sessions(ctx context.Context, chatbot string, options client.SessionsOptions) (*client.SessionsResponse, error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.at = append(a.at, time.Now())
	return api{chatbot: a.answers[min(len(a.at), len(a.answers))-1]}.Sessions(ctx, chatbot, options)
}

// failures returns the counters of failed fetches that are not 0, by reason.
func failures(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	failures := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if value := metric.GetCounter().GetValue(); family.GetName() == "chatwize_api_errors_total" && value > 0 {
				failures[metric.GetLabel()[0].GetValue()] = value
			}
		}
	}
	return failures
}

// A failed fetch is counted once by its reason, and logged once with a hint.
func TestErrors(t *testing.T) {
	for _, reason := range client.Reasons() {
		t.Run(string(reason), func(t *testing.T) {
			registry := prometheus.NewPedanticRegistry()
			var logged bytes.Buffer
			source := newSource(api{
				"a": {err: &client.Error{Reason: reason, Err: errors.New("no luck")}},
			}, 1, registry, log.NewLogfmtLogger(&logged))
			fetchOne(t.Context(), source, "b")
			fetchOne(t.Context(), source, "a")
			if got := failures(t, registry); len(got) != 1 || got[string(reason)] != 1 {
				t.Errorf("counted %v", got)
			}
			if text := logged.String(); strings.Count(text, "\n") != 1 ||
				!strings.Contains(text, "chatbots=a ") || !strings.Contains(text, "reason="+string(reason)+" ") || !strings.Contains(text, "hint=") {
				t.Errorf("logged %s", text)
			}
		})
	}
}

// counting counts the requests that an API gets at a time, and remembers for which
// chatbots they came.
type counting struct {
	api
	mutex     sync.Mutex
	now, most int
	order     []string
}

func (c *counting) begin(chatbot string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.now++
	c.most = max(c.most, c.now)
	c.order = append(c.order, chatbot)
}

func (c *counting) end() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.now--
}

func (c *counting) Sessions(ctx context.Context, chatbot string, options client.SessionsOptions) (*client.SessionsResponse, error) {
	response, err := c.api.Sessions(ctx, chatbot, options)
	sessions := response.Sessions
	response.Sessions = func(yield func(client.Session, error) bool) {
		c.begin(chatbot)
		defer c.end()
		sessions(yield)
	}
	return response, err
}

// However many scrapes there are, no more than the given number of requests are
// under way, and no fewer while there is work.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counting := &counting{api: api{}}
		source := newSource(counting, 3, prometheus.NewRegistry(), log.NewNopLogger())
		start := time.Now()
		var scrapes [2][]client.Chatbot
		for scrape := range scrapes {
			for i := range 10 {
				chatbot := client.Chatbot{UUID: fmt.Sprint(scrape, i)}
				counting.api[chatbot.UUID] = answer{takes: time.Second}
				scrapes[scrape] = append(scrapes[scrape], chatbot)
			}
		}
		scraped := make(chan int)
		for _, chatbots := range scrapes {
			go func() {
				up := 0
				for _, fetch := range source.FetchAll(t.Context(), chatbots) {
					if fetch.Err == nil {
						up++
					}
				}
				scraped <- up
			}()
		}
		if n := <-scraped + <-scraped; n != 20 {
			t.Errorf("got %d chatbots, want 20", n)
		}
		if counting.most != 3 {
			t.Errorf("there were %d requests at a time, want 3", counting.most)
		}
		if took := time.Since(start); took != 7*time.Second { // 20 requests, 3 at a time
			t.Errorf("took %v, want 7s", took)
		}
	})
}

// A scrape ends with its context, for the chatbots that are being fetched as for
// those whose turn has not come; those that were in time keep their numbers.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newSource(api{
			"fast": {takes: time.Second}, "slow": {takes: time.Hour}, "waiting": {},
		}, 1, prometheus.NewRegistry(), log.NewNopLogger())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		got := map[string]fetch.Result{}
		chatbots := []client.Chatbot{{UUID: "fast"}, {UUID: "slow"}, {UUID: "waiting"}}
		for i, fetch := range source.FetchAll(ctx, chatbots) {
			got[chatbots[i].UUID] = fetch
		}
		if fast := got["fast"]; fast.Err != nil || fast.Took != time.Second {
			t.Errorf("fast: got %+v", fast)
		}
		for chatbot, took := range map[string]time.Duration{"slow": 9 * time.Second, "waiting": 10 * time.Second} {
			if fetch.ReasonOf(got[chatbot].Err) != client.Timeout ||
				!errors.Is(got[chatbot].Err, context.DeadlineExceeded) || got[chatbot].Took != took {
				t.Errorf("%s: got %+v", chatbot, got[chatbot])
			}
		}
		if text := got["waiting"].Err.Error(); !strings.Contains(text, "request slots") {
			t.Errorf("the one that waited says %s", text)
		}
	})
}

// The hint of a failure fits its cause.
func TestHint(t *testing.T) {
	failure := func(reason client.Reason, status int, err error) error {
		return &client.Error{Reason: reason, Status: status, Err: err}
	}
	tests := map[string]struct {
		err      error
		endpoint string
		want     string
	}{
		"no key":           {failure(client.Unauthorized, 0, fmt.Errorf("%w: gone", client.ErrNoKey)), client.EndpointSessions, "make the key file hold"},
		"401":              {failure(client.Unauthorized, 401, nil), client.EndpointSessions, "check that the API key"},
		"422":              {failure(client.Unauthorized, 422, nil), client.EndpointSessions, "base URL is the brand"},
		"404 of a chatbot": {failure(client.NotFound, 404, nil), client.EndpointSessions, "check the UUID"},
		"404 of the list":  {failure(client.NotFound, 404, nil), client.EndpointChatbots, "name them with the setting chatwize.chatbot or, in a file of accounts, chatbots"},
		"429":              {failure(client.RateLimited, 429, nil), client.EndpointSessions, "scrape less often"},
		"500":              {failure(client.ServerError, 500, nil), client.EndpointSessions, "ask the support"},
		"HTML":             {failure(client.InvalidResponse, 200, client.ErrHTML), client.EndpointSessions, "a web page"},
		"a page":           {failure(client.InvalidResponse, 200, client.ErrPage), client.EndpointSessions, "in pages"},
		"to https":         {failure(client.UnexpectedStatus, 301, client.ErrToHTTPS), client.EndpointSessions, "write https"},
		"elsewhere":        {failure(client.UnexpectedStatus, 302, client.ErrElsewhere), client.EndpointSessions, "another host"},
		"407":              {failure(client.UnexpectedStatus, 407, client.ErrProxyPassword), client.EndpointSessions, "password"},
		"proxy":            {failure(client.Network, 0, client.ErrProxy), client.EndpointSessions, "the proxy allows"},
		"authority":        {failure(client.Network, 0, client.ErrAuthority), client.EndpointSessions, "SSL_CERT_FILE"},
		"certificate":      {failure(client.Network, 0, client.ErrCertificate), client.EndpointSessions, "the clock of this machine"},
		"headers":          {failure(client.Network, 0, client.ErrLargeHeaders), client.EndpointSessions, "adds headers"},
		"refused":          {failure(client.Network, 0, errors.New("refused")), client.EndpointSessions, "firewall"},
		"late":             {failure(client.Timeout, 0, context.DeadlineExceeded), client.EndpointSessions, "raise the scrape timeout"},
		"another list":     {failure(client.InvalidResponse, 200, errors.New("not JSON")), client.EndpointSessions, "the API has changed"},
	}
	for name, test := range tests {
		if got := fetch.Hint(test.err, test.endpoint); !strings.Contains(got, test.want) || strings.Contains(got, "--") {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
