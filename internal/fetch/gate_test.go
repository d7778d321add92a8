package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
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
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// A fetch that fails for a transient cause is tried three times, as long as there is
// time. Its error is that of the last try.
func TestRetry(t *testing.T) {
	transient := answer{
		sessions: []client.Session{{HasLead: true}, {HasLead: true}},
		err:      &client.Error{Reason: client.Network, Transient: true, Err: errors.New("cut off")},
	}
	badGateway := answer{err: &client.Error{Reason: client.ServerError, Status: 502, Transient: true}}
	permanent := answer{err: &client.Error{Reason: client.NotFound, Status: 404}}
	good := answer{sessions: []client.Session{{HasLead: true}}}
	taking := func(takes time.Duration, answer answer) answer {
		answer.takes = takes
		return answer
	}
	// A wait for the second try takes 125 ms at least and 375 ms at most.
	const tooLate, inTime = time.Minute - 124*time.Millisecond, time.Minute - 376*time.Millisecond
	tests := map[string]struct {
		answers []answer
		scrape  time.Duration // until it ends; 0: never
		tries   int
		ends    time.Duration // 0: with the last try's answer
		want    client.Reason // none: a session
	}{
		"at once":                       {answers: []answer{good}, tries: 1},
		"second try":                    {answers: []answer{transient, good}, tries: 2},
		"third try":                     {answers: []answer{badGateway, transient, good}, tries: 3},
		"there is no fourth":            {answers: []answer{transient, transient, badGateway, good}, tries: 3, want: client.ServerError},
		"not transient":                 {answers: []answer{permanent, good}, tries: 1, want: client.NotFound},
		"not transient at second try":   {answers: []answer{transient, permanent, good}, tries: 2, want: client.NotFound},
		"time left for another try":     {answers: []answer{taking(inTime, badGateway), good}, tries: 2},
		"no time left for another try":  {answers: []answer{taking(tooLate, transient), good}, tries: 1, want: client.Network},
		"no time left in another try":   {answers: []answer{taking(58*time.Second, badGateway), taking(time.Minute, good)}, tries: 2, ends: time.Minute, want: client.Timeout},
		"a scrape ends before the next": {answers: []answer{taking(10*time.Second-time.Millisecond, badGateway), good}, scrape: 10 * time.Second, tries: 1, ends: 10 * time.Second, want: client.ServerError},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				registry := prometheus.NewRegistry()
				var logged bytes.Buffer
				tries := &tries{answers: test.answers}
				source := newSource(tries, 1, registry, log.NewLogfmtLogger(&logged))
				ctx := t.Context()
				if test.scrape > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.scrape)
					defer cancel()
				}
				got := fetchOne(ctx, source, "a")
				if len(tries.at) != test.tries {
					t.Fatalf("tried %d times, want %d", len(tries.at), test.tries)
				}
				last := test.answers[test.tries-1]
				ends := tries.at[test.tries-1].Add(last.takes)
				if test.ends > 0 {
					ends = midnight.Add(test.ends)
				}
				if !got.Finished.Equal(ends) || got.Took != ends.Sub(midnight) {
					t.Errorf("finished at %v after %v, want %v", got.Finished, got.Took, ends)
				}
				if test.want == "" {
					if got.Err != nil || got.Numbers.Counts != (tally.Counts{Sessions: 1, WithLead: 1}) || logged.Len() > 0 {
						t.Errorf("got %+v, logged %s", got, &logged)
					}
					return
				}
				if fetch.ReasonOf(got.Err) != test.want || got.Numbers != nil ||
					last.err != nil && !errors.Is(got.Err, last.err) {
					t.Errorf("got %+v, want %s", got, test.want)
				}
				if n := strings.Count(logged.String(), "\n"); n != 1 {
					t.Errorf("logged %d lines: %s", n, &logged)
				}
				if got := failures(t, registry); len(got) != 1 || got[string(test.want)] != 1 {
					t.Errorf("counted %v, want one %s", got, test.want)
				}
			})
		})
	}
}

// The second try comes after a quarter of a second, the third after half of one,
// each give or take half of that, so that those that failed together do not come
// again together.
func TestRetryIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := &tries{answers: []answer{{err: &client.Error{Reason: client.Network, Transient: true, Err: errors.New("cut off")}}}}
		source := newSource(tries, 1, prometheus.NewRegistry(), log.NewNopLogger())
		var waits [2][]time.Duration // before the second try and the third
		for range 1000 {
			tries.at = nil
			fetchOne(t.Context(), source, "a")
			for i := range waits {
				waits[i] = append(waits[i], tries.at[i+1].Sub(tries.at[i]))
			}
		}
		for i, interval := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond} {
			// Of a thousand, some come within a fortieth of either end.
			least, most, margin := interval/2, interval+interval/2, interval/40
			shortest, longest := slices.Min(waits[i]), slices.Max(waits[i])
			if shortest < least || shortest > least+margin || longest > most || longest < most-margin {
				t.Errorf("waited %v to %v before try %d, want %v to %v", shortest, longest, i+2, least, most)
			}
		}
	})
}

// After 429 no request is sent for the account, after 503 with Retry-After none for the
// chatbot. Fetches fail at once and are not logged. After the pause all is as before.
func TestPause(t *testing.T) {
	tests := []struct {
		reason client.Reason // of the answer
		paused client.Reason // of another chatbot during the pause; none: it is fetched
		counts map[string]float64
	}{
		{client.RateLimited, client.RateLimited, map[string]float64{"rate_limited": 4}},
		{client.ServerError, "", map[string]float64{"server_error": 2}},
	}
	for _, test := range tests {
		reason := test.reason
		t.Run(string(reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				registry := prometheus.NewRegistry()
				var logged bytes.Buffer
				tries := &tries{answers: []answer{
					{err: &client.Error{Reason: reason, Status: 429, RetryAfter: time.Minute}}, {},
				}}
				source := newSource(tries, 1, registry, log.NewLogfmtLogger(&logged))
				reasonOf := func(chatbot string) client.Reason {
					return fetch.ReasonOf(fetchOne(t.Context(), source, chatbot).Err)
				}
				if got := reasonOf("a"); got != reason {
					t.Errorf("got %q, want %q", got, reason)
				}
				time.Sleep(time.Minute - time.Nanosecond)
				requests := 1
				for chatbot, want := range map[string]client.Reason{"a": reason, "b": test.paused, "c": test.paused} {
					if got := reasonOf(chatbot); got != want {
						t.Errorf("%s: got %q during the pause, want %q", chatbot, got, want)
					}
					if want == "" {
						requests++
					}
				}
				if took := time.Since(start); took != time.Minute-time.Nanosecond || len(tries.at) != requests {
					t.Errorf("sent %d requests, waited until %v", len(tries.at), took)
				}
				time.Sleep(time.Nanosecond)
				if got := reasonOf("a") + reasonOf("b"); got != "" {
					t.Errorf("got %q after the pause", got)
				}
				if got := failures(t, registry); !maps.Equal(got, test.counts) {
					t.Errorf("counted %v, want %v", got, test.counts)
				}
				if text := logged.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "no_requests_until=2000-01-01T00:01:00Z") {
					t.Errorf("logged %s", text)
				}
			})
		})
	}
}

// A shorter pause does not end a longer one, and those who wait for their turn
// learn of it.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := func(pause, takes time.Duration) answer {
			return answer{takes: takes, err: &client.Error{Reason: client.RateLimited, Status: 429, RetryAfter: pause}}
		}
		counting := &counting{api: api{
			"long": limited(time.Hour, time.Second), "short": limited(time.Minute, 2*time.Second), "waiting": {},
		}}
		source := newSource(counting, 2, prometheus.NewRegistry(), log.NewNopLogger())
		var fetches sync.WaitGroup
		for _, chatbot := range []string{"long", "short"} {
			fetches.Go(func() { fetchOne(t.Context(), source, chatbot) })
		}
		synctest.Wait()
		start := time.Now()
		got := fetchOne(t.Context(), source, "waiting")
		if took := time.Since(start); got.Err == nil || took != time.Second {
			t.Errorf("the one who waited got %v after %v", got.Err, took)
		}
		fetches.Wait()
		time.Sleep(time.Hour - 3*time.Second)
		if got := fetchOne(t.Context(), source, "waiting"); got.Err == nil {
			t.Error("the shorter pause ended the longer one")
		}
		time.Sleep(3 * time.Second)
		if got := fetchOne(t.Context(), source, "waiting"); got.Err != nil {
			t.Errorf("after the pause: %v", got.Err)
		}
	})
}

// A fetch has its own time, however long those before it took.
func TestFetchTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newSource(api{"slow": {takes: time.Hour}, "fast": {takes: time.Second}}, 1, prometheus.NewRegistry(), log.NewNopLogger())
		start := time.Now()
		if got := fetchOne(t.Context(), source, "slow"); got.Err == nil || got.Took != time.Minute {
			t.Errorf("slow: got %+v, want a timeout of a minute", got)
		}
		if got := fetchOne(t.Context(), source, "fast"); got.Err != nil || time.Since(start) != 61*time.Second {
			t.Errorf("fast: got %+v after %v", got, time.Since(start))
		}
	})
}

// A pause that begins before the next try of a fetch ends that fetch, with the
// error of its last try.
func TestPauseBetweenTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cutOff := errors.New("cut off")
		counting := &counting{api: api{
			"cut off": {err: &client.Error{Reason: client.Network, Transient: true, Err: cutOff}},
			"limited": {takes: 100 * time.Millisecond, err: &client.Error{Reason: client.RateLimited, Status: 429, RetryAfter: time.Minute}},
		}}
		registry := prometheus.NewRegistry()
		var logged bytes.Buffer
		source := newSource(counting, 2, registry, log.NewLogfmtLogger(&logged))
		fetches := source.FetchAll(t.Context(), []client.Chatbot{{UUID: "cut off"}, {UUID: "limited"}})
		if err := fetches[0].Err; !errors.Is(err, cutOff) || len(counting.order) != 2 || time.Since(midnight) >= time.Second {
			t.Errorf("got %v after %v and requests for %v", err, time.Since(midnight), counting.order)
		}
		want := map[string]float64{"network": 1, "rate_limited": 1}
		if got := failures(t, registry); !maps.Equal(got, want) || strings.Count(logged.String(), "\n") != 2 {
			t.Errorf("counted %v, want %v, logged %s", got, want, &logged)
		}
	})
}

// The API's wish for a pause holds also if the fetch that it answers has been
// counted as failed before, or if nobody waits for it any more.
func TestPauseAfterLeaving(t *testing.T) {
	limited := &client.Error{Reason: client.RateLimited, Status: 429, RetryAfter: time.Minute}
	for name, stays := range map[string]bool{"one stays": true, "all leave": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := &tries{answers: []answer{{takes: 5 * time.Second, err: limited, deaf: true}, {}}}
				source := newSource(tries, 2, prometheus.NewRegistry(), log.NewNopLogger())
				var scrapes sync.WaitGroup
				if stays {
					scrapes.Go(func() {
						if got := fetchOne(t.Context(), source, "a"); !errors.Is(got.Err, limited) {
							t.Errorf("the one who stayed got %v", got.Err)
						}
					})
				}
				ctx, cancel := context.WithCancel(t.Context())
				end := cancel
				if stays {
					ctx, end = context.WithTimeout(ctx, 3*time.Second)
				} else {
					time.AfterFunc(3*time.Second, cancel)
				}
				defer cancel()
				defer end()
				scrapes.Go(func() { fetchOne(ctx, source, "a") })
				scrapes.Wait()
				if got := fetchOne(t.Context(), source, "b"); got.Err == nil || len(tries.at) != 1 {
					t.Errorf("during the pause got %+v and %d requests", got, len(tries.at))
				}
				time.Sleep(time.Until(midnight.Add(5*time.Second + time.Minute)))
				if got := fetchOne(t.Context(), source, "b"); got.Err != nil {
					t.Errorf("after the pause got %v", got.Err)
				}
			})
		})
	}
}

// New limits hold for what begins from then on, and those who wait for a slot do not wait for
// one that is there.
func TestSetLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := fetch.NewGate(1, time.Minute)
		running, most := 0, 0
		var mutex sync.Mutex
		add := func(n int) {
			mutex.Lock()
			defer mutex.Unlock()
			running += n
			most = max(most, running)
		}
		fetchAll := func(n int) (ended []time.Duration) {
			begun := time.Now()
			var fetches sync.WaitGroup
			for range n {
				fetches.Go(func() {
					_, err := fetch.Do(t.Context(), gate, "", func(ctx context.Context) (int, error) {
						add(1)
						defer add(-1)
						select {
						case <-time.After(10 * time.Second):
							return 0, nil
						case <-ctx.Done():
							return 0, &client.Error{Reason: client.Timeout, Err: ctx.Err()}
						}
					})
					mutex.Lock()
					defer mutex.Unlock()
					if ended = append(ended, time.Since(begun)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
				})
			}
			fetches.Wait()
			return ended
		}
		time.AfterFunc(5*time.Second, func() { gate.SetLimits(3, time.Minute) })
		if got, want := fetchAll(3), []time.Duration{10 * time.Second, 15 * time.Second, 15 * time.Second}; !slices.Equal(got, want) || most != 3 {
			t.Errorf("ended after %v, want %v; %d at a time", got, want, most)
		}
		most = 0
		time.AfterFunc(5*time.Second, func() { gate.SetLimits(1, 4*time.Second) })
		if got, want := fetchAll(5), []time.Duration{10 * time.Second, 10 * time.Second, 10 * time.Second, 14 * time.Second, 18 * time.Second}; !slices.Equal(got, want) || most != 3 {
			t.Errorf("ended after %v, want %v; %d at a time", got, want, most)
		}
	})
}
