package tally

import "time"

// view is the [Arrivals] of a tally at a time.
type view struct {
	*Tally
	now time.Time
}

func (v view) Oldest() time.Time { return v.oldest }

// Newest ignores sessions from before arrivals begin. They are too old for missing sessions.
func (v view) Newest(kind Kind) time.Time {
	newest := v.newest[kind]
	if newest.After(v.now) {
		return v.now
	}
	return newest
}

func (v view) AfterNewest(kind Kind) float64 {
	newest := v.Newest(kind)
	if newest.IsZero() || !newest.Before(v.Newest(AllSessions)) {
		return 0
	}
	hour := v.hour(newest)
	after := v.Between(AllSessions, v.start(hour+1), v.now.Add(maxFuture))
	if hour < 0 || hour >= hours {
		return after
	}
	// No other session of the kind in the hour comes after.
	others := v.arrivals[AllSessions][hour] - v.arrivals[kind][hour]
	return after + float64(others)*v.share(hour, newest, v.start(hour+1))
}

func (v view) Since(kind Kind, from time.Time) float64 {
	if v.now.Equal(v.read) && !from.Before(v.exactFrom) {
		n := uint32(0)
		for i, window := range exactWindows {
			n += v.exact[kind][i]
			if v.now.Sub(from) == window {
				return float64(n)
			}
		}
	}
	return v.Between(kind, from, v.now.Add(maxFuture))
}

// Between spreads the sessions of each hour evenly.
func (v view) Between(kind Kind, from, to time.Time) float64 {
	first, last := v.hour(from), v.hour(to)
	whole := uint64(0)
	for hour := max(first+1, 0); hour < min(last, hours); hour++ {
		whole += uint64(v.arrivals[kind][hour])
	}
	number := float64(whole) + v.part(kind, first, from, to)
	if last != first {
		number += v.part(kind, last, from, to)
	}
	return number
}

// part returns the number of sessions of an hour that lie between from and to.
func (t *Tally) part(kind Kind, hour int, from, to time.Time) float64 {
	if hour < 0 || hour >= hours || t.arrivals[kind][hour] == 0 {
		return 0
	}
	return float64(t.arrivals[kind][hour]) * t.share(hour, from, to)
}

// share returns which part of an hour lies between from and to. The hour under way ends
// when the list was read.
func (t *Tally) share(hour int, from, to time.Time) float64 {
	start, end := t.start(hour), t.start(hour+1)
	if hour == hoursBefore {
		end = t.read
	}
	if end.Equal(start) {
		if from.After(start) || !to.After(start) {
			return 0
		}
		return 1
	}
	if from.Before(start) {
		from = start
	}
	if to.After(end) {
		to = end
	}
	return max(0, float64(to.Sub(from))) / float64(end.Sub(start))
}

// hour returns the index of the hour of a time, which may be out of range.
func (t *Tally) hour(at time.Time) int {
	seconds := at.Unix() - t.begin
	return int(max(-secondsPerHour, min(seconds, hours*secondsPerHour))+secondsPerHour)/secondsPerHour - 1
}

// start returns when an hour begins.
func (t *Tally) start(hour int) time.Time {
	return time.Unix(t.begin+int64(hour)*secondsPerHour, 0)
}
