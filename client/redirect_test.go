package client_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

func TestRedirect(t *testing.T) {
	var stolen string
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		stolen = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, "[{}]")
	})
	tests := []struct {
		name, location string
		followed       bool
		cause          error
	}{
		{"the same origin", "/list", true, nil},
		{"another port", elsewhere, false, client.ErrElsewhere},
		{"https", "https://{host}/list", false, client.ErrToHTTPS},
		{"https on its own port", "https://127.0.0.1/list", false, client.ErrToHTTPS},
		{"https elsewhere", "https://api.example/list", false, client.ErrElsewhere},
		{"another name for the host", "http://localhost:{port}/list", false, client.ErrElsewhere},
		{"a loop", "/loop", false, nil},
		{"nowhere", "", false, nil},
	}
	for _, status := range []int{301, 302, 307, 308} {
		for _, test := range tests {
			t.Run(fmt.Sprint(status, " to ", test.name), func(t *testing.T) {
				requests := 0
				base := serve(t, func(w http.ResponseWriter, r *http.Request) {
					requests++
					if r.URL.Path == "/list" && r.Header.Get("Authorization") == "Bearer "+key {
						_, _ = io.WriteString(w, "[{}]")
						return
					}
					_, port, _ := net.SplitHostPort(r.Host)
					if test.location != "" {
						w.Header().Set("Location", strings.NewReplacer("{host}", r.Host, "{port}", port).Replace(test.location))
					}
					w.WriteHeader(status)
				})
				got, err := sessions(t.Context(), newClient(t, base))
				if test.followed {
					if err != nil || len(got) != 1 {
						t.Errorf("got %d sessions, %v; want the redirect followed", len(got), err)
					}
					return
				}
				if failure := failure(t, err); failure.Reason != client.UnexpectedStatus || failure.Status != status || !errors.Is(failure.Err, test.cause) {
					t.Errorf("got %+v, want unexpected_status %d", failure, status)
				}
				if test.name == "a loop" && requests != 11 {
					t.Errorf("followed %d redirects, want 10", requests-1)
				}
			})
		}
	}
	if stolen != "" {
		t.Errorf("the key went elsewhere: %s", stolen)
	}
}

// redirects answers requests to the API at api.example with a redirect and all others
// with an empty list. It remembers where those went with the key.
type redirects struct {
	location string
	strayed  []string
}

func (r *redirects) RoundTrip(request *http.Request) (*http.Response, error) {
	response := &http.Response{StatusCode: http.StatusOK, Request: request, Body: io.NopCloser(strings.NewReader("[]"))}
	if strings.EqualFold(request.URL.String(), "https://api.example/api/v1/chatbot/"+chatbot+"/sessions") {
		response.StatusCode = http.StatusFound
		response.Header = http.Header{"Location": {r.location}}
	} else if request.Header.Get("Authorization") != "" {
		r.strayed = append(r.strayed, request.URL.String())
	}
	return response, nil
}

// The key stays within scheme, host and port, even where net/http would take it
// along: to a subdomain. How the base URL spells its host makes no difference.
func TestOrigin(t *testing.T) {
	tests := map[string]bool{
		"https://api.example/x":      true,
		"https://api.example:443/x":  true,
		"/x":                         true,
		"https://evil.api.example/x": false,
		"https://api.example:444/x":  false,
		"http://api.example/x":       false,
		"http://api.example:443/x":   false,
		"//evil.example/x":           false,
	}
	for _, base := range []string{"https://api.example", "https://API.Example", "HTTPS://Api.example"} {
		for location, same := range tests {
			t.Run(base+" to "+location, func(t *testing.T) {
				transport := &redirects{location: location}
				_, err := sessions(t.Context(), newClientWith(t, base, transport))
				if same != (err == nil) || same != (len(transport.strayed) == 1) {
					t.Errorf("got %v, the key went to %q; want the redirect followed: %t", err, transport.strayed, same)
				}
			})
		}
	}
}
