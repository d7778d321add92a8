package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/apimetrics"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// listing is an API with chatbots that have no sessions.
type listing struct {
	api
	chatbots []client.Chatbot
	skipped  int
	takes    time.Duration
	err      error
	cutOff   int // how many requests more fail for a transient cause
	requests int
}

func (l *listing) Chatbots(ctx context.Context) (*client.ChatbotsResponse, error) {
	l.requests++
	if l.cutOff > 0 {
		l.cutOff--
		return nil, &client.Error{Reason: client.Network, Transient: true, Err: errors.New("cut off")}
	}
	select {
	case <-time.After(l.takes):
		if l.err != nil {
			return nil, l.err
		}
		return &client.ChatbotsResponse{Chatbots: l.chatbots, Skipped: l.skipped}, nil
	case <-ctx.Done():
		return nil, &client.Error{Reason: client.Timeout, Err: context.Cause(ctx)}
	}
}

const (
	shopUUID = "7f5e5376dbf045cd8c72c60f428653d1"
	deskUUID = "7F5E5376-DBF0-45CD-8C72-C60F428653D2"
)

// newDiscovery returns a Discovery with an interval of five minutes, and its metrics.
func newDiscovery(api fetch.API, logger log.Logger) (*fetch.Discovery, *fetch.Source, *prometheus.Registry) {
	registry := prometheus.NewPedanticRegistry()
	metrics := apimetrics.New(registry)
	config := newConfig(api, 1, metrics, logger)
	discovery := fetch.NewDiscovery(config, fetch.DiscoveryOptions{Interval: 5 * time.Minute, OnAttempt: metrics.SetDiscovery})
	return discovery, fetch.NewSource(config, fetch.SourceOptions{}), registry
}

// wantUp holds the state of the last discovery, "" while there was none, and the
// number of failures for a reason against the metrics.
func wantUp(t *testing.T, registry *prometheus.Registry, up string, reason client.Reason, failures float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	gotUp, gotFailures := "", -1.0
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			switch {
			case family.GetName() == "chatwize_discovery_up":
				gotUp = fmt.Sprint(metric.GetGauge().GetValue())
			case family.GetName() == "chatwize_api_errors_total" && metric.GetLabel()[0].GetValue() == string(reason):
				gotFailures = metric.GetCounter().GetValue()
			}
		}
	}
	if gotUp != up || gotFailures != failures {
		t.Errorf("chatwize_discovery_up is %q, want %q; %s: %v, want %v", gotUp, up, reason, gotFailures, failures)
	}
}

func TestDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := error(&client.Error{Reason: client.NotFound, Status: 404})
		both := []client.Chatbot{{UUID: shopUUID, Name: "Shop"}, {UUID: deskUUID}}
		api := &listing{err: failure}
		var logged bytes.Buffer
		discovery, _, registry := newDiscovery(api, log.NewLogfmtLogger(&logged))
		wantUp(t, registry, "", client.NotFound, 0)
		for i, step := range []struct {
			after     time.Duration // since the step before
			chatbots  []client.Chatbot
			err       error
			want      []string // names or else UUIDs; nil: none is known
			requests  int
			up        string
			failures  float64
			wantError bool
		}{
			{err: failure, requests: 1, up: "0", failures: 1, wantError: true},
			// With nothing to show it is tried again at once.
			{err: failure, requests: 2, up: "0", failures: 2, wantError: true},
			{chatbots: both, want: []string{"Shop", deskUUID}, requests: 3, up: "1", failures: 2},
			{after: 5*time.Minute - 1, err: failure, want: []string{"Shop", deskUUID}, requests: 3, up: "1", failures: 2},
			// The last good list is kept, and the next attempt comes half a minute later.
			{after: 1, err: failure, want: []string{"Shop", deskUUID}, requests: 4, up: "0", failures: 3},
			{after: 30*time.Second - 1, chatbots: both, want: []string{"Shop", deskUUID}, requests: 4, up: "0", failures: 3},
			{after: 1, chatbots: []client.Chatbot{{UUID: shopUUID, Name: "Laden 🛒"}}, want: []string{"Laden 🛒"}, requests: 5, up: "1", failures: 3},
			// None is a list too.
			{after: 5 * time.Minute, want: []string{}, requests: 6, up: "1", failures: 3},
			{after: 1, err: failure, want: []string{}, requests: 6, up: "1", failures: 3},
		} {
			time.Sleep(step.after)
			api.chatbots, api.err = step.chatbots, step.err
			chatbots, err := discovery.Chatbots(t.Context())
			var got []string
			for _, chatbot := range chatbots {
				got = append(got, chatbot.NameOrUUID())
			}
			if !slices.Equal(got, step.want) || (err != nil) != step.wantError || api.requests != step.requests {
				t.Errorf("step %d: got %q, %v after %d requests; want %+v", i, got, err, api.requests, step)
			}
			wantUp(t, registry, step.up, client.NotFound, step.failures)
		}
		// The second failure is of the same minute as the first, the third is not.
		line := func(failures int) string {
			return fmt.Sprintf(`level=warn msg="Discovering the chatbots failed" failures=%d reason=not_found err="the API answered 404 Not Found" `+
				`hint="check the base URL; if it is right, the brand has no list of chatbots: name them with the setting chatwize.chatbot or, in a file of accounts, chatbots"`+"\n", failures)
		}
		none := `level=warn msg="The account has no chatbots" hint="check the base URL and the API key"` + "\n"
		found := `level=info msg="Discovered the chatbots" chatbots=2` + "\n"
		if want := line(1) + found + line(2) + none; logged.String() != want {
			t.Errorf("logged %s, want %s", &logged, want)
		}
		if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	})
}

// A discovery that hangs takes half of a scrape's time at the most; all who ask
// meanwhile share it. It ends then, for the sake of the chatbots that are known.
func TestDiscoveryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{chatbots: []client.Chatbot{{UUID: shopUUID}}}
		discovery, source, registry := newDiscovery(api, log.NewNopLogger())
		if _, err := discovery.Chatbots(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		api.takes = time.Hour
		var scrapes sync.WaitGroup
		for range 3 {
			scrapes.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				start := time.Now()
				chatbots, err := discovery.Chatbots(ctx)
				if took := time.Since(start); len(chatbots) != 1 || err != nil || took != 5*time.Second {
					t.Errorf("got %v, %v after %v", chatbots, err, took)
				}
				// There is one request at a time, and it is free again.
				if got := source.FetchAll(ctx, chatbots)[0]; got.Err != nil {
					t.Error(got.Err)
				}
			})
		}
		scrapes.Wait()
		synctest.Wait()
		wantUp(t, registry, "0", client.Timeout, 1)
		time.Sleep(30 * time.Second)
		start := time.Now()
		chatbots, err := discovery.Chatbots(t.Context())
		if took := time.Since(start); len(chatbots) != 1 || err != nil || took != time.Minute || api.requests != 3 {
			t.Errorf("without a deadline: got %v, %v after %v and %d requests", chatbots, err, took, api.requests)
		}
		wantUp(t, registry, "0", client.Timeout, 2)
	})
}

// With nothing to show, it goes on for whoever asks next.
func TestFirstDiscoveryIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{chatbots: []client.Chatbot{{UUID: shopUUID}}, takes: 7 * time.Second}
		discovery, _, _ := newDiscovery(api, log.NewNopLogger())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if chatbots, err := discovery.Chatbots(ctx); err == nil || !time.Now().Equal(midnight.Add(5*time.Second)) {
			t.Errorf("got %v, %v at %v", chatbots, err, time.Now())
		}
		if chatbots, err := discovery.Chatbots(t.Context()); len(chatbots) != 1 || err != nil || !time.Now().Equal(midnight.Add(7*time.Second)) {
			t.Errorf("got %v, %v at %v", chatbots, err, time.Now())
		}
		if chatbots, err := discovery.Chatbots(t.Context()); len(chatbots) != 1 || err != nil || api.requests != 1 {
			t.Errorf("got %v, %v after %d requests", chatbots, err, api.requests)
		}
	})
}

// Without a list, nobody knows a chatbot, and the list is not requested each time.
func TestDiscoveryWithoutList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{err: &client.Error{Reason: client.NotFound}}
		discovery, _, _ := newDiscovery(api, log.NewNopLogger())
		for range 3 {
			got, standing := discovery.Chatbot(t.Context(), shopUUID)
			if want := (client.Chatbot{UUID: shopUUID}); got != want || standing != fetch.Unverified || api.requests != 1 {
				t.Errorf("got %v, %v after %d requests", got, standing, api.requests)
			}
		}
		time.Sleep(30 * time.Second)
		api.err, api.chatbots = nil, []client.Chatbot{{UUID: deskUUID, Name: "Desk"}}
		got, standing := discovery.Chatbot(t.Context(), strings.ToLower(strings.ReplaceAll(deskUUID, "-", "")))
		if want := (client.Chatbot{UUID: deskUUID, Name: "Desk"}); got != want || standing != fetch.Listed || api.requests != 2 {
			t.Errorf("got %v, %v after %d requests", got, standing, api.requests)
		}
	})
}

// A chatbot that is not on the list makes it be fetched again, at most every 30 seconds,
// and waits for it.
func TestDiscoveryOfUnlisted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{chatbots: []client.Chatbot{{UUID: shopUUID}}}
		discovery, _, _ := newDiscovery(api, log.NewNopLogger())
		want := func(uuid string, want fetch.Standing, requests int) {
			t.Helper()
			if _, standing := discovery.Chatbot(t.Context(), uuid); standing != want || api.requests != requests {
				t.Errorf("%s at %v: got %v after %d requests, want %v after %d", uuid, time.Since(midnight), standing, api.requests, want, requests)
			}
		}
		want(shopUUID, fetch.Listed, 1)
		for range 100 {
			want(deskUUID, fetch.Unlisted, 1) // the list is new
		}
		time.Sleep(30*time.Second - 1)
		want(deskUUID, fetch.Unlisted, 1)
		time.Sleep(time.Nanosecond)
		want(shopUUID, fetch.Listed, 1)
		api.chatbots, api.takes = []client.Chatbot{{UUID: shopUUID}, {UUID: deskUUID}}, time.Second
		want(deskUUID, fetch.Listed, 2)
		if took := time.Since(midnight); took != 31*time.Second {
			t.Errorf("waited until %v", took)
		}
		// A list that cannot be fetched lets nobody in.
		time.Sleep(time.Minute)
		api.err = &client.Error{Reason: client.ServerError, Status: 500}
		want("7f5e5376dbf045cd8c72c60f428653d9", fetch.Unlisted, 3)
		want(deskUUID, fetch.Listed, 3)
	})
}

// Configured chatbots without a name get it from the list. Only the first scrape waits for
// it. Failures are neither counted nor logged above debug, and names are kept.
func TestNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{takes: 2 * time.Second, chatbots: []client.Chatbot{{UUID: strings.ToUpper(shopUUID), Name: "Shop"}, {UUID: deskUUID, Name: "Desk"}}}
		registry := prometheus.NewPedanticRegistry()
		var logged bytes.Buffer
		metrics := apimetrics.New(registry)
		config := newConfig(api, 1, metrics, level.NewFilter(log.NewLogfmtLogger(&logged), level.AllowInfo()))
		named := fetch.NewNamed(config, []client.Chatbot{{UUID: shopUUID}, {UUID: deskUUID, Name: "Mine"}, {UUID: "a"}},
			fetch.DiscoveryOptions{Interval: 5 * time.Minute, OnAttempt: metrics.SetDiscovery})
		want := func(names string, took time.Duration, requests int) {
			t.Helper()
			begun := time.Now()
			ctx, cancel := context.WithCancel(t.Context())
			chatbots, err := named.Chatbots(ctx)
			cancel()
			var got []string
			for _, chatbot := range chatbots {
				got = append(got, chatbot.Name)
			}
			if err != nil || strings.Join(got, ",") != names || time.Since(begun) != took {
				t.Errorf("at %v: got %q, %v after %v, want %s after %v", time.Since(midnight), got, err, time.Since(begun), names, took)
			}
			synctest.Wait()
			if api.requests != requests {
				t.Errorf("at %v: %d requests, want %d", time.Since(midnight), api.requests, requests)
			}
		}
		want("Shop,Mine,", 2*time.Second, 1)
		want("Shop,Mine,", 0, 1)
		if chatbot, standing := named.Chatbot(t.Context(), strings.ToUpper(shopUUID)); chatbot.Name != "Shop" || standing != fetch.Listed {
			t.Errorf("got %v, %v", chatbot, standing)
		}
		if _, standing := named.Chatbot(t.Context(), "b"); standing != fetch.Unlisted {
			t.Errorf("a chatbot that is not configured: got %v", standing)
		}
		time.Sleep(5 * time.Minute)
		api.err = &client.Error{Reason: client.Unauthorized, Status: 401}
		want("Shop,Mine,", 0, 2)
		time.Sleep(5*time.Minute - time.Second)
		want("Shop,Mine,", 0, 2)
		time.Sleep(5 * time.Second)
		want("Shop,Mine,", 0, 3)
		time.Sleep(5 * time.Minute)
		if counted := failures(t, registry); len(counted) > 0 || logged.Len() > 0 {
			t.Errorf("counted %v, logged %s", counted, &logged)
		}
		wantUp(t, registry, "", client.Unauthorized, 0)
	})
}

// The first scrape waits for the names for half of its time.
func TestNamedHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{takes: time.Hour}
		named := fetch.NewNamed(newConfig(api, 1, apimetrics.New(prometheus.NewRegistry()), log.NewNopLogger()),
			[]client.Chatbot{{UUID: shopUUID}}, fetch.DiscoveryOptions{Interval: 5 * time.Minute})
		for _, want := range []time.Duration{5 * time.Second, 0} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			begun := time.Now()
			if chatbots, err := named.Chatbots(ctx); len(chatbots) != 1 || err != nil || time.Since(begun) != want {
				t.Errorf("got %v, %v after %v, want %v", chatbots, err, time.Since(begun), want)
			}
			cancel()
		}
		time.Sleep(time.Hour)
	})
}

// Entries that are left out are logged once, not each time.
func TestDiscoverySkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{skipped: 2, chatbots: []client.Chatbot{{UUID: shopUUID}}}
		var logged bytes.Buffer
		discovery, _, _ := newDiscovery(api, level.NewFilter(log.NewLogfmtLogger(&logged), level.AllowWarn()))
		for _, api.skipped = range []int{2, 2, 0, 1} {
			if _, err := discovery.Chatbots(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Minute)
		}
		if strings.Count(logged.String(), "entries=2") != 1 || strings.Count(logged.String(), "entries=1") != 1 ||
			strings.Count(logged.String(), "\n") != 2 || strings.Count(logged.String(), "name the chatbots") != 2 {
			t.Errorf("logged %s", &logged)
		}
		logged.Reset()
		named := fetch.NewNamed(discovery.Config, []client.Chatbot{{UUID: shopUUID}}, fetch.DiscoveryOptions{Interval: 5 * time.Minute})
		if _, err := named.Chatbots(t.Context()); err != nil || !strings.Contains(logged.String(), "entries=1") || strings.Contains(logged.String(), "name the chatbots") {
			t.Errorf("got %v, logged %s", err, &logged)
		}
	})
}

// What the API asks for holds for discovery and sessions together, and so does the
// number of requests at a time.
func TestDiscoveryShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{api: api{"slow": {takes: 20 * time.Second}}, err: &client.Error{
			Reason: client.RateLimited, Status: 429, RetryAfter: time.Minute,
		}}
		discovery, source, _ := newDiscovery(api, log.NewNopLogger())
		go fetchOne(t.Context(), source, "slow")
		synctest.Wait()
		if _, err := discovery.Chatbots(t.Context()); fetch.ReasonOf(err) != client.RateLimited ||
			!time.Now().Equal(midnight.Add(20*time.Second)) {
			t.Errorf("got %v at %v", err, time.Now())
		}
		if got := fetchOne(t.Context(), source, "fast"); fetch.ReasonOf(got.Err) != client.RateLimited {
			t.Errorf("got %v", got.Err)
		}
		if _, err := discovery.Chatbots(t.Context()); fetch.ReasonOf(err) != client.RateLimited || api.requests != 1 {
			t.Errorf("got %v after %d requests", err, api.requests)
		}
	})
}

// A discovery that gets no turn while requests for sessions are under way leaves
// the last list in force and counts as a timeout. The next attempt is as any other.
func TestDiscoveryStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{api: api{"slow": {takes: 50 * time.Second}}, chatbots: []client.Chatbot{{UUID: shopUUID}}}
		var logged bytes.Buffer
		discovery, source, registry := newDiscovery(api, log.NewLogfmtLogger(&logged))
		want := func(uuid string, requests int, took time.Duration) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			start := time.Now()
			chatbots, err := discovery.Chatbots(ctx)
			if !slices.Equal(chatbots, fetch.Configured{{UUID: uuid}}) || err != nil || api.requests != requests || time.Since(start) != took {
				t.Errorf("got %v, %v after %d requests and %v", chatbots, err, api.requests, time.Since(start))
			}
			synctest.Wait()
		}
		want(shopUUID, 1, 0)
		time.Sleep(5 * time.Minute)
		api.chatbots = []client.Chatbot{{UUID: deskUUID}}
		start := time.Now()
		go fetchOne(t.Context(), source, "slow")
		synctest.Wait()
		want(shopUUID, 1, 5*time.Second)
		wantUp(t, registry, "0", client.Timeout, 1)
		if text := logged.String(); strings.Count(text, "level=warn") != 1 || !strings.Contains(text, "reason=timeout") || !strings.Contains(text, "request slots") {
			t.Errorf("logged %s", text)
		}
		// The next attempt is due at 35 seconds, and has its turn at 50.
		time.Sleep(time.Until(start.Add(47 * time.Second)))
		want(deskUUID, 2, 3*time.Second)
		wantUp(t, registry, "1", client.Timeout, 1)
		if got := fetchOne(t.Context(), source, shopUUID); got.Err != nil {
			t.Errorf("a fetch after it: %v", got.Err)
		}
	})
}

// A discovery that fails for a transient cause is tried again at once.
func TestDiscoveryRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{chatbots: []client.Chatbot{{UUID: shopUUID}}, cutOff: 2}
		discovery, _, registry := newDiscovery(api, log.NewNopLogger())
		if chatbots, err := discovery.Chatbots(t.Context()); len(chatbots) != 1 || err != nil || api.requests != 3 {
			t.Errorf("got %v, %v after %d requests", chatbots, err, api.requests)
		}
		wantUp(t, registry, "1", client.Network, 0)
	})
}

// A caller in a hurry does not wait, and does not make the discovery of a new list fail.
func TestDiscoveryInAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{chatbots: []client.Chatbot{{UUID: shopUUID}}, takes: 12 * time.Second}
		discovery, _, registry := newDiscovery(api, log.NewNopLogger())
		if _, err := discovery.Chatbots(t.Context()); err != nil {
			t.Fatal(err)
		}
		patient, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := discovery.Chatbots(patient); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		api.chatbots = []client.Chatbot{{UUID: deskUUID}}
		hurried, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if chatbots, err := discovery.Chatbots(hurried); len(chatbots) != 1 || chatbots[0].UUID != shopUUID || err != nil || time.Since(start) != 50*time.Millisecond {
			t.Errorf("got %v, %v after %v", chatbots, err, time.Since(start))
		}
		time.Sleep(12 * time.Second)
		wantUp(t, registry, "1", client.Timeout, 0)
		if chatbots, err := discovery.Chatbots(t.Context()); len(chatbots) != 1 || chatbots[0].UUID != deskUUID || err != nil || api.requests != 2 {
			t.Errorf("got %v, %v after %d requests", chatbots, err, api.requests)
		}
	})
}
