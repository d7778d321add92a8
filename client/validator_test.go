package client_test

import (
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// A list that has not changed is not read again.
func TestValidator(t *testing.T) {
	const etag, modified = `W/"a"`, "Wed, 16 Jul 2025 07:00:00 GMT"
	tests := map[string]http.Header{
		"ETag":          {"Etag": {etag}},
		"Last-Modified": {"Last-Modified": {modified}},
		"both":          {"Etag": {etag}, "Last-Modified": {modified}},
		"neither":       {},
	}
	for name, header := range tests {
		t.Run(name, func(t *testing.T) {
			body := "[{}]"
			var conditions []string
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				condition := r.Header.Get("If-None-Match") + r.Header.Get("If-Modified-Since")
				conditions = append(conditions, condition)
				for name, values := range header {
					w.Header()[name] = values
				}
				if condition != "" && body != "[{},{}]" {
					w.WriteHeader(http.StatusNotModified)
					return
				}
				_, _ = io.WriteString(w, body)
			})
			c := newClient(t, base)
			var known client.Validator
			fetch := func() (n int, notModified bool, err error) {
				response, err := c.Sessions(t.Context(), chatbot, client.SessionsOptions{Validator: known})
				if err != nil {
					return 0, false, err
				}
				for _, err := range response.Sessions {
					if err != nil {
						return n, false, err
					}
					n++
				}
				known = response.Validator
				return n, response.NotModified, nil
			}
			body = "[{},"
			if _, _, err := fetch(); err == nil || known != (client.Validator{}) {
				t.Errorf("a list that breaks off: got %v and %v", err, known)
			}
			body = "[{}]"
			if n, _, err := fetch(); n != 1 || err != nil {
				t.Errorf("got %d, %v", n, err)
			}
			n, notModified, err := fetch()
			if conditional := len(header) > 0; err != nil || conditional != notModified || conditional != (n == 0) {
				t.Errorf("not modified: got %d, %v", n, err)
			}
			body = "[{},{}]"
			if n, _, err := fetch(); n != 2 || err != nil {
				t.Errorf("modified: got %d, %v", n, err)
			}
			want := header.Get("Etag") + header.Get("Last-Modified")
			if !slices.Equal(conditions, []string{"", "", want, want}) {
				t.Errorf("asked with the conditions %q", conditions)
			}
		})
	}
}

// A Last-Modified less than two seconds older than Date may be of a list that has changed
// since. It makes no request conditional; an ETag does.
func TestLastModified(t *testing.T) {
	const modified = "Wed, 16 Jul 2025 07:00:00 GMT"
	tests := map[string]struct {
		date, lastModified string
		conditional        bool
	}{
		"a minute older":     {"Wed, 16 Jul 2025 07:01:00 GMT", modified, true},
		"two seconds older":  {"Wed, 16 Jul 2025 07:00:02 GMT", modified, true},
		"a second older":     {"Wed, 16 Jul 2025 07:00:01 GMT", modified, false},
		"of the same second": {modified, modified, false},
		"of the future":      {"Wed, 16 Jul 2025 06:00:00 GMT", modified, false},
		"without a Date":     {"", modified, false},
		"an unreadable Date": {"today", modified, false},
		"unreadable itself":  {"Wed, 16 Jul 2025 07:01:00 GMT", "yesterday", false},
	}
	for name, test := range tests {
		for _, etag := range []string{"", `"a"`} {
			t.Run(name+" "+etag, func(t *testing.T) {
				var conditions []string
				c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
					conditions = append(conditions, r.Header.Get("If-Modified-Since")+r.Header.Get("If-None-Match"))
					w.Header()["Date"] = nil
					if test.date != "" {
						w.Header().Set("Date", test.date)
					}
					w.Header().Set("Last-Modified", test.lastModified)
					if etag != "" {
						w.Header().Set("ETag", etag)
					}
					_, _ = io.WriteString(w, "[]")
				}))
				first, err := c.Sessions(t.Context(), chatbot, client.SessionsOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for range first.Sessions {
				}
				for range fetch(t.Context(), c, client.SessionsOptions{Validator: first.Validator}) {
				}
				want := etag
				if test.conditional {
					want = test.lastModified + etag
				}
				if !slices.Equal(conditions, []string{"", want}) {
					t.Errorf("asked with the conditions %q, want %q", conditions, want)
				}
			})
		}
	}
}

// A response carries the time by the clock of the API, or else when its headers came.
func TestDate(t *testing.T) {
	for name, test := range map[string]struct {
		date string
		want time.Time // zero: when the headers came
	}{
		"a Date":             {"Wed, 16 Jul 2025 07:00:00 GMT", time.Date(2025, 7, 16, 7, 0, 0, 0, time.UTC)},
		"without a Date":     {"", time.Time{}},
		"an unreadable Date": {"2025-07-16T07:00:00Z", time.Time{}},
	} {
		for _, status := range []int{http.StatusOK, http.StatusNotModified} {
			t.Run(name+" "+http.StatusText(status), func(t *testing.T) {
				c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header()["Date"] = nil
					if test.date != "" {
						w.Header().Set("Date", test.date)
					}
					w.Header().Set("ETag", `"a"`)
					if r.Header.Get("If-None-Match") != "" {
						w.WriteHeader(status)
					}
					_, _ = io.WriteString(w, "[]")
				}))
				var response *client.SessionsResponse
				before := time.Now()
				for range 2 {
					options := client.SessionsOptions{}
					if response != nil {
						options.Validator = response.Validator
					}
					var err error
					if response, err = c.Sessions(t.Context(), chatbot, options); err != nil {
						t.Fatal(err)
					}
					for range response.Sessions {
					}
				}
				want := test.want
				if want.IsZero() {
					want = response.Received
				}
				if !response.Date.Equal(want) || response.Received.Before(before) || response.Received.After(time.Now()) ||
					response.NotModified != (status == http.StatusNotModified) {
					t.Errorf("got %v, received %v, want %v", response.Date, response.Received, want)
				}
			})
		}
	}
}
