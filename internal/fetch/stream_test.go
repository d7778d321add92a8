package fetch_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// countEach returns a reader that counts anew in each try.
func countEach(n *int) func(iter.Seq2[client.Session, error]) error {
	return func(sessions iter.Seq2[client.Session, error]) error {
		*n = 0
		for _, err := range sessions {
			if err != nil {
				return err
			}
			*n++
		}
		return nil
	}
}

func TestRead(t *testing.T) {
	good := answer{sessions: []client.Session{{}, {}}}
	cutOff := answer{
		sessions: []client.Session{{}},
		err:      &client.Error{Reason: client.Network, Transient: true, Err: errors.New("cut off")},
	}
	limited := func(wait time.Duration) answer {
		return answer{err: &client.Error{Reason: client.RateLimited, Status: 429, RetryAfter: wait}}
	}
	tests := map[string]struct {
		answers []answer
		tries   int
		takes   time.Duration // if known
		want    []string      // parts of the error; none: no error
	}{
		"at once":       {[]answer{good}, 1, 0, nil},
		"cut off":       {[]answer{cutOff, cutOff, good}, 3, 0, nil},
		"cut off again": {[]answer{cutOff}, 3, 0, []string{"cut off", "check the base URL"}},
		"refused": {[]answer{{err: &client.Error{Reason: client.Unauthorized, Status: 403}}}, 1, 0,
			[]string{"403 Forbidden", "check that the API key"}},
		"a pause that fits": {[]answer{limited(20 * time.Second), limited(30 * time.Second), good}, 3, 50 * time.Second, nil},
		"a pause that does not": {[]answer{limited(20 * time.Second), limited(40 * time.Second), good}, 2, 20 * time.Second,
			[]string{"429", "try again after 2000-01-01T00:01:00Z", "raise the timeout of fetches"}},
		"a pause with 503": {[]answer{{err: &client.Error{Reason: client.ServerError, Status: 503, RetryAfter: time.Second}}, good}, 2, time.Second, nil},
		"never ends":       {[]answer{{takes: time.Hour}}, 1, time.Minute, []string{"deadline", "raise the timeout of fetches,"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := &tries{answers: test.answers}
				source := newSource(tries, 1, prometheus.NewRegistry(), log.NewNopLogger())
				defer func() {
					time.Sleep(time.Hour)
					tries.answers = []answer{good}
					if n := 0; source.Stream(t.Context(), client.Chatbot{UUID: "a"}, countEach(&n)) != nil || n != 2 {
						t.Errorf("the next got %d sessions", n)
					}
				}()
				n := 0
				err := source.Stream(t.Context(), client.Chatbot{UUID: "a", Name: "Shop"}, countEach(&n))
				if len(tries.at) != test.tries || test.takes > 0 && time.Since(midnight) != test.takes {
					t.Errorf("tried %d times in %v", len(tries.at), time.Since(midnight))
				}
				if test.want == nil {
					if err != nil || n != 2 {
						t.Errorf("got %d sessions, %v", n, err)
					}
					return
				}
				for _, part := range append(test.want, `chatbot a ("Shop")`) {
					if err == nil || !strings.Contains(err.Error(), part) {
						t.Errorf("got %v, want %s", err, part)
					}
				}
			})
		})
	}
}

// Whoever ends a Read, while it fetches, waits for its turn or for the end of a
// pause, learns why.
func TestReadEnds(t *testing.T) {
	enough := errors.New("enough")
	for name, first := range map[string]answer{
		"fetching": {takes: time.Hour},
		"pausing":  {err: &client.Error{Reason: client.RateLimited, RetryAfter: 30 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := newSource(&tries{answers: []answer{first}}, 1, prometheus.NewRegistry(), log.NewNopLogger())
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(enough) })
				ended := make(chan error)
				for range 2 { // the second waits for its turn
					go func() { ended <- source.Stream(ctx, client.Chatbot{UUID: "a"}, countEach(new(int))) }()
				}
				for range 2 {
					if err := <-ended; !errors.Is(err, enough) || time.Since(midnight) != time.Second {
						t.Errorf("got %v after %v", err, time.Since(midnight))
					}
				}
			})
		})
	}
}
