package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/version"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

const (
	// maxRows is the maximum number of chatbots that the overview shows.
	maxRows = 200
	// manyMissing is the threshold of the alerts.
	manyMissing = 15
)

// view is what the overview shows.
type view struct {
	Version, Revision string
	Links             []link
	Named             bool // whether accounts have names
	Chatbots          int
	States            []stateCount
	Reload            string // why the last reload failed
	Notes             []note
	Rows              []row
	More              int // number of chatbots without a row
	Lists             string
}

// link is a link of the overview, relative, so that a proxy may add a path prefix.
type link struct{ Address, Text string }

// stateCount is how many chatbots are in a state.
type stateCount struct {
	N int
	state
}

// note is about an account without chatbots to show.
type note struct {
	Account string
	Text    string
	Failure *failure
}

// state is how a chatbot is doing.
type state struct{ Class, Text string }

// The states of a chatbot, in the order of their counts.
var (
	failed  = state{"failed", "Failed"}
	silent  = state{"silent", "Silent"}
	missing = state{"missing", "Missing"}
	waiting = state{"waiting", "Waiting"}
	working = state{"ok", "OK"}
)

// row is a chatbot.
type row struct {
	Account, Name, UUID string
	Probe               string // address of its metrics
	State               state
	Failure             *failure // nil unless State is failed
	Numbers             *numbers // nil if there are none
	// missing is the greatest number of missing sessions, leads or identities, for the order
	// of rows.
	missing float64
}

// failure is why something could not be fetched.
type failure struct {
	Reason string
	Status int // 0: none
	Until  *age
	Hint   string
	Last   *age // when the last fetch succeeded, nil if none did
}

// numbers are what the last fetch of a chatbot saw.
type numbers struct {
	Kinds   []kindNumbers
	Missing *missingNumber  // sessions; nil if unknown
	Others  []missingNumber // leads and verified identities, if many are missing
	Newest  *age            // nil if there is none
	Fetched age
	Days    dayBars
}

// kindNumbers are the numbers of a kind of sessions.
type kindNumbers struct{ Kind, Total, Recent, Usual string }

// missingNumber is how many sessions of a kind are missing.
type missingNumber struct {
	Number, Kind string
	Many         bool // for an alert
}

// age is a time, and how long ago it is.
type age struct{ Time, Text string }

// dayBars are bars of the sessions per day. Path and Today are those of an SVG path.
type dayBars struct {
	Width, Height     int
	Path, Today, Text string
	Peak              string
}

// newView returns the view of chatbots as they are known now.
func newView(options Options, named bool, chatbots []listed, without []withoutChatbots) *view {
	now := time.Now()
	v := &view{
		Chatbots: len(chatbots),
		Version:  cmp.Or(version.Version, "unknown"), Revision: version.Revision, Named: named, Lists: relative(discoveryPath),
		Links: []link{
			{relative(options.TelemetryPath), "Metrics"},
			{relative(discoveryPath), "Service discovery"},
			{relative(healthyPath), "Healthy"},
			{relative(readyPath), "Ready"},
		},
	}
	for _, u := range without {
		v.Notes = append(v.Notes, newNote(u, now))
	}
	states := map[state]int{}
	for _, chatbot := range chatbots {
		r := newRow(chatbot, now)
		states[r.State]++
		v.Rows = append(v.Rows, r)
	}
	for _, s := range []state{failed, silent, missing, waiting, working} {
		if n := states[s]; n > 0 {
			v.States = append(v.States, stateCount{n, s})
		}
	}
	slices.SortStableFunc(v.Rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(b.missing, a.missing))
	})
	if v.More = len(v.Rows) - maxRows; v.More > 0 {
		v.Rows = v.Rows[:maxRows]
	}
	return v
}

// rank returns the position of the row's state in the table.
func (r row) rank() int {
	switch r.State {
	case failed:
		return 0
	case silent:
		return 1
	case waiting:
		return 3
	default:
		return 2
	}
}

func newNote(u withoutChatbots, now time.Time) note {
	n := note{Account: u.account.Name, Text: "has no chatbots to show. Check the base URL, the API key, and which chatbots are included or excluded."}
	var local *fetch.Error
	var answer *client.Error
	switch {
	case u.err == nil:
	case errors.Is(u.err, context.DeadlineExceeded) && !errors.As(u.err, &local) && !errors.As(u.err, &answer):
		n.Text = "has not listed its chatbots yet. Reload this page in a few seconds."
	default:
		n.Text = "could not list its chatbots."
		n.Failure = newFailure(u.err, client.EndpointChatbots, now)
	}
	return n
}

func newFailure(err error, endpoint string, now time.Time) *failure {
	f := &failure{Reason: string(fetch.ReasonOf(err)), Status: fetch.StatusOf(err), Hint: sentence(fetch.Hint(err, endpoint))}
	if until := fetch.PausedUntil(err); until.After(now) {
		f.Until = &age{until.UTC().Format(time.RFC3339), until.UTC().Format("15:04:05 UTC")}
	}
	return f
}

func newRow(chatbot listed, now time.Time) row {
	r := row{Account: chatbot.account.Name, Name: nameOf(chatbot.Chatbot), UUID: chatbot.UUID, State: waiting}
	query := url.Values{targetParameter: {chatbot.UUID}}
	if r.Account != "" {
		query.Set(accountParameter, r.Account)
	}
	r.Probe = relative(probePath) + "?" + query.Encode()
	known := chatbot.known()
	switch result := known.Result; {
	case result.Finished.IsZero():
	case result.Err != nil:
		r.State, r.Failure = failed, newFailure(result.Err, client.EndpointSessions, now)
		if !known.Succeeded.IsZero() {
			last := ago(known.Succeeded, now)
			r.Failure.Last = &last
		}
	default:
		r.Numbers = newNumbers(result, now)
		for _, value := range result.Numbers.Missing {
			r.missing = max(r.missing, value.Number) // 0 if it is unknown
		}
		switch {
		case isSilent(result.Numbers):
			r.State = silent
		case r.missing >= manyMissing:
			r.State = missing
		default:
			r.State = working
		}
	}
	return r
}

// nameOf returns the name of a chatbot, or its UUID if nothing of the name would be seen.
func nameOf(chatbot client.Chatbot) string {
	if strings.ContainsFunc(chatbot.Name, func(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) }) {
		return chatbot.Name
	}
	return chatbot.UUID
}

// isSilent reports whether a chatbot had sessions, but none for 28 days.
func isSilent(n *tally.Numbers) bool {
	recent := n.Recent[tally.AllSessions]
	return !n.LastCreated.IsZero() && recent[len(recent)-1] == 0
}

func newNumbers(result fetch.Result, now time.Time) *numbers {
	n := &numbers{Fetched: ago(result.Received, now), Days: newDayBars(result.Numbers.Days, result.Date)}
	for kind, name := range []string{"Sessions", "Leads", "Verified"} {
		total := []int{result.Numbers.Sessions, result.Numbers.WithLead, result.Numbers.WithVerifiedIdentity}[kind]
		usual := "–"
		if value := result.Numbers.Usual[kind][tally.OneDay]; value.Known {
			usual = grouped(value.Number)
		}
		n.Kinds = append(n.Kinds, kindNumbers{name, grouped(float64(total)), grouped(result.Numbers.Recent[kind][tally.OneDay]), usual})
		value := result.Numbers.Missing[kind]
		number := missingNumber{grouped(value.Number), strings.ToLower(name), value.Number >= manyMissing}
		switch {
		case value.Known && tally.Kind(kind) == tally.AllSessions:
			n.Missing = &number
		case number.Many:
			n.Others = append(n.Others, number)
		}
	}
	if newest := result.Numbers.LastCreated; !newest.IsZero() {
		// Both are times of the API's clock. The local one may be off.
		a := ago(newest, result.Date.Add(now.Sub(result.Received)))
		n.Newest = &a
	}
	return n
}

// newDayBars returns the bars of days, the last of which is that of now.
func newDayBars(days tally.Days, now time.Time) dayBars {
	const width, gap, height = 3, 1, 32
	bars := dayBars{Width: len(days)*(width+gap) - gap, Height: height}
	peak := slices.Max(days[:])
	today := len(days) - 1
	for i, n := range days {
		if n == 0 {
			continue
		}
		tall := strconv.FormatFloat(max(1, float64(n)/float64(peak)*height), 'f', 1, 64)
		bar := fmt.Sprintf("M%d %dv-%sh%dv%sz", i*(width+gap), height, tall, width, tall)
		if i == today {
			bars.Today = bar
		} else {
			bars.Path += bar
		}
	}
	bars.Peak = grouped(float64(peak))
	bars.Text = "No sessions in the last 35 days."
	if peak > 0 {
		at := now.UTC().AddDate(0, 0, slices.Index(days[:], peak)-today)
		bars.Text = fmt.Sprintf("Sessions per day (UTC) of the last 35 days: at most %s, on %s; %s yesterday; %s today so far.",
			bars.Peak, at.Format("2 January"), grouped(float64(days[today-1])), grouped(float64(days[today])))
	}
	return bars
}

// ago returns the age of a time.
func ago(at, now time.Time) age {
	day := 24 * time.Hour
	d, text := now.Sub(at), ""
	switch {
	case d < time.Second:
		text = "now"
	case d < time.Minute:
		text = fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		text = fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 2*day:
		text = fmt.Sprintf("%d h ago", int(d.Hours()))
	default:
		text = grouped(math.Floor(d.Hours()/24)) + " days ago"
	}
	return age{at.UTC().Format(time.RFC3339), text}
}

// grouped returns a number that is not negative, rounded, with commas between thousands.
func grouped(number float64) string {
	digits := strconv.FormatFloat(number, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// sentence returns a hint as a sentence.
func sentence(hint string) string {
	first, size := utf8.DecodeRuneInString(hint)
	return string(unicode.ToUpper(first)) + hint[size:] + "."
}

// relative returns the address of a path, relative to the overview.
func relative(path string) string {
	return (&url.URL{Path: strings.TrimPrefix(path, "/")}).String()
}
