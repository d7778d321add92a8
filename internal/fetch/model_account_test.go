package fetch_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// visitor is what a visitor types into the lead form. It must appear nowhere.
const visitor = "Vera Visitor"

// modelSession is a session of the account.
type modelSession struct {
	id                        int
	created                   time.Time // zero: without a readable creation time
	createdJSON               string
	modified                  time.Time
	lead, verified, malformed bool
	text                      string // in an answer
}

// write writes the text.
func (s *modelSession) write() {
	uuid, user, identity := fmt.Sprintf("%032x", s.id), "null", "{}"
	if s.malformed && !s.created.IsZero() {
		uuid = ""
	}
	if s.lead {
		user = `{"name":"` + visitor + `"}`
	}
	if s.verified {
		identity = `{"id":1}`
	}
	s.text = fmt.Sprintf(`{"uuid":"%s","created_at":%s,"modified_at":"%s","meta":{"user":%s,"auth_data":%s}}`,
		uuid, s.createdJSON, s.modified.Format(time.RFC3339Nano), user, identity)
}

// sessionsJSON returns the body of an answer.
func sessionsJSON(sessions []modelSession) string {
	elements := make([]string, len(sessions))
	for i, session := range sessions {
		elements[i] = session.text
	}
	return "[" + strings.Join(elements, ",") + "]"
}

// tallyOf counts sessions in the simplest way.
func tallyOf(sessions []modelSession) (t tally.Counts) {
	for _, s := range sessions {
		t.Sessions++
		if s.lead {
			t.WithLead++
		}
		if s.verified {
			t.WithVerifiedIdentity++
		}
		if s.malformed {
			t.Malformed++
		}
		if s.created.After(t.LastCreated) {
			t.LastCreated = s.created
		}
		if s.modified.After(t.LastModified) {
			t.LastModified = s.modified
		}
	}
	return t
}

// createdSince returns the sessions with a creation time from since on, and all others.
func createdSince(sessions []modelSession, since time.Time) (recent, others []modelSession) {
	for _, s := range sessions {
		if s.created.IsZero() || s.created.Before(since) {
			others = append(others, s)
		} else {
			recent = append(recent, s)
		}
	}
	return recent, others
}

// modelChatbot is a chatbot of the account with the history of its sessions.
type modelChatbot struct {
	uuid string
	// versions are all lists that were true, the last of them now. They are not
	// changed.
	versions [][]modelSession
	changed  time.Time // by the clock of the API
	lastID   int
	random   *rand.Rand
	times    map[time.Time]bool // of all sessions
	oddTimes bool               // sessions may be in the future, or have no readable creation time
}

func (c *modelChatbot) now() []modelSession { return c.versions[len(c.versions)-1] }

// change lets visitors come and go. The time is by the clock of the API.
func (c *modelChatbot) change(now time.Time) {
	sessions := slices.Clone(c.now())
	for range c.random.IntN(4) {
		c.lastID++
		sessions = append(sessions, c.newSession(now))
	}
	sessions = slices.DeleteFunc(sessions, func(s modelSession) bool {
		recent := s.created.After(now.Add(-2 * time.Hour))
		return c.random.IntN(400) == 0 || recent && c.random.IntN(40) == 0 || len(sessions) > 60 && c.random.IntN(20) == 0
	})
	for i := range sessions {
		if c.random.IntN(30) == 0 {
			sessions[i].lead, sessions[i].modified = true, now
			sessions[i].write()
		}
	}
	c.versions, c.changed = append(c.versions, sessions), now
}

// newSession returns a session that a visitor has just begun.
func (c *modelChatbot) newSession(now time.Time) modelSession {
	s := c.anySession(now)
	s.write()
	return s
}

func (c *modelChatbot) anySession(now time.Time) modelSession {
	s := modelSession{id: c.lastID, created: now, modified: now, lead: c.random.IntN(4) == 0, verified: c.random.IntN(4) == 0}
	odd := c.random.IntN(30)
	switch {
	case odd < 3: // visible a moment after it was created
		s.created = now.Add(-time.Duration(c.random.IntN(5000)) * time.Millisecond)
	case odd == 3: // imported
		s.created = now.Add(-time.Duration(c.random.IntN(100)) * time.Hour)
	case odd == 4 && c.oddTimes:
		s.created = now.Add(time.Duration(c.random.IntN(200)) * 15 * time.Minute)
	case odd == 5 && c.oddTimes:
		s.created, s.malformed = time.Time{}, true
		s.createdJSON = []string{`null`, `"soon"`, `17`, `""`, `"2000-13-01T00:00:00Z"`}[c.random.IntN(5)]
		return s
	case odd == 6:
		s.malformed = true // without a UUID
	}
	layout := []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999", "2006-01-02T15:04:05.000Z"}[c.random.IntN(3)]
	if odd%3 == 0 {
		s.created = s.created.Truncate(time.Second)
	}
	s.created = s.created.Truncate(time.Millisecond).UTC()
	for c.times[s.created] { // nobody can tell sessions of the same time
		s.created = s.created.Add(time.Millisecond)
	}
	c.times[s.created] = true
	s.createdJSON = `"` + s.created.Format(layout) + `"`
	return s
}
