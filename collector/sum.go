package collector

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Sum is a metric of what the sessions of a chatbot add up to.
type Sum struct {
	// Name and Help are the metric's.
	Name, Help string
	// Dated tells that the metric's past is known from when sessions were created.
	Dated bool

	desc      *prometheus.Desc
	valueType prometheus.ValueType
	value     func(Summary) (float64, bool)
}

// Type returns the metric's type in the words of the text formats.
func (s Sum) Type() string { return strings.ToLower(s.valueType.ToDTO().String()) }

// Value returns the metric's value for a Summary, and whether it has one.
func (s Sum) Value(of Summary) (value float64, ok bool) { return s.value(of) }

// Sums returns the metrics of what sessions add up to. All have the label
// ChatbotLabel alone.
func Sums() []Sum {
	sum := func(name, help string, value func(Summary) (float64, bool)) Sum {
		desc := newDesc(name, help)
		return Sum{Name: fullName(name), Help: help, desc: desc, valueType: prometheus.GaugeValue, value: value}
	}
	count := func(name, help string, of func(Summary) int) Sum {
		return sum(name, help, func(s Summary) (float64, bool) { return float64(of(s)), true })
	}
	timestamp := func(name, help string, of func(Summary) time.Time) Sum {
		return sum(name, help, func(s Summary) (float64, bool) { return unix(of(s)), !of(s).IsZero() })
	}
	dated := func(s Sum) Sum {
		s.Dated = true
		return s
	}
	return []Sum{
		dated(count("sessions",
			"Sessions of the chatbot.",
			func(s Summary) int { return s.Sessions })),
		dated(count("sessions_with_lead",
			"Sessions whose visitor submitted the lead form.",
			func(s Summary) int { return s.WithLead })),
		dated(count("sessions_with_verified_identity",
			"Sessions whose visitor's identity was verified and saved.",
			func(s Summary) int { return s.WithVerifiedIdentity })),
		count("malformed_sessions",
			"Sessions that break the documented shape; they are counted as sessions all the same.",
			func(s Summary) int { return s.Malformed }),
		dated(timestamp("last_session_created_timestamp_seconds",
			"When the newest session was created, in Unix time.",
			func(s Summary) time.Time { return s.LastCreated })),
		timestamp("last_session_modified_timestamp_seconds",
			"When a session was last modified, in Unix time.",
			func(s Summary) time.Time { return s.LastModified }),
	}
}

// unix returns a time in the unit of Prometheus.
func unix(t time.Time) float64 { return float64(t.Unix()) + float64(t.Nanosecond())/1e9 }
