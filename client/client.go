// Package client reads chatbots and their sessions from the Chatwize REST API.
//
// The API is documented at https://guide.chatwize.ai ("Fetch all Sessions").
// Other brands of the same platform serve the same API under other hosts.
package client

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
)

// Config describes an account and how to reach it.
type Config struct {
	// URL is the base URL of the API. Its path is kept as a prefix.
	URL *url.URL
	// Key returns the API key. It is called for each request, so that the key can
	// be rotated while the process runs.
	Key func(context.Context) (string, error)
	// UserAgent is sent with each request.
	UserAgent string
	// Transport sends the requests; see [NewTransport].
	Transport http.RoundTripper
	// Buffers is the memory for reading lists. Clients that share it use as much memory
	// together as one of them that reads as many lists at a time. nil: one of its own.
	Buffers *Buffers
}

// Client reads one Chatwize account. It is safe for concurrent use.
type Client struct {
	config Config
	http   *http.Client
}

// New returns a Client for the account that config describes.
func New(config Config) *Client {
	base := *config.URL
	base.Host = strings.ToLower(base.Host)
	config.URL = &base
	config.Buffers = cmp.Or(config.Buffers, new(Buffers))
	return &Client{
		config: config,
		http: &http.Client{
			Transport:     config.Transport,
			CheckRedirect: sameOrigin(config.URL),
		},
	}
}
