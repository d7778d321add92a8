package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// maxRedirects is how many redirects within the origin of the API are followed.
const maxRedirects = 10

// NewTransport returns a transport for up to concurrency requests at a time.
// It uses the proxies of the environment, keeps up to concurrency idle
// connections for 90 seconds, and reads at most 64 KiB of response headers.
func NewTransport(concurrency int) *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = concurrency
	transport.MaxIdleConnsPerHost = concurrency
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.ReadBufferSize = bufferSize
	// Less than the default, to save memory. A server sends one window per round
	// trip, so this allows 20 MB/s at a round trip of 50 ms.
	transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 1 << 20, MaxReceiveBufferPerConnection: 4 << 20}
	transport.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, response *http.Response) error {
		if response.StatusCode != http.StatusOK {
			return proxyError(response.StatusCode)
		}
		return nil
	}
	return transport
}

// proxyError is the status with which a proxy refused to connect to the API.
type proxyError int

func (status proxyError) Error() string {
	return fmt.Sprintf("the proxy answered %d %s", int(status), http.StatusText(int(status)))
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
