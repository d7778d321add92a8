package tally

import (
	"iter"
	"math"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Past remembers when sessions were created, so that they can be counted at any
// time. It takes up to 12 bytes of memory per session.
type Past struct {
	// always are the counts of the sessions that exist at any time.
	always Counts
	// created has the creation times of the others: by lead (no, yes) and verified
	// identity (no, yes).
	created [2][2]times
}

// Add adds a session that exists from its creation on.
func (p *Past) Add(session client.Session) {
	p.created[index(session.HasLead)][index(session.IdentityVerified)].add(session.Created.UnixNano())
}

// AddAlways adds a session that exists at any time.
func (p *Past) AddAlways(session client.Session) { p.always.Add(session) }

// First returns when the first session was created that does not exist at any time.
// It reports false if there is none.
func (p *Past) First() (first time.Time, ok bool) {
	least := int64(math.MaxInt64)
	for _, kind := range p.kinds() {
		least = min(least, kind.least())
	}
	return time.Unix(0, least), least != math.MaxInt64
}

// At yields the counts of the sessions that existed at each of moments, which must be
// in ascending order. LastModified and Malformed are those of AddAlways only.
func (p *Past) At(moments iter.Seq[time.Time]) iter.Seq2[time.Time, Counts] {
	return func(yield func(time.Time, Counts) bool) {
		counts := p.always
		var cursors [2][2]cursor
		for lead := range p.created {
			for verified := range p.created[lead] {
				cursors[lead][verified] = p.created[lead][verified].cursor()
			}
		}
		for moment := range moments {
			until := moment.UnixNano()
			for lead := range cursors {
				for verified, cursor := range cursors[lead] {
					n, latest := cursor.advance(until)
					counts.Sessions += n
					counts.WithLead += n * lead
					counts.WithVerifiedIdentity += n * verified
					if n > 0 {
						counts.LastCreated = later(counts.LastCreated, time.Unix(0, latest))
					}
				}
			}
			if !yield(moment, counts) {
				return
			}
		}
	}
}

func (p *Past) kinds() []*times {
	return []*times{&p.created[0][0], &p.created[0][1], &p.created[1][0], &p.created[1][1]}
}

func index(has bool) int {
	if has {
		return 1
	}
	return 0
}
