package simulator

import (
	"encoding/binary"
	"encoding/hex"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// Session is a visitor's session. Without a creation time it is malformed. What looks
// like personal data in the response is made from Number.
type Session struct {
	Number            int
	Created, Modified time.Time
	Lead, Verified    bool
}

// Uniform returns n sessions, one each interval from start on: every third with a lead,
// every seventh with a verified identity.
func Uniform(n int, start time.Time, interval time.Duration) func(time.Time) iter.Seq[Session] {
	return func(time.Time) iter.Seq[Session] {
		return func(yield func(Session) bool) {
			created := start
			for i := range n {
				session := Session{
					Number: i, Created: created, Modified: created.Add(time.Minute),
					Lead: i%3 == 0, Verified: i%7 == 0,
				}
				if !yield(session) {
					return
				}
				created = created.Add(interval)
			}
		}
	}
}

// Arrivals are visitors who come at random times (a Poisson process). The same values
// give the same visitors, so that a list only grows with time.
type Arrivals struct {
	// Seed makes the visitors of chatbots differ.
	Seed uint64
	// Start is when the first visitor may come.
	Start time.Time
	// PerHour is the rate of visitors per hour at a time. It must be above 0.
	PerHour func(time.Time) float64
	// Lead and Verified are the shares of visitors who submit the lead form and whose
	// identity is verified, both within ten minutes.
	Lead, Verified float64
	// LeadsEnd is when visitors stop to submit the lead form; zero: never.
	LeadsEnd time.Time
}

// Sessions yields the sessions of the visitors who have come until now.
func (a Arrivals) Sessions(now time.Time) iter.Seq[Session] {
	return func(yield func(Session) bool) {
		random := rand.New(rand.NewPCG(a.Seed, 0))
		created := a.Start
		for number := 0; ; number++ {
			wait := -math.Log(1-random.Float64()) / a.PerHour(created)
			created = created.Add(time.Duration(wait * float64(time.Hour)))
			lead, verified := random.Float64() < a.Lead, random.Float64() < a.Verified
			submitted := created.Add(time.Duration(random.Int64N(int64(10 * time.Minute))))
			lead = lead && (a.LeadsEnd.IsZero() || created.Before(a.LeadsEnd))
			if created.After(now) {
				return
			}
			session := Session{Number: number, Created: created, Modified: created}
			if (lead || verified) && !submitted.After(now) {
				session.Modified, session.Lead, session.Verified = submitted, lead, verified
			}
			if !yield(session) {
				return
			}
		}
	}
}

// writeSessions writes sessions as a JSON array while they are generated. It stops when
// out fails.
func writeSessions(out io.Writer, sessions iter.Seq[Session]) {
	const chunk = 32 << 10
	buffer := make([]byte, 0, chunk+4<<10)
	buffer = append(buffer, '[')
	first := true
	for session := range sessions {
		if !first {
			buffer = append(buffer, ',')
		}
		first = false
		buffer = appendSession(buffer, session)
		if len(buffer) >= chunk {
			if _, err := out.Write(buffer); err != nil {
				return
			}
			buffer = buffer[:0]
		}
	}
	_, _ = out.Write(append(buffer, ']'))
}

const timestamp = "2006-01-02T15:04:05.000Z"

// appendSession appends about 265 bytes of JSON, with the members that sessions of the
// platform are known to have.
func appendSession(b []byte, s Session) []byte {
	var uuid [16]byte
	// An odd multiplier gives each number a different UUID.
	binary.BigEndian.PutUint64(uuid[:8], uint64(s.Number)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(uuid[8:], uint64(s.Number))
	person := int64(s.Number)

	b = append(b, `{"uuid":"`...)
	b = hex.AppendEncode(b, uuid[:])
	b = append(b, `","created_at":`...)
	if s.Created.IsZero() {
		b = append(b, `null`...)
	} else {
		b = append(b, '"')
		b = s.Created.UTC().AppendFormat(b, timestamp)
		b = append(b, '"')
	}
	b = append(b, `,"modified_at":"`...)
	b = s.Modified.UTC().AppendFormat(b, timestamp)
	b = append(b, `","ip_address":"198.51.100.`...)
	b = strconv.AppendInt(b, person%256, 10)
	b = append(b, `","meta":{"country":"DE","page_url":"https://shop.example/products/`...)
	b = strconv.AppendInt(b, person%1000, 10)
	b = append(b, '"')
	if s.Lead {
		b = append(b, `,"user":{"name":"Zoë Visitor `...)
		b = strconv.AppendInt(b, person, 10)
		b = append(b, `","email":"visitor`...)
		b = strconv.AppendInt(b, person, 10)
		b = append(b, `@mail.example"}`...)
	}
	if s.Verified {
		b = append(b, `,"auth_data":{"customer_id":"c-`...)
		b = strconv.AppendInt(b, person, 10)
		b = append(b, `","tier":"gold"}`...)
	}
	return append(b, "}}"...)
}
