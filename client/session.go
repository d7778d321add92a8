package client

import "time"

// Session is what counting needs to know of a visitor's session, and nothing
// else: personal data stays on the wire.
type Session struct {
	// Created and Modified are the session's created_at and modified_at; zero if
	// missing or unreadable.
	Created, Modified time.Time
	// HasLead tells that the visitor submitted the lead form.
	HasLead bool
	// IdentityVerified tells that the visitor's identity was verified and saved.
	IdentityVerified bool
	// Malformed tells that the session breaks the documented shape: its uuid,
	// created_at or modified_at is missing or unreadable, or its meta, meta.user
	// or meta.auth_data is neither object nor null.
	Malformed bool
}

// timeParser reads timestamps. It remembers the last date, as sessions of one day
// stand side by side and reading a date is most of the work.
type timeParser struct {
	date     [len(dateLayout)]byte
	midnight int64 // Unix time
}

const (
	dateLayout  = "2006-01-02"
	clockLayout = "15:04:05"
	// latest is the end of the year 9999 in Unix time; what is later, in UTC, has no
	// spelling.
	latest = 253402300799
)

// parse reads a timestamp as the platform writes it: ISO 8601 with T or a space,
// with or without a fraction of a second of up to nine digits, with Z, an offset
// (+02:00, +0200, +02) or no zone, which means UTC. It allocates nothing.
func (p *timeParser) parse(text []byte) (time.Time, bool) {
	const clockAt = len(dateLayout + "T")
	if len(text) < clockAt+len(clockLayout) {
		return time.Time{}, false
	}
	separator := text[len(dateLayout)]
	seconds, nanoseconds, zone, ok := parseClock(text[clockAt:])
	offset, zoneOK := parseZone(zone)
	if !ok || !zoneOK || separator != 'T' && separator != ' ' || !p.setDate(text[:len(dateLayout)]) {
		return time.Time{}, false
	}
	unix := p.midnight + int64(seconds-offset)
	t := time.Unix(unix, int64(nanoseconds)).UTC()
	if !t.After(time.Time{}) || unix > latest {
		return time.Time{}, false // the year 1 is what some platforms write for none
	}
	return t, true
}

// setDate makes p.midnight the beginning of a date.
func (p *timeParser) setDate(date []byte) bool {
	if string(date) == string(p.date[:]) {
		return true
	}
	// In RFC 3339 the standard library reads it without a copy of the text.
	var buffer [len(time.RFC3339)]byte
	var midnight time.Time
	if midnight.UnmarshalText(append(append(buffer[:0], date...), "T00:00:00Z"...)) != nil {
		return false
	}
	copy(p.date[:], date)
	p.midnight = midnight.Unix()
	return true
}

// powersOfTen are the factors to nanoseconds, by how many digits a fraction lacks.
var powersOfTen = [...]int{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// parseClock reads a time of day with or without a fraction of a second, and
// returns what follows it.
func parseClock(text []byte) (seconds, nanoseconds int, rest []byte, ok bool) {
	h, m, s := number(text[0:2]), number(text[3:5]), number(text[6:8])
	if text[2] != ':' || text[5] != ':' || uint(h) > 23 || uint(m) > 59 || uint(s) > 59 {
		return 0, 0, nil, false
	}
	seconds = h*60*60 + m*60 + s
	rest = text[len(clockLayout):]
	if len(rest) == 0 || rest[0] != '.' {
		return seconds, 0, rest, true
	}
	digits := 0
	for rest = rest[1:]; digits < len(rest) && rest[digits]-'0' <= 9; digits++ {
		if digits == len(powersOfTen) {
			return 0, 0, nil, false
		}
		nanoseconds = 10*nanoseconds + int(rest[digits]-'0')
	}
	if digits == 0 {
		return 0, 0, nil, false
	}
	return seconds, nanoseconds * powersOfTen[len(powersOfTen)-digits], rest[digits:], true
}

// parseZone returns a zone's offset to UTC in seconds.
func parseZone(text []byte) (offset int, ok bool) {
	if len(text) == 0 || string(text) == "Z" {
		return 0, true
	}
	var hours, minutes int
	switch {
	case len(text) == len("+07:00") && text[3] == ':':
		hours, minutes = number(text[1:3]), number(text[4:6])
	case len(text) == len("+0700"):
		hours, minutes = number(text[1:3]), number(text[3:5])
	case len(text) == len("+07"):
		hours = number(text[1:3])
	default:
		return 0, false
	}
	if uint(hours) > 23 || uint(minutes) > 59 {
		return 0, false
	}
	offset = hours*60*60 + minutes*60
	switch text[0] {
	case '+':
		return offset, true
	case '-':
		return -offset, true
	default:
		return 0, false
	}
}

// number returns the value of two digits, or -1.
func number(digits []byte) int {
	tens, ones := digits[0]-'0', digits[1]-'0'
	if tens > 9 || ones > 9 {
		return -1
	}
	return int(10*tens + ones)
}
