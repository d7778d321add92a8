package collector

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// ChatbotLabel is the label with the UUID of a chatbot. All metrics of chatbots have it.
const ChatbotLabel = "chatbot"

// WindowLabel is the label with the length of time in which sessions are counted.
const WindowLabel = "window"

// The metrics of a chatbot that do not show its numbers.
var (
	upDesc = newDesc("up",
		"Whether the chatbot's sessions could be fetched and read to the end (1) or not (0).")
	infoDesc = newDesc("chatbot_info",
		"The chatbot's name; always 1.", "name")
	failureDesc = newDesc("fetch_failure_info",
		"Why the chatbot's sessions could not be fetched, as in chatwize_api_errors_total; always 1.", "reason")
	fetchDurationDesc = newDesc("fetch_duration_seconds",
		"How long the last fetch of the chatbot's sessions took, successful or not.")
	lastFetchDesc = newDesc("last_fetch_timestamp_seconds",
		"When the chatbot's numbers were fetched, in Unix time.")
)

// numberMetrics are the metrics that show the numbers of a chatbot.
var numberMetrics = slices.Concat(
	[]Metric{
		count("sessions",
			"Sessions of the chatbot.",
			func(n *tally.Numbers) int { return n.Sessions }).dated(),
		count("sessions_with_lead",
			"Sessions whose visitor submitted the lead form.",
			func(n *tally.Numbers) int { return n.WithLead }).dated(),
		count("sessions_with_verified_identity",
			"Sessions whose visitor's identity was verified and saved.",
			func(n *tally.Numbers) int { return n.WithVerifiedIdentity }).dated(),
		count("malformed_sessions",
			"Sessions that break the documented shape; they are counted as sessions all the same.",
			func(n *tally.Numbers) int { return n.Malformed }),
		timestamp("last_session_created_timestamp_seconds",
			"When the newest session was created, in Unix time.",
			func(n *tally.Numbers) time.Time { return n.LastCreated }).dated(),
		timestamp("last_session_modified_timestamp_seconds",
			"When a session was last modified, in Unix time.",
			func(n *tally.Numbers) time.Time { return n.LastModified }),
	},
	recent("recent_sessions", tally.AllSessions,
		"Sessions created within the last window."),
	recent("recent_sessions_with_lead", tally.WithLead,
		"Sessions with a lead created within the last window."),
	recent("recent_sessions_with_verified_identity", tally.WithVerifiedIdentity,
		"Sessions with a verified identity created within the last window."),
	usual("usual_sessions", tally.AllSessions,
		"Usual number of sessions in the window: the median of one to four weeks ago."),
	usual("usual_sessions_with_lead", tally.WithLead,
		"Usual number of sessions with a lead in the window: the median of one to four weeks ago."),
	usual("usual_sessions_with_verified_identity", tally.WithVerifiedIdentity,
		"Usual number of sessions with a verified identity in the window: the median of one to four weeks ago."),
	missing("missing_sessions", tally.AllSessions,
		"Usual number of sessions in a period as long as the time since the newest session."),
	missing("missing_sessions_with_lead", tally.WithLead,
		"Usual number of leads in as many sessions as came since the newest session with a lead."),
	missing("missing_sessions_with_verified_identity", tally.WithVerifiedIdentity,
		"Usual number of verified identities in as many sessions as came since the newest session with one."),
)

// Metric is a gauge that shows a number of a chatbot. Its labels are [ChatbotLabel] and,
// if Window is not empty, [WindowLabel].
type Metric struct {
	Name, Help, Window string
	// Dated reports whether backfill writes the metric, which is known for any time in
	// the past from the creation times of the sessions.
	Dated bool
	// Value returns the value of the metric and reports whether it has one.
	Value func(*tally.Numbers) (value float64, ok bool)

	desc   *prometheus.Desc
	labels []*dto.LabelPair // after ChatbotLabel
}

// DatedMetrics returns the metrics that are known for any time in the past.
func DatedMetrics() []Metric {
	return slices.DeleteFunc(slices.Clone(numberMetrics), func(m Metric) bool { return !m.Dated })
}

func (m Metric) dated() Metric {
	m.Dated = true
	return m
}

func count(name, help string, of func(*tally.Numbers) int) Metric {
	return Metric{
		Name: fullName(name), Help: help, desc: newDesc(name, help),
		Value: func(n *tally.Numbers) (float64, bool) { return float64(of(n)), true },
	}
}

func timestamp(name, help string, of func(*tally.Numbers) time.Time) Metric {
	return Metric{
		Name: fullName(name), Help: help, desc: newDesc(name, help),
		Value: func(n *tally.Numbers) (float64, bool) { return unixSeconds(of(n)), !of(n).IsZero() },
	}
}

// windowNames are the values of [WindowLabel], in the order of [tally.RecentWindows] and
// [tally.UsualWindows].
var windowNames = [...]string{"1h", "1d", "7d", "28d"}

func recent(name string, kind tally.Kind, help string) (metrics []Metric) {
	for i := range tally.RecentWindows {
		metrics = append(metrics, windowed(name, help, i, func(n *tally.Numbers) (float64, bool) {
			return n.Recent[kind][i], true
		}))
	}
	return metrics
}

func usual(name string, kind tally.Kind, help string) (metrics []Metric) {
	for i := range tally.UsualWindows {
		metrics = append(metrics, windowed(name, help, i, func(n *tally.Numbers) (float64, bool) {
			return n.Usual[kind][i].Number, n.Usual[kind][i].Known
		}))
	}
	return metrics
}

func windowed(name, help string, window int, value func(*tally.Numbers) (float64, bool)) Metric {
	return Metric{
		Name: fullName(name), Help: help, Window: windowNames[window], Dated: true, Value: value,
		desc: newDesc(name, help, WindowLabel), labels: []*dto.LabelPair{label(WindowLabel, windowNames[window])},
	}
}

func missing(name string, kind tally.Kind, help string) []Metric {
	return []Metric{{
		Name: fullName(name), Help: help, Dated: true, desc: newDesc(name, help),
		Value: func(n *tally.Numbers) (float64, bool) { return n.Missing[kind].Number, n.Missing[kind].Known },
	}}
}

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(fullName(name), help, append([]string{ChatbotLabel}, labels...), nil)
}

func fullName(name string) string { return prometheus.BuildFQName("chatwize", "", name) }

// unixSeconds returns a time in the unit of Prometheus.
func unixSeconds(t time.Time) float64 { return float64(t.Unix()) + float64(t.Nanosecond())/1e9 }
