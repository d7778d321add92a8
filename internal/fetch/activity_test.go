package fetch_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/bruteforce"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// activityServer is a server of one chatbot that filters and has ETags. It remembers its
// last answers.
type activityServer struct {
	sessions []client.Session
	clock    time.Duration // by which it is ahead
	noDate   bool
	etags    bool
	drops    bool // answers to the parameter without sessions of the future

	requests int
	now      time.Time // of the last answer, as the exporter should see it
	read     time.Time // of the last answer with a list
	part     bool      // whether that was a part of the list
	received time.Time // local time of the last answer
}

func (s *activityServer) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(300 * time.Millisecond)
	s.requests++
	s.received = time.Now()
	s.now = s.received.Add(s.clock).Truncate(time.Second)
	if s.noDate {
		s.now = s.received
	}
	var since time.Time
	if text := r.URL.Query().Get("start_timestamp"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, err
		}
	}
	var sent []modelSession
	for _, session := range s.sessions {
		if session.Created.Before(since) || s.drops && !since.IsZero() && session.Created.After(s.received) {
			continue
		}
		element := modelSession{
			id: len(sent), created: session.Created, createdJSON: "null", modified: midnight,
			lead: session.HasLead, verified: session.IdentityVerified,
		}
		if !session.Created.IsZero() {
			element.createdJSON = strconv.Quote(session.Created.Format(time.RFC3339Nano))
		}
		element.write()
		sent = append(sent, element)
	}
	response := listResponse(sent)
	response.Request = r
	if !s.noDate {
		response.Header.Set("Date", s.now.UTC().Format(http.TimeFormat))
	}
	etag := fmt.Sprintf(`"%d of %d"`, len(sent), len(s.sessions))
	if s.etags && r.Header.Get("If-None-Match") == etag {
		response.StatusCode, response.Body = http.StatusNotModified, http.NoBody
		return response, nil
	}
	if s.etags {
		response.Header.Set("ETag", etag)
	}
	s.read, s.part = s.now, !since.IsZero()
	// The body takes a while. The numbers are those of the headers all the same.
	response.Body = slowBody{response.Body}
	return response, nil
}

// slowBody takes a second to be read.
type slowBody struct{ io.ReadCloser }

func (b slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		time.Sleep(time.Second)
	}
	return n, err
}

func (s *activityServer) source(options fetch.SourceOptions) *fetch.Source {
	api := client.New(client.Config{
		URL:       &url.URL{Scheme: "http", Host: modelHost},
		Key:       func(context.Context) (string, error) { return "key", nil },
		Transport: s,
	})
	return newSource(api, 1, prometheus.NewRegistry(), log.NewNopLogger(), func(o *fetch.SourceOptions) { *o = options })
}

// check compares a result with a count by brute force.
func (s *activityServer) check(got fetch.Result, window time.Duration) error {
	if got.Err != nil {
		return got.Err
	}
	if !got.Date.Equal(s.now) || !got.Received.Equal(s.received) {
		return fmt.Errorf("got now %v, received at %v, want %v and %v", got.Date, got.Received, s.now, s.received)
	}
	want := bruteforce.Sessions{List: s.sessions, Now: s.now, Spread: s.read}.Activity()
	if s.part && s.now.Equal(s.read) {
		// Recent sessions are exact in windows that the part covers, and may be in others.
		spread := bruteforce.Sessions{List: s.sessions, Now: s.now, Spread: s.read.Add(-1)}.Activity()
		for kind := range want.Recent {
			for i := range want.Recent[kind] {
				if tally.RecentWindows[i] > window && got.Numbers.Recent[kind][i] != want.Recent[kind][i] {
					want.Recent[kind][i] = spread.Recent[kind][i]
				}
			}
			if got.Numbers.Missing[kind] != want.Missing[kind] {
				want.Missing[kind] = spread.Missing[kind]
			}
		}
	}
	if difference := bruteforce.Difference(got.Numbers.Activity, want); difference != "" {
		return fmt.Errorf("list from %v (a part: %t), now %v: %s", s.read, s.part, s.now, difference)
	}
	return nil
}

var activityModes = map[string]struct {
	options fetch.SourceOptions
	etags   bool
}{
	"full":                     {},
	"304":                      {etags: true},
	"cached":                   {options: fetch.SourceOptions{CacheTTL: 30 * time.Minute}},
	"304, cached":              {options: fetch.SourceOptions{CacheTTL: 30 * time.Minute}, etags: true},
	"incremental":              {options: fetch.SourceOptions{Window: 2 * time.Hour, FullInterval: 2 * time.Hour}},
	"incremental, 304":         {options: fetch.SourceOptions{Window: 25 * time.Hour, FullInterval: 2 * time.Hour}, etags: true},
	"incremental, 304, cached": {options: fetch.SourceOptions{Window: 25 * time.Hour, FullInterval: 2 * time.Hour, CacheTTL: 3 * time.Minute}, etags: true},
}

// Recent, usual and missing sessions are those of the contract, however they are fetched.
func TestActivity(t *testing.T) {
	lists := bruteforce.Edges(midnight)
	for days := range 41 { // package tally tests all of them
		delete(lists, fmt.Sprintf("silent for %d days, 30 days old", days))
		if days%7 > 1 {
			delete(lists, fmt.Sprintf("silent for %d days", days))
		}
	}
	for seed := range uint64(4) {
		lists[fmt.Sprint("random ", seed)] = bruteforce.Random(rand.New(rand.NewPCG(seed, 8)), midnight, 200)
	}
	steps := []time.Duration{0, time.Minute, 4 * time.Minute, 40 * time.Minute, 3 * time.Hour, 25 * time.Hour}
	for name, mode := range activityModes {
		for _, grows := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, the list grows: %t", name, grows), func(t *testing.T) {
				t.Parallel()
				n := 0
				for list, sessions := range lists {
					n++
					synctest.Test(t, func(t *testing.T) {
						server := &activityServer{
							sessions: slices.Clone(sessions), etags: mode.etags,
							clock: []time.Duration{0, time.Hour, -time.Hour}[n%3], noDate: n%4 == 0,
						}
						source := server.source(mode.options)
						var last fetch.Result
						for i, step := range steps {
							time.Sleep(step)
							if grows && i > 0 {
								server.sessions = append(server.sessions, client.Session{
									Created: time.Now().Add(server.clock - time.Minute).Truncate(time.Millisecond), HasLead: i%2 == 0,
								})
							}
							requests := server.requests
							got := fetchOne(t.Context(), source, modelled)
							if server.requests == requests {
								if got != last || step >= mode.options.CacheTTL {
									t.Errorf("%s, step %d: not the numbers of the cache", list, i)
								}
								continue
							}
							if last = got; step < mode.options.CacheTTL && i > 0 {
								t.Errorf("%s, step %d: not from the cache", list, i)
							}
							if err := server.check(got, mode.options.Window); err != nil {
								t.Errorf("%s, step %d, clock %v: %v", list, i, server.clock, err)
							}
						}
					})
				}
			})
		}
	}
}

// The clock of a server that was wrong spoils no later numbers, also where the list did not
// change meanwhile. An unchanged list is fetched again only where the clock went back, or
// where it skipped sessions.
func TestWrongClock(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	for name, mode := range activityModes {
		if mode.options.CacheTTL > 0 {
			continue
		}
		for _, clock := range []time.Duration{10 * day, 4 * day, 3 * hour, 20 * time.Second, -20 * time.Second, -3 * hour, -4 * day, -10 * day, -60 * day} {
			synctest.Test(t, func(t *testing.T) {
				server := &activityServer{sessions: bruteforce.Every(midnight, 2*time.Hour, 50*day, 0), etags: mode.etags}
				for i := range server.sessions {
					if mode.options.Window > 0 {
						// Missing sessions of the other kinds may be partly exact.
						server.sessions[i].HasLead, server.sessions[i].IdentityVerified = false, false
					}
				}
				source := server.source(mode.options)
				for i, ahead := range []time.Duration{clock, 0, 0, clock, clock, 0, 0} {
					server.clock = ahead
					requests := server.requests
					// The part may begin later, by the clock of the list before.
					err := server.check(fetchOne(t.Context(), source, modelled), mode.options.Window-clock.Abs())
					if err != nil && clock.Abs() > time.Minute {
						t.Errorf("%s, step %d, clock %v: %v", name, i, ahead, err)
					}
					requests = server.requests - requests
					if same := i%2 == 0; requests != 1 && (same || clock.Abs() < 20*hour) {
						t.Errorf("%s, step %d, clock %v: %d requests, want 1", name, i, ahead, requests)
					}
					time.Sleep(time.Minute)
				}
			})
		}
	}
}

// Sessions dated far in the future do not make each new session fetch the whole list. If the
// server leaves them out, it is noticed all the same.
func TestIncrementalWithFuture(t *testing.T) {
	for _, ahead := range []time.Duration{3 * time.Hour, 60 * time.Hour, 200 * 365 * 24 * time.Hour} {
		for _, drops := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				server := &activityServer{sessions: bruteforce.Every(midnight, 30*time.Minute, 50*24*time.Hour, 0)}
				future := client.Session{Created: midnight.Add(ahead)}
				server.sessions = append(server.sessions, future)
				server.drops = drops
				source := server.source(fetch.SourceOptions{Window: 6 * time.Hour, FullInterval: time.Hour})
				for i := range 10 {
					time.Sleep(time.Minute)
					server.sessions = append(server.sessions, client.Session{Created: time.Now().Add(-time.Second).Truncate(time.Millisecond)})
					requests := server.requests
					got := fetchOne(t.Context(), source, modelled)
					if got.Err != nil || got.Numbers.Sessions != len(server.sessions) {
						t.Errorf("scrape %d, %v ahead, drops %t: %d sessions, want %d; %v", i, ahead, drops, got.Numbers.Sessions, len(server.sessions), got.Err)
					}
					if n := server.requests - requests; !drops && n != 1 && ahead > 50*time.Hour {
						t.Errorf("scrape %d, %v ahead: %d requests, want 1", i, ahead, n)
					}
				}
			})
		}
	}
}

// Dates that are all ahead, as local times of the east, do not disturb incremental mode.
func TestIncrementalInTheEast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &activityServer{sessions: bruteforce.Every(midnight, 30*time.Minute, 50*24*time.Hour, 0), clock: -9 * time.Hour}
		source := server.source(fetch.SourceOptions{Window: 6 * time.Hour, FullInterval: time.Hour})
		for i := range 10 {
			time.Sleep(time.Minute)
			server.sessions = append(server.sessions, client.Session{Created: time.Now().Add(-time.Second).Truncate(time.Millisecond)})
			requests := server.requests
			got := fetchOne(t.Context(), source, modelled)
			if n := server.requests - requests; n != 1 || server.part != (i > 0) || got.Err != nil || got.Numbers.Sessions != len(server.sessions) {
				t.Errorf("scrape %d: %d requests, a part: %t; %d sessions, want %d; %v", i, n, server.part, got.Numbers.Sessions, len(server.sessions), got.Err)
			}
		}
	})
}

// A chatbot takes at most 35 kB between scrapes, whatever the mode.
func TestActivityMemory(t *testing.T) {
	const n, maxKept = 300, 35_000
	for name, mode := range activityModes {
		synctest.Test(t, func(t *testing.T) {
			server := &activityServer{sessions: bruteforce.Every(midnight, 12*time.Hour, 40*24*time.Hour, 0), etags: mode.etags}
			source := server.source(mode.options)
			chatbots := make([]client.Chatbot, n)
			for i := range chatbots {
				chatbots[i].UUID = fmt.Sprintf("%032x", i)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.GC() // empties pools
			runtime.ReadMemStats(&before)
			for range 3 {
				for _, result := range source.FetchAll(t.Context(), chatbots) {
					if result.Err != nil {
						t.Fatal(result.Err)
					}
				}
				time.Sleep(time.Minute)
			}
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&after)
			kept := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
			t.Logf("%s: %d bytes a chatbot", name, kept)
			if kept > maxKept {
				t.Errorf("%s: a chatbot takes %d bytes, want %d at most", name, kept, maxKept)
			}
			runtime.KeepAlive(source)
		})
	}
}
