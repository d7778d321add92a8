package tally

import (
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Counts are the numbers of sessions that do not depend on the time, and their newest
// times.
type Counts struct {
	// Sessions counts all sessions. The other counts are of some of them.
	Sessions, WithLead, WithVerifiedIdentity, Malformed int
	// LastCreated and LastModified are the newest times, zero if no session has a
	// readable one.
	LastCreated, LastModified time.Time
}

// Add adds a session.
func (c *Counts) Add(session client.Session) {
	c.Sessions++
	if session.HasLead {
		c.WithLead++
	}
	if session.IdentityVerified {
		c.WithVerifiedIdentity++
	}
	if session.Malformed {
		c.Malformed++
	}
	c.LastCreated = later(c.LastCreated, session.Created)
	c.LastModified = later(c.LastModified, session.Modified)
}

// Plus returns the counts of the sessions of both.
func (c Counts) Plus(other Counts) Counts {
	c.Sessions += other.Sessions
	c.WithLead += other.WithLead
	c.WithVerifiedIdentity += other.WithVerifiedIdentity
	c.Malformed += other.Malformed
	c.LastCreated = later(c.LastCreated, other.LastCreated)
	c.LastModified = later(c.LastModified, other.LastModified)
	return c
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// earlier returns the earlier time that is not zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) && !b.IsZero() {
		return b
	}
	return a
}
