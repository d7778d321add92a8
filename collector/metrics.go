package collector

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// ChatbotLabel is the label with the UUID of a chatbot. All metrics of chatbots have it.
const ChatbotLabel = "chatbot"

// The metrics of a chatbot that do not come from its tally.
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

// tallyMetrics are the metrics that show the tally of a chatbot.
var tallyMetrics = []TallyMetric{
	count("sessions", dated,
		"Sessions of the chatbot.",
		func(t tally.Counts) int { return t.Sessions }),
	count("sessions_with_lead", dated,
		"Sessions whose visitor submitted the lead form.",
		func(t tally.Counts) int { return t.WithLead }),
	count("sessions_with_verified_identity", dated,
		"Sessions whose visitor's identity was verified and saved.",
		func(t tally.Counts) int { return t.WithVerifiedIdentity }),
	count("malformed_sessions", undated,
		"Sessions that break the documented shape; they are counted as sessions all the same.",
		func(t tally.Counts) int { return t.Malformed }),
	timestamp("last_session_created_timestamp_seconds", dated,
		"When the newest session was created, in Unix time.",
		func(t tally.Counts) time.Time { return t.LastCreated }),
	timestamp("last_session_modified_timestamp_seconds", undated,
		"When a session was last modified, in Unix time.",
		func(t tally.Counts) time.Time { return t.LastModified }),
}

const dated, undated = true, false

// TallyMetric is a gauge that shows a part of a tally. It has [ChatbotLabel] as its
// only label.
type TallyMetric struct {
	Name, Help string
	// Dated reports whether the metric is known for any time in the past, from the
	// creation times of the sessions.
	Dated bool
	// Value returns the value of the metric and reports whether it has one.
	Value func(tally.Counts) (value float64, ok bool)

	desc *prometheus.Desc
}

// DatedMetrics returns the metrics that are known for any time in the past.
func DatedMetrics() []TallyMetric {
	return slices.DeleteFunc(slices.Clone(tallyMetrics), func(m TallyMetric) bool { return !m.Dated })
}

func count(name string, dated bool, help string, of func(tally.Counts) int) TallyMetric {
	return TallyMetric{
		Name: fullName(name), Help: help, Dated: dated, desc: newDesc(name, help),
		Value: func(t tally.Counts) (float64, bool) { return float64(of(t)), true },
	}
}

func timestamp(name string, dated bool, help string, of func(tally.Counts) time.Time) TallyMetric {
	return TallyMetric{
		Name: fullName(name), Help: help, Dated: dated, desc: newDesc(name, help),
		Value: func(t tally.Counts) (float64, bool) { return unixSeconds(of(t)), !of(t).IsZero() },
	}
}

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(fullName(name), help, append([]string{ChatbotLabel}, labels...), nil)
}

func fullName(name string) string { return prometheus.BuildFQName("chatwize", "", name) }

// unixSeconds returns a time in the unit of Prometheus.
func unixSeconds(t time.Time) float64 { return float64(t.Unix()) + float64(t.Nanosecond())/1e9 }
