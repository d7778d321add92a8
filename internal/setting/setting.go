// Package setting parses the settings of a user, from flags and from files. Its errors do not
// quote the text, which may be an API key in the wrong place. They begin with what is wrong
// and go on with what to do.
package setting

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// WholeNumber parses a whole number, not below minimum.
func WholeNumber(text string, minimum int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < minimum {
		return 0, fmt.Errorf("must be a whole number, minimum %d", minimum)
	}
	return n, nil
}

// Duration parses a duration, not below minimum, as Go writes it (1.5s, 1h30m) or as
// Prometheus does (1d).
func Duration(text string, minimum time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		var days model.Duration
		days, err = model.ParseDuration(text)
		d = time.Duration(days)
	}
	switch {
	case err != nil:
		return 0, errors.New("must be a duration, such as 500ms, 30s or 5m")
	case d < minimum:
		return 0, fmt.Errorf("is too short; minimum %s", minimum)
	}
	return d, nil
}

// BaseURL parses the base URL of an API, http or https. White space around it is ignored.
// keySetting is the setting for the API key.
func BaseURL(text, keySetting string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	switch {
	case err != nil:
		return nil, errors.New("is not a URL; write it like https://app.chatwize.ai")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, errors.New("is not an http or https URL; write it like https://app.chatwize.ai")
	case !isPort(u.Port()):
		return nil, errors.New("has no valid port; write one from 1 to 65535, or none")
	case u.User != nil:
		return nil, errors.New("has a user name or password; the API accepts only a key, from " + keySetting)
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/api/v1"):
		return nil, errors.New("has the path of the API itself; remove /api/v1")
	case u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("has a query or fragment; write only host and path, like https://app.chatwize.ai")
	}
	return u, nil
}

// isPort reports whether text is a port of TCP, or none.
func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && port > 0
}

// IsPlaintext reports whether requests to u can be read on the network.
func IsPlaintext(u *url.URL) bool {
	host := u.Hostname()
	address, err := netip.ParseAddr(host)
	loopback := strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
	return u.Scheme == "http" && !loopback
}

// Pattern parses a regular expression (RE2) that must match a whole text, as those of
// Prometheus. An empty one is nil.
func Pattern(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // nothing to match
	}
	invalid := errors.New("is not a regular expression; write one as RE2 describes, such as Test.*")
	if _, err := regexp.Compile(text); err != nil { // a)|(b is none, although ^(a)|(b)$ is
		return nil, invalid
	}
	pattern, err := regexp.Compile("^(?s:" + text + ")$")
	if err != nil {
		return nil, invalid
	}
	return pattern, nil
}
