// Package check fetches every chatbot of accounts once and prints the results.
package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/progress"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// Formats are the values of Command.Format.
var Formats = []string{"table", "json"}

// Command is the command check with its flags.
type Command struct {
	// Format is one of [Formats].
	Format string
}

// Run fetches every chatbot of accounts and prints the results to out. It reports whether all
// fetches succeeded. An account that cannot list its chatbots is a result of its own, and so is
// one with a name that has none. Without a name that is an error.
func (c Command) Run(ctx context.Context, set *accounts.Set, out io.Writer, terminal *progress.Terminal) (ok bool, err error) {
	write := WriteTable
	if c.Format == "json" {
		write = WriteJSON
	}
	lists := set.Lists(ctx)
	if ctx.Err() != nil {
		return false, errInterrupted
	}
	n := 0
	for _, l := range lists {
		if l.Err == nil && len(l.Chatbots) == 0 && !set.Named() {
			return false, cmp.Or(write(out, []Result{}), l.Problem())
		}
		n += len(l.Chatbots)
	}
	bar := terminal.Bar(int64(n), "fetching chatbots")
	results := fetchLists(ctx, lists, func() { _ = bar.Add(1) })
	_ = bar.Finish()
	if ctx.Err() != nil {
		return false, errInterrupted
	}
	if err := write(out, results); err != nil {
		return false, err
	}
	return !slices.ContainsFunc(results, func(r Result) bool { return !r.OK() }), nil
}

var errInterrupted = errors.New("interrupted")

// fetchLists fetches the chatbots of lists, in their order. It calls done, concurrently,
// after each chatbot.
func fetchLists(ctx context.Context, lists []accounts.List, done func()) []Result {
	results := make([][]Result, len(lists))
	var fetches sync.WaitGroup
	for i, l := range lists {
		fetches.Go(func() {
			switch {
			case l.Err != nil:
				results[i] = []Result{listFailed(l.Err)}
			case len(l.Chatbots) == 0:
				results[i] = []Result{{Status: "no chatbots"}}
			default:
				results[i] = Fetch(ctx, l.Account.Source, l.Chatbots, done)
			}
			for n := range results[i] {
				results[i][n].Account = l.Account.Name
			}
		})
	}
	fetches.Wait()
	return slices.Concat(results...)
}

// Result is how a chatbot is doing or, without a UUID, why there is no list of chatbots.
type Result struct {
	Account string        `json:"account,omitempty"`
	Chatbot string        `json:"chatbot,omitempty"` // UUID
	Name    string        `json:"name,omitempty"`
	Status  string        `json:"status"` // "ok", or why the fetch failed
	Reason  client.Reason `json:"reason,omitempty"`
	// The numbers and times are nil if the fetch failed, or if there is none.
	Sessions        *int       `json:"sessions,omitempty"`
	Leads           *int       `json:"leads,omitempty"`
	Verified        *int       `json:"verified,omitempty"`
	Recent          *float64   `json:"last_24h,omitempty"`  // sessions
	Usual           *float64   `json:"usual_24h,omitempty"` // sessions
	Missing         *float64   `json:"missing_sessions,omitempty"`
	MissingLeads    *float64   `json:"missing_leads,omitempty"`
	MissingVerified *float64   `json:"missing_verified,omitempty"`
	Newest          *time.Time `json:"newest_session,omitempty"`
	Seconds         float64    `json:"seconds"` // duration of the fetch
}

// ok is the status of a chatbot whose fetch succeeded.
const ok = "ok"

// OK reports whether the fetch succeeded.
func (r Result) OK() bool { return r.Status == ok }

// Fetch fetches chatbots and returns the results in their order. It calls done,
// concurrently, after each.
func Fetch(ctx context.Context, source collector.Fetcher, chatbots []client.Chatbot, done func()) []Result {
	results := make([]Result, len(chatbots))
	var fetches sync.WaitGroup
	for i, chatbot := range chatbots {
		fetches.Go(func() {
			results[i] = newResult(chatbot, source.FetchAll(ctx, chatbots[i:i+1])[0])
			done()
		})
	}
	fetches.Wait()
	return results
}

func newResult(chatbot client.Chatbot, fetched fetch.Result) Result {
	r := Result{
		Chatbot: chatbot.UUID, Name: chatbot.NameOrUUID(), Status: status(fetched.Err), Seconds: fetched.Took.Seconds(),
	}
	if fetched.Err != nil {
		r.Reason = fetch.ReasonOf(fetched.Err)
	} else {
		numbers := fetched.Numbers
		r.Sessions, r.Leads, r.Verified = &numbers.Sessions, &numbers.WithLead, &numbers.WithVerifiedIdentity
		r.Recent, r.Usual = &numbers.Recent[tally.AllSessions][tally.OneDay], pointer(numbers.Usual[tally.AllSessions][tally.OneDay])
		r.Missing, r.MissingLeads, r.MissingVerified = pointer(numbers.Missing[tally.AllSessions]),
			pointer(numbers.Missing[tally.WithLead]), pointer(numbers.Missing[tally.WithVerifiedIdentity])
		if !numbers.LastCreated.IsZero() {
			r.Newest = &numbers.LastCreated
		}
	}
	return r
}

// listFailed returns the result for an account whose list of chatbots cannot be had.
func listFailed(err error) Result {
	text := status(err)
	if text == notSessions {
		text = "not a list of chatbots"
	}
	return Result{Status: "no list: " + text, Reason: fetch.ReasonOf(err)}
}

// pointer returns a pointer to a number, nil if it is unknown.
func pointer(value tally.Value) *float64 {
	if !value.Known {
		return nil
	}
	return &value.Number
}

// pauseEnd returns " until" and the end of the pause that a failed fetch met or began. It is
// empty if there is no pause.
func pauseEnd(err error) string {
	until := fetch.PausedUntil(err)
	if until.IsZero() {
		return ""
	}
	return " until " + until.UTC().Format(time.RFC3339)
}

const notSessions = "not a session list"

// status returns why a fetch failed, in a few words.
func status(err error) string {
	if err == nil {
		return ok
	}
	code := fetch.StatusOf(err)
	switch fetch.ReasonOf(err) {
	case client.Unauthorized:
		if code == 0 {
			return "no key to send"
		}
		return "key refused"
	case client.NotFound:
		return "not found"
	case client.RateLimited:
		return "rate limited" + pauseEnd(err)
	case client.ServerError:
		return fmt.Sprintf("server error %d", code) + pauseEnd(err)
	case client.UnexpectedStatus:
		return fmt.Sprintf("unexpected status %d", code)
	case client.Timeout:
		return "timed out"
	case client.Network:
		return "connection failed"
	default: // client.InvalidResponse
		if errors.Is(err, client.ErrPage) {
			return "only a page of the list"
		}
		return notSessions
	}
}
