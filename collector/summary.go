package collector

import (
	"iter"
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

// Summarize adds sessions up. An error in their sequence is returned and leaves
// no Summary.
func Summarize(sessions iter.Seq2[client.Session, error]) (Summary, error) {
	var s Summary
	for session, err := range sessions {
		if err != nil {
			return Summary{}, err
		}
		s.add(session)
	}
	return s, nil
}

func (s *Summary) add(session client.Session) {
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
