package client

import (
	"strings"
	"time"
)

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

// parseTime reads a timestamp as the platform writes it: ISO 8601 with T or a
// space, with or without a fraction of a second, with Z, an offset (+02:00,
// +0200, +02) or no zone, which means UTC. It allocates nothing.
func parseTime(text []byte) (time.Time, bool) {
	const date = len("2006-01-02T")
	if len(text) < date {
		return time.Time{}, false
	}
	clock, offset, ok := cutZone(text[date:])
	if !ok || text[date-1] != 'T' && text[date-1] != ' ' {
		return time.Time{}, false
	}
	// The same instant's spelling in RFC 3339, which the standard library reads
	// without a copy of the text.
	var buffer [len("2006-01-02T15:04:05.999999999Z")]byte
	if date+len(clock)+1 > len(buffer) {
		return time.Time{}, false
	}
	spelling := append(buffer[:0], text[:date-1]...)
	spelling = append(spelling, 'T')
	spelling = append(spelling, clock...)
	spelling = append(spelling, 'Z')
	var t time.Time
	if err := t.UnmarshalText(spelling); err != nil {
		return time.Time{}, false
	}
	if t = t.Add(-offset); !t.After(time.Time{}) {
		return time.Time{}, false // the year 1 is what some platforms write for none
	}
	return t, true
}

// cutZone splits a time of day from its zone's offset to UTC.
func cutZone(text []byte) (clock []byte, offset time.Duration, ok bool) {
	const shortest = len("15:04:05")
	if len(text) < shortest {
		return nil, 0, false
	}
	if text[2] != ':' || len(text) > shortest && strings.IndexByte(".Z+-", text[shortest]) < 0 {
		return nil, 0, false // the standard library would take 7:00:00 and a comma
	}
	zone := len(text)
	for i := shortest; i < len(text); i++ {
		if c := text[i]; c == 'Z' || c == '+' || c == '-' {
			zone = i
			break
		}
	}
	clock, text = text[:zone], text[zone:]
	if len(text) == 0 || len(text) == 1 && text[0] == 'Z' {
		return clock, 0, true
	}
	var hours, minutes int
	switch {
	case text[0] == 'Z':
		return nil, 0, false
	case len(text) == len("+07:00") && text[3] == ':':
		hours, minutes = number(text[1:3]), number(text[4:6])
	case len(text) == len("+0700"):
		hours, minutes = number(text[1:3]), number(text[3:5])
	case len(text) == len("+07"):
		hours = number(text[1:3])
	default:
		return nil, 0, false
	}
	if hours < 0 || hours > 23 || minutes < 0 || minutes > 59 {
		return nil, 0, false
	}
	offset = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if text[0] == '-' {
		offset = -offset
	}
	return clock, offset, true
}

// number returns the value of two digits, or -1.
func number(digits []byte) int {
	tens, ones := digits[0]-'0', digits[1]-'0'
	if tens > 9 || ones > 9 {
		return -1
	}
	return int(10*tens + ones)
}
