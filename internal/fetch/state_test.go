package fetch_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

const modelled = "7f5e5376dbf045cd8c72c60f428653d1"

// model is an account with one chatbot whose sessions can be changed, and a
// transport to it that needs no network, so that the clock can be the test's.
type model struct {
	sessions map[int]simulator.Session
	account  simulator.Account
	failing  bool
	forbids  int    // the status that answers a query, or 0
	etag     string // of whatever is answered, or none
	partETag string // of what is answered to a query, if that has one of its own
	// fails answers a request in place of the account, unless it returns neither response
	// nor error.
	fails     func(*http.Request) (*http.Response, error)
	requests  []*http.Request
	responses []int // their bodies' length
}

// noETag is the partETag of a server that gives none to what is answered to a query.
const noETag = "none"

func newModel() *model {
	m := &model{sessions: map[int]simulator.Session{}}
	m.account = simulator.Account{Key: "key", Chatbots: []simulator.Chatbot{{UUID: modelled,
		Sessions: func(time.Time) iter.Seq[simulator.Session] {
			return func(yield func(simulator.Session) bool) {
				for _, number := range slices.Sorted(maps.Keys(m.sessions)) {
					if !yield(m.sessions[number]) {
						return
					}
				}
			}
		}}}}
	return m
}

func (m *model) RoundTrip(request *http.Request) (*http.Response, error) {
	m.requests = append(m.requests, request)
	if m.fails != nil {
		if response, err := m.fails(request); response != nil || err != nil {
			return response, err
		}
	}
	response := httptest.NewRecorder()
	etag := m.etag
	if request.URL.RawQuery != "" && m.partETag != "" {
		etag = strings.TrimPrefix(m.partETag, noETag)
	}
	switch {
	case m.failing:
		response.WriteHeader(http.StatusInternalServerError)
	case m.forbids != 0 && request.URL.RawQuery != "":
		response.WriteHeader(m.forbids)
	case etag != "" && request.Header.Get("If-None-Match") == etag:
		response.WriteHeader(http.StatusNotModified)
	default:
		if etag != "" {
			response.Header().Set("ETag", etag)
		}
		m.account.ServeHTTP(response, request)
	}
	m.responses = append(m.responses, response.Body.Len())
	return response.Result(), nil
}

// source returns a new Source on the model, as after a restart.
func (m *model) source(logger log.Logger, changes ...func(*fetch.SourceOptions)) *fetch.Source {
	api := client.New(client.Config{
		URL:       &url.URL{Scheme: "http", Host: "api.example"},
		Key:       func(context.Context) (string, error) { return "key", nil },
		Transport: m,
	})
	return newSource(api, 1, prometheus.NewRegistry(), logger, changes...)
}

// tally counts the sessions in the simplest way.
func (m *model) tally() (want tally.Counts) {
	for _, session := range m.sessions {
		want.Sessions++
		if session.Lead {
			want.WithLead++
		}
		if session.Verified {
			want.WithVerifiedIdentity++
		}
		if session.Created.IsZero() {
			want.Malformed++
		}
		if session.Created.After(want.LastCreated) {
			want.LastCreated = session.Created.UTC()
		}
		if session.Modified.After(want.LastModified) {
			want.LastModified = session.Modified.UTC()
		}
	}
	return want
}

// Random histories, through servers that filter and servers that do not, have at
// each scrape the numbers of a full count.
func TestIncrementalModel(t *testing.T) {
	const window, interval = 2 * time.Hour, 6 * time.Hour
	servers := map[string]func(*model){
		"filters":      func(*model) {},
		"ignores":      func(m *model) { m.account.IgnoreTimestamps = true },
		"answers 400":  func(m *model) { m.forbids = 400 },
		"answers 422":  func(m *model) { m.forbids = 422 },
		"changes ways": func(m *model) { m.account.IgnoreTimestamps = rand.N(2) == 0 },
	}
	for name, change := range servers {
		for seed := range uint64(8) {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					random := rand.New(rand.NewPCG(seed, 0))
					m := newModel()
					var logged bytes.Buffer
					newSource := func() *fetch.Source {
						return m.source(log.NewLogfmtLogger(&logged), incremental(window, interval))
					}
					source := newSource()
					number, stale, filtered := 0, false, 0
					for range 100 {
						time.Sleep(time.Duration(1+random.IntN(30)) * time.Minute)
						change(m)
						now := time.Now()
						for range random.IntN(5) {
							number++
							m.sessions[number] = simulator.Session{Number: number, Created: now.Add(-time.Duration(random.IntN(100)) * time.Second), Modified: now,
								Lead: random.IntN(4) == 0, Verified: random.IntN(4) == 0}
							if random.IntN(50) == 0 { // which the sums of recent sessions cannot know
								m.sessions[number] = simulator.Session{Number: number, Modified: now}
								stale = true
							}
						}
						for _, n := range slices.Sorted(maps.Keys(m.sessions)) {
							session := m.sessions[n]
							recent := session.Created.After(now.Add(-window))
							switch {
							case recent && random.IntN(10) == 0:
								session.Lead, session.Modified = true, now
								m.sessions[n] = session
							case recent && random.IntN(50) == 0, random.IntN(500) == 0:
								delete(m.sessions, n)
								stale = stale || !recent
							}
						}
						if random.IntN(20) == 0 {
							source = newSource() // restarted
						}
						m.failing = random.IntN(15) == 0
						m.requests = nil
						got := fetchOne(t.Context(), source, modelled)
						if m.failing != (got.Err != nil) {
							t.Fatalf("got %v while the server fails: %t", got.Err, m.failing)
						}
						if got.Err != nil {
							continue
						}
						if last := m.requests[len(m.requests)-1]; last.URL.RawQuery == "" {
							stale = false
						} else {
							filtered++
						}
						if want := m.tally(); !stale && got.Numbers.Counts != want {
							t.Fatalf("at %v got %+v\nwant %+v", now, got.Numbers.Counts, want)
						}
					}
					if name == "filters" && filtered < 50 {
						t.Errorf("only %d of 100 fetches were incremental", filtered)
					}
					if told := strings.Contains(logged.String(), "does not filter"); name != "changes ways" && told != (name != "filters") {
						t.Errorf("logged %s", &logged)
					}
				})
			})
		}
	}
}

// The whole list is asked for once an interval; in between the parameter is the
// cut-off in the documented format, and a session at the cut-off counts once.
func TestIncremental(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		for i, created := range []time.Duration{-49, -48, -47} {
			m.sessions[i] = simulator.Session{Number: i, Created: midnight.Add(created * time.Hour), Modified: midnight, Lead: true}
		}
		m.sessions[3] = simulator.Session{Number: 3, Modified: midnight}
		time.Sleep(300 * time.Millisecond)
		source := m.source(log.NewNopLogger(), incremental(48*time.Hour, time.Hour))
		for range 8 {
			if got := fetchOne(t.Context(), source, modelled); got.Err != nil || got.Numbers.Counts != m.tally() {
				t.Errorf("got %+v, want %+v", got, m.tally())
			}
			time.Sleep(10 * time.Minute)
		}
		var queries []string
		for _, request := range m.requests {
			queries = append(queries, request.URL.RawQuery)
		}
		const first, second = "start_timestamp=1999-12-30T00%3A00%3A00.000Z", "start_timestamp=1999-12-30T01%3A00%3A00.000Z"
		if want := []string{"", first, first, first, first, first, "", second}; !slices.Equal(queries, want) {
			t.Errorf("asked %q, want %q", queries, want)
		}
		if m.responses[1] >= m.responses[0] {
			t.Errorf("the answers had %v bytes", m.responses)
		}
	})
}

// A server that does not filter is asked for the whole list for a day, and the log says
// so once.
func TestUnfiltered(t *testing.T) {
	for _, status := range []int{0, http.StatusBadRequest, http.StatusUnprocessableEntity} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel()
				m.forbids, m.account.IgnoreTimestamps = status, status == 0
				m.sessions[0] = simulator.Session{Created: midnight.Add(-49 * time.Hour), Modified: midnight}
				m.sessions[1] = simulator.Session{Number: 1, Created: midnight.Add(-time.Hour), Modified: midnight}
				m.sessions[2] = simulator.Session{Number: 2, Modified: midnight}
				var logged bytes.Buffer
				source := m.source(log.NewLogfmtLogger(&logged), incremental(48*time.Hour, 5*time.Hour))
				for range 8 {
					if got := fetchOne(t.Context(), source, modelled); got.Err != nil || got.Numbers.Counts != m.tally() {
						t.Errorf("got %+v, want %+v", got, m.tally())
					}
					time.Sleep(4 * time.Hour)
				}
				filtered := 0
				for _, request := range m.requests {
					if request.URL.RawQuery != "" {
						filtered++
					}
				}
				if filtered != 2 || strings.Count(logged.String(), "\n") != 2 || !strings.Contains(logged.String(), "until=2000-01-02T04:00:00Z") {
					t.Errorf("asked to filter %d times in more than a day, logged %s", filtered, &logged)
				}
			})
		})
	}
}

// A list that came between two intervals, for want of a filter, is what the next 304
// is about.
func TestUnfilteredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		for i := range 5 {
			m.sessions[i] = simulator.Session{Number: i, Created: midnight.Add(-72 * time.Hour), Modified: midnight}
		}
		source := m.source(log.NewNopLogger(), incremental(48*time.Hour, time.Hour))
		for i := range 14 {
			m.forbids, m.etag = 0, `"before"`
			if i == 1 {
				m.forbids = http.StatusBadRequest
				delete(m.sessions, 0)
			}
			if i > 0 {
				m.etag = `"after"`
			}
			if got := fetchOne(t.Context(), source, modelled); got.Err != nil || got.Numbers.Counts != m.tally() {
				t.Errorf("step %d: got %+v, want %+v", i, got, m.tally())
			}
			time.Sleep(10 * time.Minute)
		}
	})
}

// Off, no parameter is sent.
func TestNoWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		source := m.source(log.NewNopLogger())
		for range 3 {
			fetchOne(t.Context(), source, modelled)
			time.Sleep(time.Hour)
		}
		for _, request := range m.requests {
			if request.URL.RawQuery != "" || len(m.requests) != 3 {
				t.Errorf("asked %s", request.URL)
			}
		}
	})
}

// A list that is not modified is not sent again; the numbers count as fresh.
func TestConditional(t *testing.T) {
	for _, window := range []time.Duration{0, time.Hour} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel()
				source := m.source(log.NewNopLogger(), incremental(window, 5*time.Hour))
				for i, step := range []struct {
					etag string
					sent bool // a list
				}{{`"a"`, true}, {`"a"`, window > 0}, {`"a"`, false}, {`"b"`, true}, {`"b"`, false}, {"", true}, {"", true}, {`W/"c"`, true}, {`W/"c"`, false}} {
					if step.etag != m.etag {
						m.etag = step.etag
						m.sessions[i] = simulator.Session{Number: i, Created: time.Now(), Modified: time.Now()}
					}
					got := fetchOne(t.Context(), source, modelled)
					if got.Err != nil || got.Numbers.Counts != m.tally() || !got.Finished.Equal(time.Now()) {
						t.Errorf("step %d: got %+v, want %+v", i, got, m.tally())
					}
					if sent := m.responses[len(m.responses)-1] > 0; sent != step.sent {
						t.Errorf("step %d: a list was sent: %t", i, sent)
					}
					time.Sleep(time.Hour)
				}
			})
		})
	}
}

// A server may have an ETag for the whole list and one for the recent sessions that
// it is asked for, which stays while these do, also when another time is asked for.
func TestConditionalParts(t *testing.T) {
	const whole, part, nothing = "whole", "part", "nothing"
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		versions := map[string]int{}
		add := func(age time.Duration, changes ...string) {
			number := len(m.sessions)
			m.sessions[number] = simulator.Session{Number: number, Created: time.Now().Add(-age), Modified: time.Now(), Lead: number%2 == 0}
			for _, list := range changes {
				versions[list]++
			}
			m.etag, m.partETag = fmt.Sprintf(`"whole %d"`, versions[whole]), fmt.Sprintf(`"part %d"`, versions[part])
		}
		add(5*time.Hour, whole)
		add(110*time.Minute, whole, part) // recent for ten minutes
		add(30*time.Minute, whole, part)
		source := m.source(log.NewNopLogger(), incremental(2*time.Hour, time.Hour))
		for i, step := range []struct {
			added string // before it: to the sessions before the cut-off, after it, or to neither
			asked string // for which
			sent  bool   // or not modified
		}{
			// The first full list.
			{nothing, whole, true},
			{nothing, part, true},
			{nothing, part, false},
			{part, part, true},
			{nothing, part, false},
			{nothing, part, false},
			// The second. Sessions that were recent no longer are.
			{whole, whole, true},
			{nothing, part, true},
			{nothing, part, false},
			{part, part, true},
			{part, part, true},
			{nothing, part, false},
			// The third, after sessions that were recent alone.
			{nothing, whole, true},
			{nothing, part, true},
			{part, part, true},
			{nothing, part, false},
			{nothing, part, false},
			{nothing, part, false},
			// The fourth and, as nothing came, the fifth. The cut-off stays.
			{nothing, whole, true},
			{nothing, part, true},
			{nothing, part, false},
			{nothing, part, false},
			{nothing, part, false},
			{nothing, part, false},
			{nothing, whole, false},
			{nothing, part, false},
			{part, part, true},
			{nothing, part, false},
		} {
			switch step.added {
			case whole:
				add(4*time.Hour, whole)
			case part:
				add(time.Minute, whole, part)
			}
			if got := fetchOne(t.Context(), source, modelled); got.Err != nil || got.Numbers.Counts != m.tally() {
				t.Errorf("step %d: got %+v, want %+v", i, got, m.tally())
			}
			asked := whole
			if m.requests[len(m.requests)-1].URL.RawQuery != "" {
				asked = part
			}
			if sent := m.responses[i] > 0; asked != step.asked || sent != step.sent || len(m.requests) != i+1 {
				t.Errorf("step %d: asked for the %s, a list was sent: %t, after %d requests", i, asked, sent, len(m.requests))
			}
			time.Sleep(10 * time.Minute)
		}
	})
}

// Sessions without a readable creation time that a server has in each answer are
// no sign that it does not filter, and count once.
func TestUndated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := &tries{answers: []answer{{sessions: []client.Session{
			{Created: midnight.Add(-time.Minute), HasLead: true}, {Malformed: true, HasLead: true},
		}}}}
		var logged bytes.Buffer
		source := newSource(tries, 1, prometheus.NewRegistry(), log.NewLogfmtLogger(&logged), incremental(time.Hour, time.Hour))
		want := tally.Counts{Sessions: 2, WithLead: 2, Malformed: 1, LastCreated: midnight.Add(-time.Minute)}
		for i := range 3 {
			if got := fetchOne(t.Context(), source, "a"); got.Err != nil || got.Numbers.Counts != want {
				t.Errorf("fetch %d: got %+v, want %+v", i, got, want)
			}
		}
		if len(tries.at) != 3 || logged.Len() > 0 {
			t.Errorf("sent %d requests, logged %s", len(tries.at), &logged)
		}
	})
}

// Numbers younger than the TTL are had again, older ones and failures are not.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := &tries{answers: []answer{
			{err: &client.Error{Reason: client.NotFound, Status: 404}},
			{takes: time.Second, sessions: make([]client.Session, 1)},
			{takes: time.Second, sessions: make([]client.Session, 2)},
			{err: &client.Error{Reason: client.NotFound, Status: 404}},
		}}
		source := newSource(tries, 1, prometheus.NewRegistry(), log.NewNopLogger(), caching(time.Minute))
		for i, step := range []struct {
			after    time.Duration // from midnight
			sessions int           // 0: a failure
			finished time.Duration
			requests int
		}{
			{0, 0, 0, 1},
			{0, 1, time.Second, 2},
			{2 * time.Second, 1, time.Second, 2},
			{61*time.Second - time.Nanosecond, 1, time.Second, 2},
			{61 * time.Second, 2, 62 * time.Second, 3},
			{121 * time.Second, 2, 62 * time.Second, 3},
			{122 * time.Second, 0, 122 * time.Second, 4},
			{123 * time.Second, 0, 123 * time.Second, 5},
		} {
			time.Sleep(time.Until(midnight.Add(step.after)))
			got := fetchOne(t.Context(), source, "a")
			if (got.Err != nil) != (step.sessions == 0) || got.Err == nil && got.Numbers.Sessions != step.sessions ||
				!got.Finished.Equal(midnight.Add(step.finished)) || len(tries.at) != step.requests {
				t.Errorf("step %d: got %+v after %d requests, want %+v", i, got, len(tries.at), step)
			}
		}
	})
}
