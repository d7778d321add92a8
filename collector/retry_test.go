package collector_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

// tries answers requests one after the other, the last answer for ever, and
// remembers when they came.
type tries struct {
	api
	answers []answer
	at      []time.Time
}

func (a *tries) Sessions(ctx context.Context, chatbot string, since time.Time, known *client.Validator) iter.Seq2[client.Session, error] {
	a.at = append(a.at, time.Now())
	return api{chatbot: a.answers[min(len(a.at), len(a.answers))-1]}.Sessions(ctx, chatbot, since, known)
}

func TestRetry(t *testing.T) {
	transient := answer{
		sessions: []client.Session{{HasLead: true}, {HasLead: true}},
		err:      &client.Error{Reason: client.Network, Transient: true, Err: errors.New("cut off")},
	}
	badGateway := answer{err: &client.Error{Reason: client.ServerError, Status: 502, Transient: true}}
	permanent := answer{err: &client.Error{Reason: client.NotFound, Status: 404}}
	good := answer{sessions: []client.Session{{HasLead: true}}}
	slow := transient
	slow.takes = 59950 * time.Millisecond // of the minute that a fetch may take
	tests := map[string]struct {
		answers []answer
		tries   int
		want    client.Reason // none: a session
	}{
		"at once":                      {[]answer{good}, 1, ""},
		"second try":                   {[]answer{transient, good}, 2, ""},
		"third try":                    {[]answer{badGateway, transient, good}, 3, ""},
		"there is no fourth":           {[]answer{transient, transient, badGateway, good}, 3, client.ServerError},
		"not transient":                {[]answer{permanent, good}, 1, client.NotFound},
		"not transient at second try":  {[]answer{transient, permanent, good}, 2, client.NotFound},
		"no time left for another try": {[]answer{slow, good}, 1, client.Network},
		"no time left in another try":  {[]answer{{takes: 58 * time.Second, err: badGateway.err}, slow, good}, 2, client.Timeout},
	}
	waits := map[time.Duration]bool{} // before the second try
	defer func() {
		if len(waits) < 2 {
			t.Errorf("all waited %v before the second try", waits)
		}
	}()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				registry := prometheus.NewRegistry()
				var logged bytes.Buffer
				tries := &tries{answers: test.answers}
				source := newSource(tries, 1, registry, log.NewLogfmtLogger(&logged))
				got := fetch(t.Context(), source, "a")
				if len(tries.at) != test.tries {
					t.Errorf("tried %d times, want %d", len(tries.at), test.tries)
				}
				if len(tries.at) == 3 {
					waits[tries.at[1].Sub(tries.at[0])] = true
				}
				for i := 1; i < len(tries.at); i++ {
					took := test.answers[i-1].takes
					shortest := time.Duration(i) * 125 * time.Millisecond
					if wait := tries.at[i].Sub(tries.at[i-1]) - took; wait < shortest || wait > 3*shortest {
						t.Errorf("waited %v before try %d, want %v to %v", wait, i+1, shortest, 3*shortest)
					}
				}
				if test.want == "" {
					if got.Err != nil || got.Summary.Sessions != 1 || got.Summary.WithLead != 1 || logged.Len() > 0 {
						t.Errorf("got %+v, logged %s", got, &logged)
					}
					return
				}
				var failure *client.Error
				if !errors.As(got.Err, &failure) || failure.Reason != test.want || got.Summary != (collector.Summary{}) {
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

// While the API wants no requests none is sent, for any chatbot; fetches fail at
// once and are not logged. Then everything goes on by itself.
func TestPause(t *testing.T) {
	for _, reason := range []client.Reason{client.RateLimited, client.ServerError} {
		t.Run(string(reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				registry := prometheus.NewRegistry()
				var logged bytes.Buffer
				tries := &tries{answers: []answer{
					{err: &client.Error{Reason: reason, Status: 429, RetryAt: start.Add(time.Minute)}}, {},
				}}
				source := newSource(tries, 1, registry, log.NewLogfmtLogger(&logged))
				reasonOf := func(chatbot string) client.Reason {
					var failure *client.Error
					if errors.As(fetch(t.Context(), source, chatbot).Err, &failure) {
						return failure.Reason
					}
					return ""
				}
				if got := reasonOf("a"); got != reason {
					t.Errorf("got %q, want %q", got, reason)
				}
				time.Sleep(time.Minute - time.Nanosecond)
				for _, chatbot := range []string{"a", "b", "b"} {
					if got := reasonOf(chatbot); got != client.RateLimited {
						t.Errorf("%s: got %q during the pause", chatbot, got)
					}
				}
				if took := time.Since(start); took != time.Minute-time.Nanosecond || len(tries.at) != 1 {
					t.Errorf("sent %d requests, waited until %v", len(tries.at), took)
				}
				time.Sleep(time.Nanosecond)
				if got := reasonOf("a") + reasonOf("b"); got != "" {
					t.Errorf("got %q after the pause", got)
				}
				want := map[string]float64{string(client.RateLimited): 3}
				want[string(reason)]++
				if got := failures(t, registry); !maps.Equal(got, want) {
					t.Errorf("counted %v, want %v", got, want)
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
			return answer{takes: takes, err: &client.Error{Reason: client.RateLimited, Status: 429, RetryAt: time.Now().Add(pause)}}
		}
		counting := &counting{api: api{
			"long": limited(time.Hour, time.Second), "short": limited(time.Minute, 2*time.Second), "waiting": {},
		}}
		source := newSource(counting, 2, prometheus.NewRegistry(), log.NewNopLogger())
		var fetches sync.WaitGroup
		for _, chatbot := range []string{"long", "short"} {
			fetches.Go(func() { fetch(t.Context(), source, chatbot) })
		}
		synctest.Wait()
		start := time.Now()
		got := fetch(t.Context(), source, "waiting")
		if took := time.Since(start); got.Err == nil || took != time.Second {
			t.Errorf("the one who waited got %v after %v", got.Err, took)
		}
		fetches.Wait()
		time.Sleep(time.Hour - 3*time.Second)
		if got := fetch(t.Context(), source, "waiting"); got.Err == nil {
			t.Error("the shorter pause ended the longer one")
		}
		time.Sleep(3 * time.Second)
		if got := fetch(t.Context(), source, "waiting"); got.Err != nil {
			t.Errorf("after the pause: %v", got.Err)
		}
	})
}

// A fetch has its own time, however long those before it took.
func TestFetchTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newSource(api{"slow": {takes: time.Hour}, "fast": {takes: time.Second}}, 1, prometheus.NewRegistry(), log.NewNopLogger())
		start := time.Now()
		if got := fetch(t.Context(), source, "slow"); got.Err == nil || got.Took != time.Minute {
			t.Errorf("slow: got %+v, want a timeout of a minute", got)
		}
		if got := fetch(t.Context(), source, "fast"); got.Err != nil || time.Since(start) != 61*time.Second {
			t.Errorf("fast: got %+v after %v", got, time.Since(start))
		}
	})
}
