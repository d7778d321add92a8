package collector_test

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
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
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
				if got := fetch(t.Context(), source, "a"); got.Err != nil || got.Summary.Sessions != 3 || !got.Finished.Equal(midnight.Add(time.Second)) {
					t.Errorf("got %+v", got)
				}
			})
		}
		scrapes.Wait()
		if len(tries.at) != 1 {
			t.Errorf("sent %d requests, want 1", len(tries.at))
		}
		if got := fetch(t.Context(), source, "a"); got.Err != nil || len(tries.at) != 2 {
			t.Errorf("after the fetch: got %+v and %d requests, want a new one", got, len(tries.at))
		}
	})
}

// Whoever leaves a shared fetch, be it the one who began it, does not spoil it for
// the others; when all have left, it ends.
func TestLeave(t *testing.T) {
	newSource := func() (*collector.Source, *tries, *prometheus.Registry, *bytes.Buffer) {
		tries := &tries{answers: []answer{{takes: 10 * time.Second}}}
		registry, logged := prometheus.NewRegistry(), &bytes.Buffer{}
		return newSource(tries, 2, registry, log.NewLogfmtLogger(logged)), tries, registry, logged
	}
	// scrape fetches with a context that ends after a time.
	scrape := func(source *collector.Source, after time.Duration, end func(context.Context, time.Duration) (context.Context, context.CancelFunc)) chan collector.Fetch {
		got := make(chan collector.Fetch, 1)
		go func() {
			ctx, cancel := end(context.Background(), after)
			defer cancel()
			got <- fetch(ctx, source, "a")
		}()
		synctest.Wait()
		return got
	}
	disconnect := func(ctx context.Context, after time.Duration) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(after, cancel)
		return ctx, cancel
	}
	wantTimeout := func(t *testing.T, got collector.Fetch, at time.Duration) {
		t.Helper()
		var failure *client.Error
		if !errors.As(got.Err, &failure) || failure.Reason != client.Timeout || got.Finished.Sub(midnight) != at {
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
			// One has timed out, so that may hang, and who comes now tries anew.
			fourth := scrape(source, 20*time.Second, context.WithTimeout)
			if len(tries.at) != 2 {
				t.Errorf("sent %d requests, want 2", len(tries.at))
			}
			for scrape, finished := range map[chan collector.Fetch]time.Duration{third: 10 * time.Second, fourth: 15 * time.Second} {
				if got := <-scrape; got.Err != nil || got.Took != 10*time.Second || !got.Finished.Equal(midnight.Add(finished)) {
					t.Errorf("got %+v, want it at %v", got, finished)
				}
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
			if got := fetch(t.Context(), source, "a"); got.Err != nil || len(tries.at) != 2 {
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
			if got := fetch(t.Context(), source, "a"); got.Err != nil || len(tries.at) != 2 {
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
		var chatbots []collector.Chatbot
		for i := range 10 {
			chatbot := collector.Chatbot{UUID: fmt.Sprint("hangs ", i)}
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
