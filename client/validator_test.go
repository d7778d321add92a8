package client_test

import (
	"io"
	"net/http"
	"slices"
	"testing"

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
