package collector

import (
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Summary is what the sessions of a chatbot add up to.
type Summary struct {
	// Sessions is how many there are; the other counts are of some of them.
	Sessions, WithLead, WithVerifiedIdentity, Malformed int
	// LastCreated and LastModified are the newest times among them; zero if none
	// has a readable one.
	LastCreated, LastModified time.Time
}

// plus returns the Summary of the sessions of both.
func (s Summary) plus(other Summary) Summary {
	s.Sessions += other.Sessions
	s.WithLead += other.WithLead
	s.WithVerifiedIdentity += other.WithVerifiedIdentity
	s.Malformed += other.Malformed
	if other.LastCreated.After(s.LastCreated) {
		s.LastCreated = other.LastCreated
	}
	if other.LastModified.After(s.LastModified) {
		s.LastModified = other.LastModified
	}
	return s
}

// Add adds a session.
func (s *Summary) Add(session client.Session) {
	s.Sessions++
	if session.HasLead {
		s.WithLead++
	}
	if session.IdentityVerified {
		s.WithVerifiedIdentity++
	}
	if session.Malformed {
		s.Malformed++
	}
	if session.Created.After(s.LastCreated) {
		s.LastCreated = session.Created
	}
	if session.Modified.After(s.LastModified) {
		s.LastModified = session.Modified
	}
}
