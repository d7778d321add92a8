package e2e_test

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"time"
	_ "time/tzdata" // the clocks of a place that sets them

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// incident is what happens to a simulated chatbot.
type incident string

const (
	noIncident   incident = "none"
	widgetGone   incident = "widget gone"
	leadsStopped incident = "leads stopped"
	fifthLeft    incident = "a fifth left"
)

// lead is the share of sessions with a lead, and with a verified identity.
const lead = 0.25

// visitors are those of one simulated chatbot. The pattern is that of a place where clocks are
// set, with nights, weekends and seasons. Noise makes whole days busier or quieter, by a quarter.
// Campaigns double the visitors for three days a quarter.
type visitors struct {
	uuid     string
	perDay   float64
	office   bool // almost nobody comes at night, on weekends and on holidays
	noise    map[int64]float64
	incident incident
	at       time.Time // of the incident
	sessions []simulator.Session
	// hours sums the pattern by the hour from begin on.
	begin time.Time
	hours []float64
}

var (
	place = func() *time.Location {
		location, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			panic(err)
		}
		return location
	}()
	// holidays are days of the simulated year on which offices are closed.
	holidays = []string{"2025-04-18", "2025-04-21", "2025-05-01", "2025-05-29", "2025-06-09", "2025-10-03", "2025-12-25", "2025-12-26", "2026-01-01"}
)

// newVisitors returns the visitors of a chatbot from begin to end.
func newVisitors(seed uint64, perDay float64, office bool, begin, end time.Time, what incident, at time.Time) *visitors {
	v := &visitors{
		uuid: fmt.Sprintf("%032x", seed), perDay: perDay, office: office, noise: map[int64]float64{},
		incident: what, at: at, begin: begin,
	}
	random := rand.New(rand.NewPCG(seed, 23))
	for day := begin.Unix() / 86400; day <= end.Unix()/86400; day++ {
		v.noise[day] = math.Exp(0.25*random.NormFloat64() - 0.25*0.25/2)
	}
	total := 0.0
	for t := begin; t.Before(end); t = t.Add(time.Hour) {
		v.hours = append(v.hours, total)
		total += v.pattern(t.Add(30*time.Minute)) / 24
	}
	v.hours = append(v.hours, total)
	// Thinning: more arrivals than ever come, of which a share is kept.
	most := perDay * 16
	for created, n := begin, 0; ; n++ {
		created = created.Add(time.Duration(-math.Log(1-random.Float64()) / most * float64(24*time.Hour)))
		keep, isLead, isVerified := random.Float64()*most, random.Float64() < lead, random.Float64() < lead
		if !created.Before(end) {
			return v
		}
		rate := v.pattern(created) * v.noise[created.Unix()/86400]
		local := created.In(place)
		if slices.Contains(holidays, local.Format(time.DateOnly)) {
			if office {
				rate *= 0.02
			} else {
				rate *= 0.6
			}
		}
		if local.Month()%3 == 2 && local.Day() >= 10 && local.Day() < 13 {
			rate *= 2
		}
		if !created.Before(at) {
			switch what {
			case widgetGone:
				rate = 0
			case fifthLeft:
				rate /= 5
			case leadsStopped:
				isLead, isVerified = false, false
			}
		}
		if keep < rate {
			v.sessions = append(v.sessions, simulator.Session{Number: n, Created: created, Modified: created, Lead: isLead, Verified: isVerified})
		}
	}
}

// pattern returns the rate of visitors per day at a time, without noise and incident.
func (v *visitors) pattern(t time.Time) float64 {
	local := t.In(place)
	hour := float64(local.Hour()) + float64(local.Minute())/60
	weekend := local.Weekday() == time.Saturday || local.Weekday() == time.Sunday
	season := 1 + 0.2*math.Cos(2*math.Pi*float64(local.YearDay())/365)
	if !v.office {
		// Lowest at four, highest at 16.
		rate := v.perDay * season * (1 - 0.85*math.Cos(2*math.Pi*(hour-4)/24))
		if weekend {
			rate *= 1.2
		}
		return rate
	}
	rate := v.perDay * season * 0.1
	if !weekend && hour >= 7 && hour < 19 {
		rate += v.perDay * season * 2.5 * math.Sin(math.Pi*(hour-7)/12)
	}
	return rate
}

// expected returns how many visitors the pattern has between two times.
func (v *visitors) expected(from, to time.Time) float64 {
	until := func(t time.Time) float64 {
		hours := t.Sub(v.begin).Hours()
		i := int(hours)
		return v.hours[i] + (v.hours[i+1]-v.hours[i])*(hours-float64(i))
	}
	return until(to) - until(from)
}

// count returns how many sessions were created between two times.
func (v *visitors) count(from, to time.Time) int {
	after := func(t time.Time) int {
		return sort.Search(len(v.sessions), func(i int) bool { return v.sessions[i].Created.After(t) })
	}
	return after(to) - after(from)
}

func (v *visitors) all(time.Time) iter.Seq[simulator.Session] { return slices.Values(v.sessions) }

// falseAlarms is how many a year the observer allows.
const falseAlarms = 0.1

// limit returns the delay of an observer who knows the pattern and the share of leads, or
// false if there is none until end.
//
// If nothing comes any more, the chance that it is chance is e^-x if x were expected. With N
// sessions a year, there are N·e^-x false alarms a year. Leads are the same, of the sessions since
// the last one. If a fifth is left, the observer makes the same test as the alert, with the
// pattern in the place of the usual number, and waits as long.
func (v *visitors) limit(end time.Time, hold time.Duration) (time.Duration, bool) {
	aYear := v.perDay * 365
	switch v.incident {
	case widgetGone:
		last := v.sessions[sort.Search(len(v.sessions), func(i int) bool { return !v.sessions[i].Created.Before(v.at) })-1].Created
		enough := math.Log(aYear / falseAlarms)
		for t := v.at; t.Before(end); t = t.Add(time.Minute) {
			if v.expected(last, t) >= enough {
				return t.Sub(v.at), true
			}
		}
	case leadsStopped:
		enough := math.Log(aYear*lead/falseAlarms) / lead
		since := 0
		for _, s := range v.sessions {
			if s.Lead {
				since = 0
				continue
			}
			if since++; s.Created.After(v.at) && float64(since) >= enough {
				return s.Created.Sub(v.at), true
			}
		}
	case fifthLeft:
		var since time.Time
		for t := v.at; t.Before(end); t = t.Add(5 * time.Minute) {
			few := slices.ContainsFunc([]time.Duration{time.Hour, 24 * time.Hour, 7 * 24 * time.Hour}, func(window time.Duration) bool {
				usual, recent := v.expected(t.Add(-window), t), float64(v.count(t.Add(-window), t))
				return math.Sqrt(0.4*usual) > math.Sqrt(recent+1)+1.5
			})
			switch {
			case !few:
				since = time.Time{}
			case since.IsZero():
				since = t
			case t.Sub(since) >= hold:
				return t.Sub(v.at), true
			}
		}
	}
	return 0, false
}
