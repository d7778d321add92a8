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
			var parameters []string
			parameters, field = cutParameters(rest)
			if isNext(parameters) {
				return true
			}
		}
	}
	return false
}

// cutParameters returns the parameters of a link and what follows the comma after them.
func cutParameters(text string) (parameters []string, rest string) {
	quoted, begin := false, 0
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ';' && !quoted:
			parameters, begin = append(parameters, text[begin:i]), i+1
		case text[i] == ',' && !quoted:
			return append(parameters, text[begin:i]), text[i+1:]
		}
	}
	return append(parameters, text[begin:]), ""
}

// isNext reports whether the relations among the parameters of a link contain "next". A
// link with an anchor is not about the response.
func isNext(parameters []string) (next bool) {
	for _, parameter := range parameters {
		name, value, _ := strings.Cut(parameter, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "anchor":
			return false
		case "rel":
			relations := strings.Fields(strings.Trim(strings.TrimSpace(value), `"'`))
			next = next || slices.ContainsFunc(relations, func(relation string) bool { return strings.EqualFold(relation, "next") })
		}
	}
	return next
}
