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
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// manyChatbots returns n chatbots, all of which get the same answer.
func manyChatbots(account api, n int, name string, answer answer) (chatbots []client.Chatbot) {
	for i := range n {
		uuid := fmt.Sprint(name, i)
		account[uuid] = answer
		chatbots = append(chatbots, client.Chatbot{UUID: uuid})
	}
	return chatbots
}

func refusal(status int) answer {
	return answer{takes: time.Millisecond, err: &client.Error{Reason: client.Unauthorized, Status: status}}
}

// Once four answers in a row refused the key, a scrape begins no further request. The
// others are down as unauthorized, and neither counted nor logged.
func TestRefusedKey(t *testing.T) {
	for status, want := range map[int]int{401: 4, 422: 4, 403: 100} {
		for _, concurrency := range []int{1, 4} {
			t.Run(fmt.Sprint(status, " with concurrency ", concurrency), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					counting := &counting{api: api{}}
					chatbots := manyChatbots(counting.api, 100, "c", refusal(status))
					registry := prometheus.NewRegistry()
					var logged bytes.Buffer
					source := newSource(counting, concurrency, registry, log.NewLogfmtLogger(&logged))
					total := 0
					for scrape := range 5 {
						counting.order = nil
						results := source.FetchAll(t.Context(), chatbots)
						sent := len(counting.order)
						if sent < want || sent > want+concurrency-1 {
							t.Errorf("scrape %d sent %d requests, want %d", scrape, sent, want)
						}
						tried := 0
						for _, result := range results {
							if fetch.ReasonOf(result.Err) != client.Unauthorized {
								t.Errorf("got %+v", result)
							}
							if result.Took > 0 {
								tried++
							}
						}
						total += sent
						if counted := failures(t, registry)["unauthorized"]; tried != sent || counted != float64(total) {
							t.Errorf("%d chatbots were tried with %d requests, %v failures", tried, sent, counted)
						}
					}
					if n := strings.Count(logged.String(), "\n"); n != 1 {
						t.Errorf("logged %d lines: %s", n, &logged)
					}
				})
			})
		}
	}
}

// Foreign chatbots in front of the others take none of them down for more than a scrape.
func TestForeignChatbots(t *testing.T) {
	for _, foreign := range []int{1, 3, 5, 50} {
		t.Run(fmt.Sprint(foreign), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				account := api{}
				chatbots := manyChatbots(account, foreign, "foreign", refusal(401))
				own := manyChatbots(account, 20, "own", answer{takes: time.Millisecond})
				source := newSource(account, 2, prometheus.NewRegistry(), log.NewNopLogger())
				down := map[string]int{}
				for range 30 {
					for i, result := range source.FetchAll(t.Context(), slices.Concat(chatbots, own)) {
						if i >= foreign && result.Err != nil {
							down[own[i-foreign].UUID]++
						}
					}
				}
				// Each scrape tries four of the foreign ones, until it has tried all.
				for uuid, n := range down {
					if n > (foreign+3)/4 {
						t.Errorf("%s was down in %d of 30 scrapes", uuid, n)
					}
				}
				if foreign < 4 && len(down) > 0 {
					t.Errorf("%v were down", down)
				}
			})
		})
	}
}

// If the list of chatbots is refused, one refused chatbot is enough. Once a chatbot of the
// list answers, all are tried again.
func TestRefusedList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{api: api{}, err: &client.Error{Reason: client.Unauthorized, Status: 401}}
		counting := &counting{api: api.api}
		chatbots := manyChatbots(api.api, 20, "c", refusal(401))
		discovery, _, registry := newDiscovery(api, log.NewNopLogger())
		config := discovery.Config
		config.API = counting
		source := fetch.NewSource(config, fetch.SourceOptions{})
		if _, err := discovery.Chatbots(t.Context()); err == nil {
			t.Fatal("the list was not refused")
		}
		source.FetchAll(t.Context(), chatbots)
		if len(counting.order) != 1 {
			t.Errorf("sent %d requests, want 1; counted %v", len(counting.order), failures(t, registry))
		}
		// A chatbot alone is always tried.
		for range 3 {
			source.FetchAll(t.Context(), chatbots[7:8])
		}
		if len(counting.order) != 4 {
			t.Errorf("sent %d requests, want 4", len(counting.order))
		}
		// Chatbots that answer are fetched whatever the list says.
		for _, chatbot := range chatbots {
			counting.api[chatbot.UUID] = answer{}
		}
		for _, result := range source.FetchAll(t.Context(), chatbots) {
			if result.Err != nil {
				t.Errorf("got %+v", result)
			}
		}
	})
}

// The chatbots that succeeded last time have their turn first, the fastest before the
// others, and then those tried longest ago.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := answer{takes: time.Millisecond, err: &client.Error{Reason: client.NotFound, Status: 404}}
		counting := &counting{api: api{"broken": broken, "slow": {takes: 2 * time.Second}, "fast": {takes: time.Second}, "gone": broken, "new": {}}}
		source := newSource(counting, 1, prometheus.NewRegistry(), log.NewNopLogger())
		chatbots := func(uuids string) (chatbots []client.Chatbot) {
			for _, uuid := range strings.Fields(uuids) {
				chatbots = append(chatbots, client.Chatbot{UUID: uuid})
			}
			return chatbots
		}
		for _, step := range [][2]string{
			{"broken slow fast gone", "broken slow fast gone"},
			{"broken slow fast gone", "fast slow broken gone"},
			{"broken", "broken"},
			{"broken slow fast gone", "fast slow gone broken"},
			{"broken new slow", "slow new broken"},
		} {
			counting.order = nil
			source.FetchAll(t.Context(), chatbots(step[0]))
			if got := strings.Join(counting.order, " "); got != step[1] {
				t.Errorf("%s: fetched %s, want %s", step[0], got, step[1])
			}
		}
	})
}

// Whoever probes for unknown chatbots has a budget of ten failures, which gains one each
// six seconds. Chatbots that have succeeded need none, in any spelling, and outages spend
// none.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account := api{}
		good := manyChatbots(account, 1000, "g", answer{sessions: make([]client.Session, 1)})
		foreign := manyChatbots(account, 100, "f", refusal(404))
		outage := manyChatbots(account, 100, "o", answer{err: &client.Error{Reason: client.ServerError, Status: 500}})
		counting := &counting{api: account}
		registry := prometheus.NewRegistry()
		source := newSource(counting, 1, registry, log.NewNopLogger())
		probe := func(chatbots []client.Chatbot) (sent, refused int) {
			t.Helper()
			counting.order = nil
			for _, chatbot := range chatbots {
				if result := source.FetchUnverified(t.Context(), chatbot); errors.Is(result.Err, fetch.ErrNoBudget) {
					refused++
				}
			}
			return len(counting.order), refused
		}
		for _, step := range []struct {
			name          string
			after         time.Duration
			chatbots      []client.Chatbot
			sent, refused int
		}{
			{"an outage", 0, outage, 100, 0},
			{"a thousand good ones", 0, good, 1000, 0},
			{"foreign ones", 0, foreign, 10, 90},
			{"good ones without budget", 0, good[:5], 5, 0},
			{"unknown ones without budget", 0, outage[:3], 0, 3},
			{"six seconds later", 6 * time.Second, foreign, 1, 99},
			{"a minute later", time.Minute, foreign, 10, 90},
		} {
			time.Sleep(step.after)
			if sent, refused := probe(step.chatbots); sent != step.sent || refused != step.refused {
				t.Errorf("%s: sent %d requests and refused %d, want %d and %d", step.name, sent, refused, step.sent, step.refused)
			}
		}
		if counted := failures(t, registry)["unauthorized"]; counted != 21 {
			t.Errorf("counted %v failures, want 21", counted)
		}
	})
}

// Failures that come at the same time are all charged, also those beyond the budget.
func TestBudgetOfConcurrentFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const concurrency = 20 // twice the budget; half of the slots
		account := api{}
		foreign := manyChatbots(account, concurrency, "f", answer{err: &client.Error{Reason: client.NotFound, Status: 404}, takes: time.Second})
		counting := &counting{api: account}
		source := newSource(counting, 2*concurrency, prometheus.NewRegistry(), log.NewNopLogger())
		probe := func() (sent int) {
			counting.order = nil
			var probes sync.WaitGroup
			for _, chatbot := range foreign {
				probes.Go(func() { source.FetchUnverified(t.Context(), chatbot) })
			}
			probes.Wait()
			return len(counting.order)
		}
		if sent := probe(); sent != concurrency {
			t.Errorf("sent %d requests at first, want %d", sent, concurrency)
		}
		time.Sleep(59 * time.Second)
		if sent := probe(); sent != 0 {
			t.Errorf("sent %d requests before the debt was paid, want none", sent)
		}
		time.Sleep(time.Minute)
		if sent := probe(); sent == 0 {
			t.Error("sent no request after the debt was paid")
		}
	})
}

// However many unknown chatbots are probed, the known ones keep their state, and the
// spellings of a UUID are one chatbot.
func TestStatesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account := api{shopUUID: {sessions: make([]client.Session, 1)}}
		counting := &counting{api: account}
		source := newSource(counting, 4, prometheus.NewRegistry(), log.NewNopLogger(), caching(time.Hour))
		fetchOne(t.Context(), source, shopUUID)
		unknown := manyChatbots(account, 25_000, "u", answer{err: &client.Error{Reason: client.ServerError, Status: 500}})
		for _, chatbot := range unknown {
			source.FetchUnverified(t.Context(), chatbot)
		}
		counting.order = nil
		for _, spelling := range []string{shopUUID, strings.ToUpper(shopUUID), shopUUID[:8] + "-" + shopUUID[8:]} {
			if got := fetchOne(t.Context(), source, spelling); got.Err != nil || got.Numbers.Sessions != 1 {
				t.Errorf("%s: got %+v", spelling, got)
			}
		}
		if len(counting.order) > 0 {
			t.Errorf("fetched %v again", counting.order)
		}
	})
}

// Failures of a kind make one line a minute, which says how many they are, names the first
// chatbots and says what to do. The first is written before the scrape is answered.
func TestLogInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account := api{}
		chatbots := manyChatbots(account, 500, "c", answer{err: &client.Error{Reason: client.NotFound, Status: 404}})
		chatbots[0].Name, chatbots[1].Name = "Shop", "Zoë’s desk"
		account["other"] = answer{err: &client.Error{Reason: client.ServerError, Status: 500}}
		var logged bytes.Buffer
		source := newSource(account, 1, prometheus.NewRegistry(), log.NewLogfmtLogger(&logged))
		want := func(lines ...string) {
			t.Helper()
			got := strings.Split(strings.TrimSuffix(logged.String(), "\n"), "\n")
			if logged.Len() == 0 {
				got = nil
			}
			if len(got) != len(lines) {
				t.Errorf("logged %s", &logged)
			}
			for i, line := range lines[:min(len(lines), len(got))] {
				if !strings.Contains(got[i], line) {
					t.Errorf("logged %s, want %s", got[i], line)
				}
			}
			logged.Reset()
		}
		const hint = `hint="check the UUID`
		source.FetchAll(t.Context(), chatbots)
		want(`msg="Fetching the sessions failed" chatbots="Shop c0, Zoë’s desk c1, c2" failures=500 reason=not_found err="the API answered 404 Not Found" ` + hint)
		source.FetchAll(t.Context(), chatbots)
		want()
		fetchOne(t.Context(), source, "other")
		want(`chatbots=other failures=1 reason=server_error`)
		time.Sleep(time.Minute - time.Nanosecond)
		fetchOne(t.Context(), source, "c7")
		want()
		time.Sleep(time.Nanosecond)
		fetchOne(t.Context(), source, "c8")
		want(`failures=502 reason=not_found`)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		source.FetchAll(ctx, chatbots)
		want()
	})
}
