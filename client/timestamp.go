package client

import "time"

// timeParser parses timestamps. It remembers the last date: neighbouring sessions
// are often of the same day, and parsing a date is most of the work.
type timeParser struct {
	date     [len(dateLayout)]byte
	midnight int64 // Unix time
}

const (
	dateLayout  = "2006-01-02"
	clockLayout = "15:04:05"
	// latest is the end of the year 9999 in Unix time, the last that can be written
	// with four digits.
	latest = 253402300799
)

// parse parses a timestamp: ISO 8601 with T or a space, up to nine fractional
// digits, and Z, an offset (+02:00, +0200, +02) or no zone, which means UTC. It
// allocates nothing.
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
		return time.Time{}, false // some platforms write the year 1 for none
	}
	return t, true
}

// setDate sets p.midnight to the start of a date. It reports whether date is one.
func (p *timeParser) setDate(date []byte) bool {
	if p.date[0] != 0 && string(date) == string(p.date[:]) {
		return true
	}
	// The standard library parses RFC 3339 without copying the text.
	var buffer [len(time.RFC3339)]byte
	var midnight time.Time
	if midnight.UnmarshalText(append(append(buffer[:0], date...), "T00:00:00Z"...)) != nil {
		return false
	}
	copy(p.date[:], date)
	p.midnight = midnight.Unix()
	return true
}

// powersOfTen has the factor to nanoseconds by the number of digits missing to nine.
var powersOfTen = [...]int{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// parseClock parses a time of day with an optional fraction of a second. It returns
// the bytes after it.
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

// number returns the value of two digits, or -1 if either is not a digit.
func number(digits []byte) int {
	tens, ones := digits[0]-'0', digits[1]-'0'
	if tens > 9 || ones > 9 {
		return -1
	}
	return int(10*tens + ones)
}
