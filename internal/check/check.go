// Package check asks the API once for every chatbot and says how each is doing.
package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/rivo/uniseg"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

// Result is how a chatbot is doing. Sessions, Leads, Verified and Newest are absent
// while its sessions cannot be fetched, Newest also while it has none.
type Result struct {
	Chatbot  string     `json:"chatbot"` // its UUID
	Name     string     `json:"name"`
	Status   string     `json:"status"` // "ok", or what is wrong
	Sessions *int       `json:"sessions,omitempty"`
	Leads    *int       `json:"leads,omitempty"`
	Verified *int       `json:"verified,omitempty"`
	Newest   *time.Time `json:"newest_session,omitempty"`
	Seconds  float64    `json:"seconds"` // that the fetch took
}

// ok is the status of a chatbot that is doing well.
const ok = "ok"

// OK tells whether the chatbot's sessions could be fetched.
func (r Result) OK() bool { return r.Status == ok }

// Run fetches chatbots by way of source and returns the results in their order. It
// calls done after each, from several goroutines.
func Run(ctx context.Context, source *collector.Source, chatbots collector.Chatbots, done func()) []Result {
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

func newResult(chatbot collector.Chatbot, fetch collector.Fetch) Result {
	r := Result{
		Chatbot: chatbot.UUID, Name: chatbot.ShownName(), Status: status(fetch.Err), Seconds: fetch.Took.Seconds(),
	}
	if fetch.Err == nil {
		sum := fetch.Summary
		r.Sessions, r.Leads, r.Verified = &sum.Sessions, &sum.WithLead, &sum.WithVerifiedIdentity
		if !sum.LastCreated.IsZero() {
			r.Newest = &sum.LastCreated
		}
	}
	return r
}

// status says in a few words why a fetch failed.
func status(err error) string {
	var failure *client.Error
	switch {
	case err == nil:
		return ok
	case !errors.As(err, &failure):
		return "failed"
	}
	switch failure.Reason {
	case client.Unauthorized:
		if failure.Status == 0 {
			return "no key to send"
		}
		return "key refused"
	case client.NotFound:
		return "not found"
	case client.RateLimited:
		return "rate limited until " + failure.RetryAt.Local().Format(time.TimeOnly)
	case client.ServerError:
		return fmt.Sprintf("server error %d", failure.Status)
	case client.UnexpectedStatus:
		return fmt.Sprintf("unexpected status %d", failure.Status)
	case client.Timeout:
		return "timed out"
	case client.Network:
		return "connection failed"
	default: // client.InvalidResponse
		return "not a session list"
	}
}

// WriteJSON writes results as a JSON array.
func WriteJSON(out io.Writer, results []Result) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(results)
}

// cell stands for a character cell of a name while the table is laid out.
const cell = "\x00"

var cells = regexp.MustCompile(cell + "+")

// WriteTable writes results as a table, aligned also where names have wide or
// combining characters: tabwriter takes each character for one cell wide, so it is
// given that many of another in a name's place.
func WriteTable(out io.Writer, results []Result) error {
	var table strings.Builder // which takes everything without an error
	writer := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(writer, "CHATBOT\tNAME\tSTATUS\tSESSIONS\tLEADS\tVERIFIED\tNEWEST SESSION\tTIME TAKEN")
	names := make([]string, 0, len(results))
	for _, r := range results {
		name := printable(r.Name)
		names = append(names, name)
		newest := "-"
		if r.Newest != nil {
			newest = r.Newest.UTC().Format(time.RFC3339)
		}
		took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Millisecond)
		_, _ = fmt.Fprintf(writer, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Chatbot, strings.Repeat(cell, uniseg.StringWidth(name)), r.Status,
			count(r.Sessions), count(r.Leads), count(r.Verified), newest, took)
	}
	if err := writer.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, cells.ReplaceAllStringFunc(table.String(), func(string) string {
		name := names[0]
		names = names[1:]
		return name
	}))
	return err
}

func count(n *int) string {
	if n == nil {
		return "-"
	}
	return strconv.Itoa(*n)
}

// printable returns a name without what would steer a terminal.
func printable(name string) string {
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && !unicode.In(r, unicode.M) && r != '\u200d' {
			return unicode.ReplacementChar
		}
		return r
	}, name)
	if uniseg.StringWidth(name) == 0 {
		return "?"
	}
	return name
}
