package backfill

import (
	"iter"
	"math"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

// history is what is known of a chatbot's past.
type history struct {
	// base is what the sessions add up to that count from the beginning on.
	base collector.Summary
	// created are the creation times of the others, by what the sessions have.
	created [2][2]times // no lead, lead; identity not verified, verified
	// first is the least of created.
	first int64
	// undated are how many sessions of base have no readable creation time; future
	// are how many were left out that were created later than they were read.
	undated, future int
	// read is how many sessions were read.
	read int
}

// read reads the sessions of a chatbot. Those created until start, if that is not
// zero, are in the base; those created after end are left out. It calls progress
// with how many were read now and then.
func read(sessions iter.Seq2[client.Session, error], start, end time.Time, progress func(sessions int)) (history, error) {
	const often = 1 << 12
	h := history{first: math.MaxInt64}
	for session, err := range sessions {
		if err != nil {
			return history{}, err
		}
		h.add(session, start, end)
		if h.read++; h.read%often == 0 {
			progress(often)
		}
	}
	progress(h.read % often)
	for i := range h.created {
		for j := range h.created[i] {
			h.created[i][j].sort()
		}
	}
	return h, nil
}

func (h *history) add(session client.Session, start, end time.Time) {
	created := session.Created
	switch {
	case created.IsZero():
		h.undated++
		h.base.Add(session)
	case created.After(end):
		if created.After(time.Now()) {
			h.future++
		}
	case !created.After(start), created.Unix() <= 0:
		// Before 1970 is not when a chatbot began.
		h.base.Add(session)
	default:
		at := created.UnixNano()
		h.first = min(h.first, at)
		h.created[index(session.HasLead)][index(session.IdentityVerified)].add(at)
	}
}

func index(has bool) int {
	if has {
		return 1
	}
	return 0
}

// summaries yields what the sessions created until a moment add up to, for each of
// some moments in ascending order.
func (h *history) summaries(moments iter.Seq[time.Time]) iter.Seq2[time.Time, collector.Summary] {
	return func(yield func(time.Time, collector.Summary) bool) {
		sum := h.base
		var cursors [2][2]cursor
		for i := range cursors {
			for j := range cursors[i] {
				cursors[i][j] = h.created[i][j].cursor()
			}
		}
		for moment := range moments {
			until := moment.UnixNano()
			for lead := range cursors {
				for verified, c := range cursors[lead] {
					n, latest := c.advance(until)
					sum.Sessions += n
					sum.WithLead += n * lead
					sum.WithVerifiedIdentity += n * verified
					if t := time.Unix(0, latest); n > 0 && t.After(sum.LastCreated) {
						sum.LastCreated = t
					}
				}
			}
			if !yield(moment, sum) {
				return
			}
		}
	}
}
