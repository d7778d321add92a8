// Package tally adds up sessions. It is plain data: time is an argument.
package tally

import (
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Tally is what the sessions of a chatbot add up to.
type Tally struct {
	// Sessions counts all sessions. The other counts are of some of them.
	Sessions, WithLead, WithVerifiedIdentity, Malformed int
	// LastCreated and LastModified are the newest times, zero if no session has a
	// readable one.
	LastCreated, LastModified time.Time
}

// Add adds a session.
func (t *Tally) Add(session client.Session) {
	t.Sessions++
	if session.HasLead {
		t.WithLead++
	}
	if session.IdentityVerified {
		t.WithVerifiedIdentity++
	}
	if session.Malformed {
		t.Malformed++
	}
	t.LastCreated = later(t.LastCreated, session.Created)
	t.LastModified = later(t.LastModified, session.Modified)
}

// Plus returns the tally of the sessions of both.
func (t Tally) Plus(other Tally) Tally {
	t.Sessions += other.Sessions
	t.WithLead += other.WithLead
	t.WithVerifiedIdentity += other.WithVerifiedIdentity
	t.Malformed += other.Malformed
	t.LastCreated = later(t.LastCreated, other.LastCreated)
	t.LastModified = later(t.LastModified, other.LastModified)
	return t
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
