package setting

import (
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

// word is a text that is no API key: keys are longer or have capital letters.
var word = regexp.MustCompile(`^[a-z0-9._-]{1,40}$`)

// maxDigits is the maximum number of digits in a word that is quoted. Keys of lower-case
// letters and digits have more.
const maxDigits = 5

// Quotable reports whether an error may quote text, which a user gave or wrote into a
// file: whether it is a short word without capital letters and with few digits, or a path
// that exists. Any other text may be an API key in the wrong place.
func Quotable(text string) bool {
	digits := 0
	for _, c := range text {
		if '0' <= c && c <= '9' {
			digits++
		}
	}
	if word.MatchString(text) && digits <= maxDigits {
		return true
	}
	_, err := os.Stat(text)
	return err == nil
}

// ShownURL returns u as a log line may show it: without a host or a path that may be an
// API key in the wrong place.
func ShownURL(u *url.URL) string {
	const hidden = "<not shown>"
	host, path := u.Host, u.Path
	// Addresses with a zone are not shown: a zone can be any text.
	if address, err := netip.ParseAddr(u.Hostname()); !word.MatchString(u.Hostname()) && (err != nil || address.Zone() != "") {
		host = hidden
	}
	if slices.ContainsFunc(strings.Split(path, "/"), func(part string) bool { return part != "" && !word.MatchString(part) }) {
		path = "/" + hidden
	}
	return u.Scheme + "://" + host + path
}
