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

// Fetches of a chatbot that overlap are one request.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := &tries{answers: []answer{{takes: time.Second, sessions: make([]client.Session, 3)}}}
		source := newSource(tries, 4, prometheus.NewRegistry(), log.NewNopLogger())
		var scrapes sync.WaitGroup
		for i := range 20 {
			scrapes.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				if got := fetchOne(t.Context(), source, "a"); got.Err != nil || got.Numbers.Sessions != 3 || !got.Finished.Equal(midnight.Add(time.Second)) {
					t.Errorf("got %+v", got)
				}
			})
		}
		scrapes.Wait()
		if len(tries.at) != 1 {
			t.Errorf("sent %d requests, want 1", len(tries.at))
		}
		if got := fetchOne(t.Context(), source, "a"); got.Err != nil || len(tries.at) != 2 {
			t.Errorf("after the fetch: got %+v and %d requests, want a new one", got, len(tries.at))
		}
	})
}

// Whoever leaves a shared fetch, be it the one who began it, does not spoil it for
// the others; when all have left, it ends.
func TestLeave(t *testing.T) {
	newSource := func() (*fetch.Source, *tries, *prometheus.Registry, *bytes.Buffer) {
		tries := &tries{answers: []answer{{takes: 10 * time.Second}}}
		registry, logged := prometheus.NewRegistry(), &bytes.Buffer{}
		return newSource(tries, 2, registry, log.NewLogfmtLogger(logged)), tries, registry, logged
	}
	// scrape fetches with a context that ends after a time.
	scrape := func(source *fetch.Source, after time.Duration, end func(context.Context, time.Duration) (context.Context, context.CancelFunc)) chan fetch.Result {
		got := make(chan fetch.Result, 1)
		go func() {
			ctx, cancel := end(context.Background(), after)
			defer cancel()
			got <- fetchOne(ctx, source, "a")
		}()
		synctest.Wait()
		return got
	}
	disconnect := func(ctx context.Context, after time.Duration) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(after, cancel)
		return ctx, cancel
	}
	wantTimeout := func(t *testing.T, got fetch.Result, at time.Duration) {
		t.Helper()
		if fetch.ReasonOf(got.Err) != client.Timeout || got.Finished.Sub(midnight) != at {
			t.Errorf("got %+v, want a timeout after %v", got, at)
		}
	}

	t.Run("one stays", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source, tries, registry, logged := newSource()
			first := scrape(source, 3*time.Second, disconnect)
			second := scrape(source, 5*time.Second, context.WithTimeout)
			third := scrape(source, 20*time.Second, context.WithTimeout)
			wantTimeout(t, <-first, 3*time.Second)
			wantTimeout(t, <-second, 5*time.Second)
			// That one was in a hurry does not make the others fetch anew.
			fourth := scrape(source, 20*time.Second, context.WithTimeout)
			for _, scrape := range []chan fetch.Result{third, fourth} {
				if got := <-scrape; got.Err != nil || got.Took != 10*time.Second || !got.Finished.Equal(midnight.Add(10*time.Second)) {
					t.Errorf("got %+v, want it after 10s", got)
				}
			}
			if len(tries.at) != 1 {
				t.Errorf("sent %d requests, want 1", len(tries.at))
			}
			if counted := failures(t, registry); len(counted) != 1 || counted["timeout"] != 1 || strings.Count(logged.String(), "\n") != 1 {
				t.Errorf("counted %v, logged %s", counted, logged)
			}
		})
	})
	t.Run("one disconnects", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source, tries, registry, logged := newSource()
			first := scrape(source, 3*time.Second, disconnect)
			second := scrape(source, 20*time.Second, context.WithTimeout)
			wantTimeout(t, <-first, 3*time.Second)
			third := scrape(source, 20*time.Second, context.WithTimeout)
			if got := <-second; got.Err != nil || (<-third).Err != nil || len(tries.at) != 1 {
				t.Errorf("got %+v and %d requests", got, len(tries.at))
			}
			if counted := failures(t, registry); len(counted) != 0 || logged.Len() != 0 {
				t.Errorf("counted %v, logged %s", counted, logged)
			}
		})
	})
	t.Run("all time out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source, tries, registry, logged := newSource()
			first := scrape(source, 3*time.Second, context.WithTimeout)
			second := scrape(source, 5*time.Second, context.WithTimeout)
			wantTimeout(t, <-first, 3*time.Second)
			wantTimeout(t, <-second, 5*time.Second)
			if counted := failures(t, registry); len(counted) != 1 || counted["timeout"] != 1 || strings.Count(logged.String(), "\n") != 1 {
				t.Errorf("counted %v, logged %s", counted, logged)
			}
			if got := fetchOne(t.Context(), source, "a"); got.Err != nil || len(tries.at) != 2 {
				t.Errorf("the next scrape got %+v and %d requests", got, len(tries.at))
			}
		})
	})
	t.Run("all disconnect", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source, tries, registry, logged := newSource()
			first := scrape(source, 3*time.Second, disconnect)
			wantTimeout(t, <-first, 3*time.Second)
			if counted := failures(t, registry); len(counted) != 0 || logged.Len() != 0 {
				t.Errorf("counted %v, logged %s", counted, logged)
			}
			if got := fetchOne(t.Context(), source, "a"); got.Err != nil || len(tries.at) != 2 {
				t.Errorf("the next scrape got %+v and %d requests", got, len(tries.at))
			}
		})
	})
}

// A chatbot that hangs may keep the others from having their turn once; then they
// have it first.
func TestHangingChatbots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := api{}
		var chatbots []client.Chatbot
		for i := range 10 {
			chatbot := client.Chatbot{UUID: fmt.Sprint("hangs ", i)}
			source[chatbot.UUID] = answer{takes: time.Hour}
			if i >= 6 {
				chatbot.UUID = fmt.Sprint("healthy ", i)
				source[chatbot.UUID] = answer{takes: 100 * time.Millisecond}
			}
			chatbots = append(chatbots, chatbot)
		}
		s := newSource(source, 2, prometheus.NewRegistry(), log.NewNopLogger())
		for i := range 4 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			fetches := s.FetchAll(ctx, chatbots)
			cancel()
			if len(fetches) != len(chatbots) {
				t.Fatalf("scrape %d: got %d chatbots", i, len(fetches))
			}
			for j, fetch := range fetches {
				uuid, up := chatbots[j].UUID, fetch.Err == nil
				if want := strings.HasPrefix(uuid, "healthy"); i == 3 && up != want {
					t.Errorf("scrape %d: %s is up: %t", i, uuid, up)
				}
			}
		}
	})
}

// Chatbots have their turn in the order that they are given in, and in the next
// scrape those first that were fastest in the last.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counting := &counting{api: api{}}
		var chatbots []client.Chatbot
		var given, fastest []string
		for i := range 30 {
			uuid := fmt.Sprint("takes ", 30-i)
			chatbots, given = append(chatbots, client.Chatbot{UUID: uuid}), append(given, uuid)
			fastest = slices.Insert(fastest, 0, uuid)
			counting.api[uuid] = answer{takes: time.Duration(30-i) * time.Millisecond}
		}
		source := newSource(counting, 1, prometheus.NewRegistry(), log.NewNopLogger())
		for i, want := range [][]string{given, fastest} {
			counting.order = nil
			source.FetchAll(t.Context(), chatbots)
			if !slices.Equal(counting.order, want) {
				t.Errorf("scrape %d asked for %q, want %q", i, counting.order, want)
			}
		}
	})
}

// late is a context that ends after its deadline, as timers do on a busy machine.
type late struct {
	context.Context
	deadline time.Time
}

func (l late) Deadline() (time.Time, bool) { return l.deadline, true }

// A fetch whose turn comes after the end of all scrapes that wait for it, of which
// one without a deadline is the latest, sends no request and leaves its turn to the
// next fetch.
func TestLateTurn(t *testing.T) {
	const turn, never = 10 * time.Second, 0
	tests := map[string]struct {
		ends   []time.Duration // of the scrapes that wait, in the order they began
		begins bool
	}{
		"before":               {[]time.Duration{turn - 1}, false},
		"at the end":           {[]time.Duration{turn}, false},
		"in time":              {[]time.Duration{turn + 1}, true},
		"no deadline":          {[]time.Duration{never}, true},
		"both before":          {[]time.Duration{turn - 2, turn - 1}, false},
		"both before, turned":  {[]time.Duration{turn - 1, turn - 2}, false},
		"one in time":          {[]time.Duration{turn - 1, turn + 1}, true},
		"one in time, turned":  {[]time.Duration{turn + 1, turn - 1}, true},
		"one without":          {[]time.Duration{turn - 1, never}, true},
		"one without, turned":  {[]time.Duration{never, turn - 1}, true},
		"the middle one":       {[]time.Duration{turn - 1, turn + 1, turn - 2}, true},
		"the middle without":   {[]time.Duration{turn - 1, never, turn - 2}, true},
		"none of three":        {[]time.Duration{turn - 3, turn - 1, turn - 2}, false},
		"three, the last one":  {[]time.Duration{turn - 2, turn - 1, turn + 1}, true},
		"three, the first one": {[]time.Duration{turn + 1, turn - 2, turn - 1}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				registry := prometheus.NewRegistry()
				tries := &tries{answers: []answer{{takes: turn}, {}}}
				source := newSource(tries, 1, registry, log.NewNopLogger())
				var scrapes sync.WaitGroup
				scrapes.Go(func() { fetchOne(t.Context(), source, "busy") })
				synctest.Wait()
				for _, end := range test.ends {
					scrapes.Go(func() {
						ctx := t.Context()
						if end != never {
							ended, cancel := context.WithTimeout(ctx, end+time.Second)
							defer cancel()
							ctx = late{ended, midnight.Add(end)}
						}
						got := fetchOne(ctx, source, "waiting")
						timeout := fetch.ReasonOf(got.Err) == client.Timeout && errors.Is(got.Err, context.DeadlineExceeded)
						if timeout == test.begins || !timeout && got.Err != nil || !got.Finished.Equal(midnight.Add(turn)) {
							t.Errorf("the scrape that ends after %v got %+v", end, got)
						}
					})
					synctest.Wait()
				}
				scrapes.Wait()
				want := map[bool]int{false: 1, true: 2}[test.begins]
				if counted := failures(t, registry); len(tries.at) != want || counted["timeout"] != float64(2-want) {
					t.Errorf("sent %d requests, want %d; counted %v", len(tries.at), want, counted)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				for _, chatbot := range []string{"waiting", "another"} {
					if got := fetchOne(ctx, source, chatbot); got.Err != nil || got.Took != 0 {
						t.Errorf("%s: the next scrape got %+v", chatbot, got)
					}
				}
			})
		})
	}
}

// A fetch that all have left and that ends after a later one of the same chatbot does not
// replace what the later one learned.
func TestOvertaken(t *testing.T) {
	for name, ends := range map[string][]time.Duration{
		"all left": {3 * time.Second}, "all left together": {3 * time.Second, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := &tries{answers: []answer{
					{takes: 20 * time.Second, sessions: make([]client.Session, 1), deaf: true},
					{takes: time.Second, sessions: make([]client.Session, 2)},
				}}
				source := newSource(tries, 2, prometheus.NewRegistry(), log.NewNopLogger(), caching(time.Hour))
				var scrapes sync.WaitGroup
				for _, end := range ends {
					scrapes.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), end)
						defer cancel()
						fetchOne(ctx, source, "a")
					})
				}
				time.Sleep(4 * time.Second)
				wantLater := func(when string) {
					t.Helper()
					got := fetchOne(t.Context(), source, "a")
					if got.Err != nil || got.Numbers.Sessions != 2 || !got.Finished.Equal(midnight.Add(5*time.Second)) || len(tries.at) != 2 {
						t.Errorf("%s: got %+v after %d requests", when, got, len(tries.at))
					}
				}
				wantLater("the later fetch")
				scrapes.Wait()
				if took := time.Since(midnight); took != 20*time.Second {
					t.Errorf("the first fetch took %v", took)
				}
				wantLater("after the first fetch")
			})
		})
	}
}

// A fetch that succeeds is remembered, even if somebody was in too much of a hurry for
// it, or a later one failed.
func TestSuccessIsKept(t *testing.T) {
	for name, later := range map[string]bool{"somebody left": false, "a later fetch failed": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := &tries{answers: []answer{
					{takes: 10 * time.Second, sessions: make([]client.Session, 1)},
					{err: &client.Error{Reason: client.NotFound, Status: 404}},
				}}
				source := newSource(tries, 2, prometheus.NewRegistry(), log.NewNopLogger(), caching(time.Hour))
				var scrapes sync.WaitGroup
				scrapes.Go(func() { fetchOne(t.Context(), source, "a") })
				synctest.Wait()
				hurried, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				fetchOne(hurried, source, "a")
				if later {
					fetchOne(t.Context(), source, "a")
				}
				scrapes.Wait()
				requests := len(tries.at)
				if got := fetchOne(t.Context(), source, "a"); got.Err != nil || got.Numbers.Sessions != 1 || len(tries.at) != requests {
					t.Errorf("got %+v after %d requests, want %d", got, len(tries.at), requests)
				}
			})
		})
	}
}

// No request begins for a caller who has left before or leaves now. Disconnects are not
// counted as failures, passed deadlines are.
func TestNoRequestAfterTheEnd(t *testing.T) {
	ended := func(parent context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(parent)
		cancel()
		return ctx, cancel
	}
	tests := map[string]struct {
		context  func(context.Context) (context.Context, context.CancelFunc)
		requests int // one at a time, each takes a minute
		failures float64
	}{
		"left before": {ended, 0, 0},
		"too late": {func(parent context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadline(parent, midnight)
		}, 0, 5},
		"leaves": {func(parent context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(parent)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, 1, 0},
		"is late": {func(parent context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(parent, time.Second)
		}, 1, 5},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for range 20 { // the order of goroutines differs
				synctest.Test(t, func(t *testing.T) {
					registry := prometheus.NewRegistry()
					tries := &tries{answers: []answer{{takes: time.Minute}}}
					source := newSource(tries, 1, registry, log.NewNopLogger())
					ctx, cancel := test.context(t.Context())
					defer cancel()
					results := source.FetchAll(ctx, []client.Chatbot{{UUID: "a"}, {UUID: "b"}, {UUID: "c"}, {UUID: "d"}, {UUID: "e"}})
					for _, result := range results {
						if fetch.ReasonOf(result.Err) != client.Timeout {
							t.Errorf("got %+v", result)
						}
					}
					synctest.Wait()
					if counted := failures(t, registry)["timeout"]; len(tries.at) != test.requests || counted != test.failures {
						t.Errorf("%d requests, want %d; %v failures, want %v", len(tries.at), test.requests, counted, test.failures)
					}
				})
			}
		})
	}
}
