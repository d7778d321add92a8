package fetch_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// waitedFor is an API that counts its requests for sessions.
type waitedFor struct {
	api
	requests *atomic.Int64
}

func (w waitedFor) Sessions(ctx context.Context, chatbot string, options client.SessionsOptions) (*client.SessionsResponse, error) {
	w.requests.Add(1)
	return w.api.Sessions(ctx, chatbot, options)
}

// Scrapes that wait for the same chatbots need few goroutines, as each takes memory.
// When all have left, no further request begins.
func TestManyWait(t *testing.T) {
	const chatbots, scrapes = 200, 20
	synctest.Test(t, func(t *testing.T) {
		answers, wanted := api{}, []client.Chatbot{}
		for i := range chatbots {
			wanted = append(wanted, client.Chatbot{UUID: fmt.Sprintf("%032x", i)})
			answers[wanted[i].UUID] = answer{takes: time.Hour}
		}
		counted := waitedFor{answers, new(atomic.Int64)}
		source := newSource(counted, 4, prometheus.NewRegistry(), log.NewNopLogger())
		ctx, leave := context.WithCancel(t.Context())
		var waits sync.WaitGroup
		for range scrapes {
			waits.Go(func() {
				if results := source.FetchAll(ctx, wanted); len(results) != chatbots || results[0].Err == nil || results[chatbots-1].Err == nil {
					t.Errorf("got %v", results)
				}
			})
		}
		synctest.Wait()
		if n := runtime.NumGoroutine(); n > 2*scrapes {
			t.Errorf("%d goroutines", n)
		}
		leave()
		waits.Wait()
		synctest.Wait()
		if n := counted.requests.Load(); n != 4 {
			t.Errorf("the API got %d requests, want 4", n)
		}
	})
}
