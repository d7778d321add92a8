package fetch_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// What is known of a chatbot is what the last scrape got. Asking for it fetches nothing.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const uuid = "7f5e5376dbf045cd8c72c60f428653d1"
		shop := client.Chatbot{UUID: uuid}
		answers := api{uuid: {sessions: []client.Session{{HasLead: true}}, takes: 10 * time.Second}}
		source := newSource(answers, 1, prometheus.NewRegistry(), log.NewNopLogger())
		known := func() fetch.Known { return source.Known(client.Chatbot{UUID: "7F5E5376-DBF0-45CD-8C72-C60F428653D1"}) }
		if got := known(); got != (fetch.Known{}) {
			t.Errorf("at first: got %+v", got)
		}
		want := source.FetchAll(t.Context(), []client.Chatbot{shop})[0]
		ended := time.Now()
		if got := known(); got.Result != want || want.Err != nil || !got.Tried.Equal(midnight) || !got.Succeeded.Equal(ended) {
			t.Errorf("after a success: got %+v", got)
		}

		// Callers in a hurry, or those who leave, do not make it fail.
		before := known()
		hurried, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		source.FetchAll(hurried, []client.Chatbot{shop})
		left, leave := context.WithCancel(t.Context())
		time.AfterFunc(30*time.Second, leave)
		answers[uuid] = answer{takes: time.Hour}
		source.FetchAll(left, []client.Chatbot{shop})
		if got := known(); got.Result != before.Result {
			t.Errorf("after callers left: got %+v", got)
		}

		patient, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		source.FetchAll(patient, []client.Chatbot{shop})
		if got := known(); fetch.ReasonOf(got.Result.Err) != client.Timeout {
			t.Errorf("after a timeout: got %+v", got)
		}

		answers[uuid] = answer{err: &client.Error{Reason: client.ServerError, Status: http.StatusServiceUnavailable, RetryAfter: time.Minute}}
		tried := time.Now()
		for _, when := range []string{"after a failure", "during the pause"} {
			source.FetchAll(t.Context(), []client.Chatbot{shop})
			if got := known(); fetch.StatusOf(got.Result.Err) != http.StatusServiceUnavailable || !got.Succeeded.Equal(ended) || !got.Tried.Equal(tried) {
				t.Errorf("%s: got %+v", when, got)
			}
			time.Sleep(10 * time.Second)
		}

		answers[uuid] = answer{err: &client.Error{Reason: client.RateLimited, Status: http.StatusTooManyRequests, RetryAfter: time.Minute}}
		time.Sleep(time.Minute)
		source.FetchAll(t.Context(), []client.Chatbot{{UUID: "b"}, shop})
		other := client.Chatbot{UUID: "c"}
		source.FetchAll(t.Context(), []client.Chatbot{other})
		if got := source.Known(other); fetch.ReasonOf(got.Result.Err) != client.RateLimited || !got.Tried.IsZero() {
			t.Errorf("another one, during a pause of the account: got %+v", got)
		}
	})
}

// Nothing is remembered of targets that nobody could verify and that were not tried.
func TestKnownUnverified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newSource(api{"a": {err: &client.Error{Reason: client.NotFound, Status: http.StatusNotFound}}}, 1, prometheus.NewRegistry(), log.NewNopLogger())
		source.FetchUnverified(t.Context(), client.Chatbot{UUID: "a"})
		if got := source.Known(client.Chatbot{UUID: "a"}); got.Result != (fetch.Result{}) {
			t.Errorf("got %+v", got)
		}
	})
}

// It is known whether a fetch would be one.
func TestKnownCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newSource(api{}, 1, prometheus.NewRegistry(), log.NewNopLogger(), func(o *fetch.SourceOptions) { o.CacheTTL = time.Hour })
		a := client.Chatbot{UUID: "a"}
		source.FetchAll(t.Context(), []client.Chatbot{a})
		for _, want := range []bool{true, false} {
			if got := source.Known(a); got.Cached != want {
				t.Errorf("got %+v", got)
			}
			time.Sleep(time.Hour)
		}
	})
}
