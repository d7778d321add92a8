package check

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"
)

// WriteJSON writes results as a JSON array.
func WriteJSON(out io.Writer, results []Result) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(results)
}

// WriteTable writes results as a table, nothing if there are none.
func WriteTable(out io.Writer, results []Result) error {
	if len(results) == 0 {
		return nil
	}
	rows := [][]string{{"ACCOUNT", "CHATBOT", "NAME", "STATUS", "SESSIONS", "LEADS", "VERIFIED", "LAST 24H", "USUAL", "MISSING", "NEWEST SESSION", "TIME TAKEN"}}
	for _, r := range results {
		newest := "-"
		if r.Newest != nil {
			newest = r.Newest.UTC().Format(time.RFC3339)
		}
		took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Millisecond)
		rows = append(rows, []string{printable(r.Account), orDash(r.Chatbot), printable(r.Name), r.Status,
			count(r.Sessions), count(r.Leads), count(r.Verified), rounded(r.Recent), rounded(r.Usual), rounded(r.Missing), newest, took.String()})
	}
	if !slices.ContainsFunc(results, func(r Result) bool { return r.Account != "" }) {
		for i := range rows {
			rows[i] = rows[i][1:]
		}
	}
	_, err := io.WriteString(out, align(rows))
	return err
}

// align returns rows as lines with aligned columns, two spaces apart. It pads by the
// width that a terminal gives the text, which may have wide or combining characters.
func align(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], uniseg.StringWidth(cell))
		}
	}
	var lines strings.Builder
	for _, row := range rows {
		last := len(row) - 1
		for i, cell := range row[:last] {
			lines.WriteString(cell + strings.Repeat(" ", widths[i]-uniseg.StringWidth(cell)+2))
		}
		lines.WriteString(row[last] + "\n")
	}
	return lines.String()
}

func orDash(text string) string { return cmp.Or(text, "-") }

func count(n *int) string {
	if n == nil {
		return "-"
	}
	return strconv.Itoa(*n)
}

func rounded(n *float64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatFloat(*n, 'f', 0, 64)
}

// printable returns a name with characters that could control a terminal replaced.
func printable(name string) string {
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && !unicode.In(r, unicode.M) && r != '\u200d' {
			return unicode.ReplacementChar
		}
		return r
	}, name)
	switch {
	case name == "":
		return "-"
	case uniseg.StringWidth(name) == 0:
		return "?"
	}
	return name
}
