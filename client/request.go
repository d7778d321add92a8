package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// Limits for reading the body of a failed response.
const (
	maxDiscarded   = 4 << 10 // bytes
	discardTimeout = 50 * time.Millisecond
)

// request is a GET request to an endpoint of the API.
type request struct {
	endpoint  string
	path      []string
	query     url.Values
	validator Validator // of a list; zero: the request is not conditional
}

// get sends a request. It returns a response with status 200, or with status 304
// if the request was conditional. Any other outcome is an [*Error].
func (c *Client) get(ctx context.Context, r request) (*http.Response, error) {
	key, err := c.config.Key(ctx)
	if err != nil {
		return nil, keyError(ctx, err)
	}
	target := c.config.URL.JoinPath(r.path...)
	target.RawQuery = r.query.Encode()
	request, err := http.NewRequestWithContext(withEndpoint(ctx, r.endpoint), http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, &Error{Reason: Network, Err: fmt.Errorf("building the request: %w", err)}
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Accept", "application/json")
	// The transport would decompress the body itself, and hide how many bytes
	// came over the network.
	request.Header.Set("Accept-Encoding", "gzip")
	// A cache on the way must not answer with an old list.
	request.Header.Set("Cache-Control", "no-cache")
	request.Header.Set("User-Agent", c.config.UserAgent)
	r.validator.setConditions(request.Header)

	response, err := c.http.Do(request)
	if err != nil {
		return nil, transportError(ctx, err)
	}
	switch {
	case response.StatusCode == http.StatusOK && hasNextPage(response.Header):
		discard(response)
		return nil, &Error{Reason: InvalidResponse, Status: response.StatusCode, Err: ErrPage}
	case response.StatusCode == http.StatusOK:
		return response, nil
	case response.StatusCode == http.StatusNotModified && r.validator != (Validator{}):
		return response, nil
	}
	err = statusError(response, target)
	discard(response)
	return nil, err
}

// keyError returns the error of a request whose API key could not be read.
func keyError(ctx context.Context, err error) *Error {
	reason := Unauthorized
	switch {
	case ctx.Err() != nil:
		reason = Timeout
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE): // as for a connection
		reason = Network
	}
	return &Error{Reason: reason, Err: fmt.Errorf("%w: %w", ErrNoKey, err)}
}

// discard closes a response. It reads a short body first, so that the connection
// can be used again.
func discard(response *http.Response) {
	if response.ContentLength <= maxDiscarded {
		late := time.AfterFunc(discardTimeout, func() { response.Body.Close() })
		defer late.Stop()
		_, _ = io.CopyN(io.Discard, response.Body, maxDiscarded+1)
	}
	response.Body.Close()
}
