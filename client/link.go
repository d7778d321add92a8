package client

import (
	"net/http"
	"slices"
	"strings"
)

// hasNextPage reports whether a response says that it is only a page of a list, by a
// link with the relation "next" (RFC 8288).
func hasNextPage(header http.Header) bool {
	for _, field := range header.Values("Link") {
		for {
			_, rest, found := strings.Cut(field, "<")
			if !found {
				break
			}
			_, rest, found = strings.Cut(rest, ">") // a URI has no > in it
			if !found {
				break
			}
			var parameters string
			parameters, field = cutParameters(rest)
			if isNext(parameters) {
				return true
			}
		}
	}
	return false
}

// cutParameters returns the parameters of a link and what follows the comma after them.
func cutParameters(text string) (parameters, rest string) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ',' && !quoted:
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

// isNext reports whether the relations among the parameters of a link contain "next".
func isNext(parameters string) bool {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		relations := strings.Fields(strings.Trim(strings.TrimSpace(value), `"'`))
		if strings.EqualFold(strings.TrimSpace(name), "rel") &&
			slices.ContainsFunc(relations, func(relation string) bool { return strings.EqualFold(relation, "next") }) {
			return true
		}
	}
	return false
}
