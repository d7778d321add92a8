package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// maxRedirects is how many redirects within the origin of the API are followed.
const maxRedirects = 10

// Timeouts of connections. With a scrape timeout of 10 s, a request on an HTTP/2
// connection that has died fails after 5 s, in time for another try.
const (
	pingInterval = 3 * time.Second // without any frame from the server
	pingTimeout  = 2 * time.Second
	// idleTimeout ends connections before the next scrape a minute later, so that
	// changes of DNS are followed.
	idleTimeout = 25 * time.Second
)

// maxHeaderSize is the maximum size of the headers of a response in bytes.
const maxHeaderSize = 64 << 10

// Transport is an [http.Transport] that fails with [ErrNotHTTP] if the status code is
// below 100.
type Transport struct{ *http.Transport }

// NewTransport returns a Transport for up to concurrency requests at a time. It uses
// the proxies of the environment, keeps up to concurrency idle connections for 25
// seconds, pings HTTP/2 connections, and reads at most 64 KiB of response headers.
func NewTransport(concurrency int) Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = concurrency
	transport.MaxIdleConnsPerHost = concurrency
	transport.IdleConnTimeout = idleTimeout
	transport.MaxResponseHeaderBytes = maxHeaderSize
	transport.HTTP2 = &http.HTTP2Config{
		SendPingTimeout: pingInterval,
		PingTimeout:     pingTimeout,
		// Less than the default, to save memory. A server sends one window per round
		// trip, so this allows 20 MB/s at a round trip of 50 ms.
		MaxReceiveBufferPerStream:     1 << 20,
		MaxReceiveBufferPerConnection: 4 << 20,
	}
	transport.DialContext = limitDials(transport.DialContext)
	transport.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, response *http.Response) error {
		if response.StatusCode != http.StatusOK {
			return proxyError(response.StatusCode)
		}
		return nil
	}
	return Transport{transport}
}

// maxDials is the maximum number of connections that one request may open. net/http opens
// another one for each that refuses the request, as HTTP/2 allows, until the request ends. A
// few are usual if a connection takes one request at a time.
const maxDials = 6

// dialsKey is the key of the number of connections, an [*atomic.Int32], in the context of a
// request.
type dialsKey struct{}

// limitDials returns a function that opens connections, up to maxDials for each request of a
// [Transport].
func limitDials(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials, ok := ctx.Value(dialsKey{}).(*atomic.Int32); ok && dials.Add(1) > maxDials {
			return nil, errRefusing
		}
		return dial(ctx, network, address)
	}
}

// RoundTrip sends a request.
func (t Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.WithContext(context.WithValue(request.Context(), dialsKey{}, new(atomic.Int32)))
	response, err := t.Transport.RoundTrip(request)
	if errors.Is(err, errRefusing) {
		t.CloseIdleConnections() // they refuse requests, too
	}
	if err == nil && response.StatusCode < http.StatusContinue {
		response.Body.Close()
		return nil, ErrNotHTTP
	}
	return response, err
}

// proxyError is the status with which a proxy refused to connect to the API.
type proxyError int

func (status proxyError) Error() string {
	return fmt.Sprintf("the proxy answered %d %s", int(status), http.StatusText(int(status)))
}

// Is reports whether target is [ErrProxyPassword], after 407, or [ErrProxy].
func (status proxyError) Is(target error) bool {
	return target == ErrProxy || target == ErrProxyPassword && status == http.StatusProxyAuthRequired
}

// sameOrigin returns a redirect policy that sends the API key only to the scheme,
// host and port of origin. A redirect that is not followed becomes the response.
func sameOrigin(origin *url.URL) func(*http.Request, []*http.Request) error {
	return func(request *http.Request, via []*http.Request) error {
		same := request.URL.Scheme == origin.Scheme &&
			request.URL.Hostname() == origin.Hostname() &&
			port(request.URL) == port(origin)
		if !same || len(via) > maxRedirects {
			return http.ErrUseLastResponse
		}
		return nil
	}
}

func port(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}
