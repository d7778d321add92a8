package e2e_test

import (
	"iter"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

const (
	key = "key-0815-must-not-be-seen"
	// days is how long the chatbots have been there. A chatbot has missing sessions if its
	// newest came a fortnight after its oldest, and the newest of one came two days ago.
	days = 17
)

// chatbot is a simulated chatbot that tests disturb.
type chatbot struct {
	uuid, name string
	// formerly is the name that the second exporter still knows, after a renaming.
	formerly string
	// life are all sessions that the chatbot ever gets, in the order of creation.
	life []simulator.Session
	// deletions are what its owner deleted.
	deletions atomic.Pointer[[]deletion]
	fault     atomic.Pointer[simulator.Fault]
}

// deletion is, at a time, the end of all sessions created before another.
type deletion struct{ at, before time.Time }

// account is what the simulator plays.
type account struct {
	shop, desk *chatbot // all is well with these
	vanished   *chatbot // its widget has vanished from the site
	mute       *chatbot // visitors come, but submit nothing any more
}

func newAccount(now time.Time) *account {
	begin := now.AddDate(0, 0, -days)
	arrive := func(seed uint64, perHour, lead, verified float64) []simulator.Session {
		arrivals := simulator.Arrivals{
			Seed: seed, Start: begin, PerHour: daily(perHour), Lead: lead, Verified: verified,
		}
		return slices.Collect(arrivals.Sessions(now.Add(time.Hour)))
	}
	shop := &chatbot{uuid: "7f5e5376dbf045cd8c72c60f428653d1", name: "Shop", formerly: "Little shop", life: arrive(1, 12, 0.2, 0.05)}
	desk := &chatbot{uuid: "c0ffee00c0ffee00c0ffee00c0ffee00", name: "Members’ desk", life: arrive(2, 6, 0.1, 0.7)}
	vanished := &chatbot{uuid: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", name: "Old site", life: arrive(3, 4, 0.2, 0.2)}
	vanished.life = slices.DeleteFunc(vanished.life, func(s simulator.Session) bool {
		return s.Created.After(now.AddDate(0, 0, -2))
	})
	mute := &chatbot{uuid: "deadbeefdeadbeefdeadbeefdeadbeef", name: "Broken form", life: arrive(4, 8, 0.2, 0.3)}
	for i, s := range mute.life {
		if s.Created.After(now.AddDate(0, 0, -2)) {
			mute.life[i].Lead, mute.life[i].Verified = false, false
		}
	}
	for _, c := range []*chatbot{shop, desk, vanished, mute} {
		c.deletions.Store(&[]deletion{})
		c.fault.Store(&simulator.Fault{})
	}
	// The shop's owner deleted old sessions, more than have come since.
	shop.remove(now.Add(-20*time.Hour), now.AddDate(0, 0, 3-days))
	return &account{shop: shop, desk: desk, vanished: vanished, mute: mute}
}

// daily is a rate that is least at three at night, in UTC, but never so low that
// hours pass without a visitor.
func daily(mean float64) func(time.Time) float64 {
	return func(t time.Time) float64 {
		return mean * (1 - 0.5*math.Cos((float64(t.Unix()%86400)/86400-0.125)*2*math.Pi))
	}
}

func (a *account) chatbots() []*chatbot {
	return []*chatbot{a.shop, a.desk, a.vanished, a.mute}
}

// serve serves the account and returns its URL.
func (a *account) serve(t *testing.T) string {
	t.Helper()
	played := &simulator.Account{Key: key}
	for _, c := range a.chatbots() {
		played.Chatbots = append(played.Chatbots, simulator.Chatbot{
			UUID: c.uuid, Name: c.name,
			Sessions: c.sessions,
			Fault:    func(time.Time) simulator.Fault { return *c.fault.Load() },
		})
	}
	server := httptest.NewServer(played)
	t.Cleanup(server.Close)
	return server.URL
}

// nameIn returns what an exporter calls the chatbot.
func (c *chatbot) nameIn(exporter int) string {
	if exporter == 1 && c.formerly != "" {
		return c.formerly
	}
	return c.name
}

// remove deletes, at a time, the sessions created before another.
func (c *chatbot) remove(at, before time.Time) {
	deletions := append(slices.Clone(*c.deletions.Load()), deletion{at: at, before: before})
	c.deletions.Store(&deletions)
}

// fails makes all fetches fail with a status; 0 ends that.
func (c *chatbot) fails(status int) {
	// Where the exporter is to wait before it asks again, it is for a second.
	c.fault.Store(&simulator.Fault{Status: status, Header: http.Header{"Retry-After": {"1"}}})
}

// sessions yields the sessions that the chatbot had at a time.
func (c *chatbot) sessions(at time.Time) iter.Seq[simulator.Session] {
	var first time.Time
	for _, d := range *c.deletions.Load() {
		if !d.at.After(at) {
			first = d.before
		}
	}
	return func(yield func(simulator.Session) bool) {
		for _, s := range c.life {
			if s.Created.After(at) {
				return
			}
			if s.Created.Before(first) {
				continue
			}
			if s.Modified.After(at) {
				s.Modified, s.Lead, s.Verified = s.Created, false, false
			}
			if !yield(s) {
				return
			}
		}
	}
}

// numbers are what sessions add up to, counted without the exporter.
type numbers struct {
	sessions, leads, verified float64
	created, modified         time.Time
}

// count counts the sessions that the chatbot had at a time.
func (c *chatbot) count(at time.Time) numbers {
	var n numbers
	for s := range c.sessions(at) {
		n.sessions++
		if s.Lead {
			n.leads++
		}
		if s.Verified {
			n.verified++
		}
		n.created = later(n.created, s.Created)
		n.modified = later(n.modified, s.Modified)
	}
	return n
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
