package fetch_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/apimetrics"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// A caller in a hurry does not make chatbots that answer lose their turn to foreign ones.
// Chatbots that hang lose it, although they answered before.
func TestHurriedScrape(t *testing.T) {
	const good, foreign = 8, 40
	tests := map[string]struct {
		takes  time.Duration // to answer, of the good chatbots
		hurry  time.Duration // the timeout of the other scrape
		behind bool          // whether the good chatbots have their turn after the foreign ones
	}{
		"less than a second":    {20 * time.Millisecond, 999 * time.Millisecond, false},
		"less than twice":       {1500 * time.Millisecond, 2999 * time.Millisecond, false},
		"a second":              {20 * time.Millisecond, time.Second, true},
		"twice as long as ever": {1500 * time.Millisecond, 3 * time.Second, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				counting := &counting{api: api{}}
				refused := manyChatbots(counting.api, foreign, "f", refusal(401))
				own := manyChatbots(counting.api, good, "g", answer{takes: test.takes})
				source := newSource(counting, good, prometheus.NewRegistry(), log.NewNopLogger())
				source.FetchAll(t.Context(), own)
				time.Sleep(time.Minute)
				source.FetchAll(t.Context(), refused)
				for _, chatbot := range own {
					counting.api[chatbot.UUID] = answer{takes: time.Hour}
				}
				time.Sleep(time.Minute)
				hurried, cancel := context.WithTimeout(t.Context(), test.hurry)
				source.FetchAll(hurried, own)
				cancel()
				counting.order = nil
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				source.FetchAll(ctx, slices.Concat(refused, own))
				if behind := strings.HasPrefix(counting.order[0], "f"); behind != test.behind {
					t.Errorf("fetched %q first", counting.order[0])
				}
			})
		})
	}
}

// However short it waited, a chatbot that was left has its turn after the faster ones.
func TestHurriedOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counting := &counting{api: api{"hangs": {takes: time.Millisecond}, "answers": {takes: 2 * time.Millisecond}}}
		source := newSource(counting, 1, prometheus.NewRegistry(), log.NewNopLogger())
		chatbots := []client.Chatbot{{UUID: "hangs"}, {UUID: "answers"}}
		source.FetchAll(t.Context(), chatbots)
		counting.api["hangs"] = answer{takes: time.Hour}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			counting.order = nil
			source.FetchAll(ctx, chatbots)
			cancel()
		}
		if got := strings.Join(counting.order, " "); got != "answers hangs" {
			t.Errorf("fetched %s", got)
		}
	})
}

// Chatbots that may hang leave half of the slots to others: those that are unknown, also
// after one of them succeeded, and those that timed out last time.
func TestDoubtfulChatbots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account := api{"known": {takes: time.Second}, "good": {takes: time.Second}}
		counting := &counting{api: account}
		hanging := manyChatbots(account, 100, "h", answer{takes: time.Hour})
		source := newSource(counting, 4, prometheus.NewRegistry(), log.NewNopLogger())
		wantUnderWay := func(what string, want int, fetchAll func(context.Context)) {
			t.Helper()
			counting.order = nil
			ctx, cancel := context.WithCancel(t.Context())
			var fetches sync.WaitGroup
			fetches.Go(func() { fetchAll(ctx) })
			synctest.Wait()
			if len(counting.order) != want {
				t.Errorf("%s: %d requests at a time, want %d", what, len(counting.order), want)
			}
			if got := fetchOne(t.Context(), source, "known"); want < 4 && (got.Err != nil || got.Took != time.Second) {
				t.Errorf("%s: got %+v", what, got)
			}
			cancel()
			fetches.Wait()
			synctest.Wait()
		}
		probe := func(ctx context.Context) {
			var probes sync.WaitGroup
			for _, chatbot := range hanging {
				probes.Go(func() { source.FetchUnverified(ctx, chatbot) })
			}
			probes.Wait()
		}
		wantUnderWay("unknown", 2, probe)
		if got := source.FetchUnverified(t.Context(), client.Chatbot{UUID: "good"}); got.Err != nil {
			t.Errorf("got %+v", got)
		}
		wantUnderWay("unknown, after one succeeded", 2, probe)
		account["slow"], account["slower"], account["slowest"] = answer{takes: 2 * time.Minute}, answer{takes: 2 * time.Minute}, answer{takes: 2 * time.Minute}
		slow := []client.Chatbot{{UUID: "slow"}, {UUID: "slower"}, {UUID: "slowest"}}
		fetchSlow := func(ctx context.Context) { source.FetchAll(ctx, slow) }
		wantUnderWay("never tried", 3, fetchSlow) // the callers left
		source.FetchAll(t.Context(), slow)
		wantUnderWay("timed out", 2, fetchSlow)
		for _, chatbot := range slow {
			account[chatbot.UUID] = answer{err: &client.Error{Reason: client.NotFound, Status: 404}}
		}
		source.FetchAll(t.Context(), slow)
		for _, chatbot := range slow {
			account[chatbot.UUID] = answer{takes: 2 * time.Minute}
		}
		wantUnderWay("answered since", 3, fetchSlow)
	})
}

// A probe is tried although it joins a scrape whose key is refused.
func TestProbeJoinsRefusedScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := refusal(401)
		refused.takes = time.Second
		counting := &counting{api: api{}}
		chatbots := append(manyChatbots(counting.api, 4, "f", refused), client.Chatbot{UUID: "good"}, client.Chatbot{UUID: "other"})
		source := newSource(counting, 1, prometheus.NewRegistry(), log.NewNopLogger())
		var scrape sync.WaitGroup
		scrape.Go(func() {
			results := source.FetchAll(t.Context(), chatbots)
			if got := results[5]; fetch.ReasonOf(got.Err) != client.Unauthorized || got.Took != 0 {
				t.Errorf("another chatbot was tried: %+v", got)
			}
		})
		synctest.Wait()
		if got := fetchOne(t.Context(), source, "good"); got.Err != nil {
			t.Errorf("got %+v", got)
		}
		scrape.Wait()
	})
}

// While there is no list, it is fetched ten times and then once each six seconds, however
// often it is asked for. The last error is returned meanwhile.
func TestDiscoveryFailsInALoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{err: &client.Error{Reason: client.NotFound, Status: 404}}
		discovery, _, registry := newDiscovery(api, log.NewNopLogger())
		for range 600 {
			if _, err := discovery.Chatbots(t.Context()); fetch.ReasonOf(err) != client.NotFound {
				t.Fatalf("got %v", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if want := 19; api.requests != want {
			t.Errorf("sent %d requests in a minute, want %d", api.requests, want)
		}
		wantUp(t, registry, "0", client.NotFound, float64(api.requests))
	})
}

// The list that is fetched for names alone costs the chatbots nothing: it is one request
// after a scrape, and 429 to it pauses itself only.
func TestNamesCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{
			api:    api{shopUUID: {takes: time.Second}},
			err:    &client.Error{Reason: client.RateLimited, Status: 429, RetryAfter: 10 * time.Minute},
			cutOff: 1,
		}
		config := newConfig(api, 1, apimetrics.New(prometheus.NewRegistry()), log.NewNopLogger())
		named := fetch.NewNamed(config, []client.Chatbot{{UUID: shopUUID}}, fetch.DiscoveryOptions{Interval: time.Minute})
		source := fetch.NewSource(config, fetch.SourceOptions{})
		for scrape := range 4 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			begun := time.Now()
			chatbots, _ := named.Chatbots(ctx)
			synctest.Wait()
			if result := source.FetchAll(ctx, chatbots)[0]; result.Err != nil || time.Since(begun) != time.Second || api.requests != max(1, scrape) {
				t.Errorf("scrape %d: got %+v after %v and %d requests for names", scrape, result, time.Since(begun), api.requests)
			}
			cancel()
			time.Sleep(time.Minute)
		}
	})
}

// Pauses of chatbots are remembered for a limited number of them.
func TestPausesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := fetch.NewGate(1, time.Minute)
		unavailable := &client.Error{Reason: client.ServerError, Status: 503, RetryAfter: 15 * time.Minute}
		requests := 0
		ask := func(chatbot string) {
			_, _ = fetch.Do(t.Context(), gate, chatbot, func(context.Context) (struct{}, error) {
				requests++
				return struct{}{}, unavailable
			})
		}
		ask("first")
		for i := range 19_999 {
			ask(fmt.Sprint(i))
		}
		if ask("first"); requests != 20_000 {
			t.Errorf("%d requests, want one for each of 20,000 chatbots", requests)
		}
		ask("next")
		ask("another")
		if ask("0"); requests != 20_003 {
			t.Errorf("%d requests, want 20,003: the oldest pause is forgotten", requests)
		}
	})
}

// A caller who leaves is not kept by a call that goes on.
func TestCallersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newSource(api{"a": {takes: time.Minute}}, 1, prometheus.NewRegistry(), log.NewNopLogger())
		var patient sync.WaitGroup
		patient.Go(func() { fetchOne(t.Context(), source, "a") })
		synctest.Wait()
		leave := func() weak.Pointer[[1 << 20]byte] {
			kept := new([1 << 20]byte)
			ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), weak.Pointer[int]{}, kept), time.Second)
			defer cancel()
			fetchOne(ctx, source, "a")
			return weak.Make(kept)
		}
		kept := leave()
		runtime.GC()
		if kept.Value() != nil {
			t.Error("the context of a caller who left is kept")
		}
		patient.Wait()
	})
}

// slow is a context whose end is noticed a second later, as on a busy machine.
type slow struct {
	context.Context
	disconnected context.Context
}

func (s slow) Err() error { return s.disconnected.Err() }

// No request begins for a caller who has disconnected, even if it has not left yet.
func TestDisconnectedBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := &tries{answers: []answer{{takes: 10 * time.Second}}}
		registry := prometheus.NewRegistry()
		source := newSource(tries, 1, registry, log.NewNopLogger())
		var scrapes sync.WaitGroup
		scrapes.Go(func() { fetchOne(t.Context(), source, "busy") })
		synctest.Wait()
		disconnected, disconnect := context.WithCancel(t.Context())
		noticed, cancel := context.WithCancel(t.Context())
		time.AfterFunc(9*time.Second, disconnect)
		time.AfterFunc(11*time.Second, cancel)
		scrapes.Go(func() {
			if got := fetchOne(slow{noticed, disconnected}, source, "waiting"); fetch.ReasonOf(got.Err) != client.Timeout {
				t.Errorf("got %+v", got)
			}
		})
		scrapes.Wait()
		synctest.Wait()
		if counted := failures(t, registry); len(tries.at) != 1 || len(counted) > 0 {
			t.Errorf("sent %d requests, want 1; counted %v", len(tries.at), counted)
		}
	})
}
