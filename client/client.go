// Package client reads chatbots' sessions from the Chatwize REST API.
//
// The API is documented at https://guide.chatwize.ai ("Fetch all Sessions").
// Its white-label sisters serve the same API under other hosts.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/readahead"
)

// maxRedirects is how many redirects within the API's own origin are followed.
const maxRedirects = 10

// How much of a failed response's body is read, and how long at the most.
const (
	maxDiscarded   = 4 << 10
	discardTimeout = 50 * time.Millisecond
)

// timestampLayout is how the API wants the timestamps of a query: ISO 8601 in
// UTC with milliseconds.
const timestampLayout = "2006-01-02T15:04:05.000Z"

// Config says which account to read and how.
type Config struct {
	// URL is the base URL of the API; its path is kept as a prefix.
	URL *url.URL
	// Key returns the API key. It is called for each fetch, so that a key can
	// be rotated while the process runs.
	Key func(context.Context) (string, error)
	// UserAgent is sent with each request.
	UserAgent string
	// Transport sends the requests; see [NewTransport].
	Transport http.RoundTripper
}

// Client reads one Chatwize account. It is safe for concurrent use.
type Client struct {
	config Config
	http   *http.Client
	// buffers are those of lists that are done, as *buffers.
	buffers sync.Pool
}

// New returns a Client for the account that config describes.
func New(config Config) *Client {
	base := *config.URL
	base.Host = strings.ToLower(base.Host)
	config.URL = &base
	return &Client{
		config: config,
		http: &http.Client{
			Transport:     config.Transport,
			CheckRedirect: sameOrigin(config.URL),
		},
	}
}

// NewTransport returns a transport for up to concurrency requests at a time.
// It takes proxies from the environment, keeps that many idle connections for
// 90 seconds, and reads at most 64 KiB of response headers.
func NewTransport(concurrency int) *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = concurrency
	transport.MaxIdleConnsPerHost = concurrency
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.ReadBufferSize = bufferSize
	// Less than the default, for the sake of memory, and enough for 20 MB/s from
	// 50 ms away: a window full is sent per round trip.
	transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 1 << 20, MaxReceiveBufferPerConnection: 4 << 20}
	transport.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, response *http.Response) error {
		if response.StatusCode != http.StatusOK {
			return proxyError(response.StatusCode)
		}
		return nil
	}
	return transport
}

// sameOrigin returns a redirect policy that keeps the API key within the scheme,
// host and port of origin. A redirect that is not followed is returned to the
// caller as the response.
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

// Sessions fetches the sessions of a chatbot and yields them one at a time while
// the response arrives. With a since other than zero only sessions created then
// or later are asked for, to the millisecond; a server may ignore that.
//
// Where known is not nil and the list is still the one that known came with,
// [ErrNotModified] is yielded instead; when another has been read to its end,
// known becomes that one's.
//
// A failure is yielded once, as an [*Error], and ends the sequence. Sessions that
// came before it are to be discarded: without the end of the list they are not
// the list. The request is over when the sequence ends or is left.
//
// Source: "Fetch all Sessions" of the Chatwize API, for since that of GPT-trainer.
func (c *Client) Sessions(ctx context.Context, chatbot string, since time.Time, known *Validator) iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		query := url.Values{}
		if !since.IsZero() {
			query.Set("start_timestamp", since.UTC().Format(timestampLayout))
		}
		if known == nil {
			known = &Validator{}
		}
		body, err := c.get(ctx, EndpointSessions, query, *known, "api/v1/chatbot", chatbot, "sessions")
		if err != nil {
			yield(Session{}, err)
			return
		}
		buffers, ok := c.buffers.Get().(*buffers)
		if !ok {
			buffers = newBuffers()
		}
		defer c.buffers.Put(buffers)
		// Receiving and decompressing go on while what has come is decoded.
		ahead, err := readahead.NewReaderBuffer(body, buffers.ahead)
		if err != nil {
			body.Close()
			yield(Session{}, &Error{Reason: Network, Err: fmt.Errorf("reading ahead: %w", err)})
			return
		}
		defer ahead.Close()
		defer body.Close() // first, to end the read that is under way
		for session, err := range decodeSessions(ahead, buffers.decoding) {
			if err != nil {
				err = body.explain(ctx, err)
			}
			if !yield(session, err) || err != nil {
				return
			}
		}
		*known = body.validator
	}
}

// get sends a request and returns the body of its 200 answer.
func (c *Client) get(ctx context.Context, endpoint string, query url.Values, known Validator, path ...string) (*body, error) {
	key, err := c.config.Key(ctx)
	if err != nil {
		return nil, &Error{Reason: Unauthorized, Err: fmt.Errorf("reading the API key: %w", err)}
	}
	target := c.config.URL.JoinPath(path...)
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(withEndpoint(ctx, endpoint), http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, &Error{Reason: Network, Err: fmt.Errorf("building the request: %w", err)}
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Accept", "application/json")
	// Asking for gzip here, not in the transport, leaves the body as it comes off
	// the wire to whoever measures it.
	request.Header.Set("Accept-Encoding", "gzip")
	request.Header.Set("User-Agent", c.config.UserAgent)
	known.condition(request.Header)

	response, err := c.http.Do(request)
	if err != nil {
		return nil, transportError(ctx, err)
	}
	if response.StatusCode == http.StatusNotModified && known != (Validator{}) {
		response.Body.Close()
		return nil, ErrNotModified
	}
	if response.StatusCode != http.StatusOK {
		err := statusError(response)
		discard(response)
		return nil, err
	}
	body, err := newBody(ctx, response)
	if err != nil {
		response.Body.Close()
		return nil, err
	}
	return body, nil
}

// discard closes a response. A short body that is there is read, so that the
// connection can be used again.
func discard(response *http.Response) {
	if response.ContentLength <= maxDiscarded {
		late := time.AfterFunc(discardTimeout, func() { response.Body.Close() })
		defer late.Stop()
		_, _ = io.CopyN(io.Discard, response.Body, response.ContentLength)
	}
	response.Body.Close()
}

// buffers are what a list needs of memory.
type buffers struct {
	decoding []byte
	ahead    [][]byte
}

func newBuffers() *buffers {
	b := &buffers{decoding: make([]byte, bufferSize)}
	for range 2 {
		b.ahead = append(b.ahead, make([]byte, bufferSize))
	}
	return b
}

// body is a response's body without its content encoding. It remembers which of
// the two failed, the wire or what came over it.
type body struct {
	ctx       context.Context // of the request
	wire      wireReader
	content   io.Reader
	validator Validator
}

func newBody(ctx context.Context, response *http.Response) (*body, error) {
	b := &body{ctx: ctx, wire: wireReader{ReadCloser: response.Body}, validator: newValidator(response.Header)}
	switch strings.ToLower(response.Header.Get("Content-Encoding")) {
	case "", "identity":
		b.content = &b.wire
	case "gzip", "x-gzip":
		b.content = &gunzipper{source: &b.wire}
	default:
		return nil, &Error{Reason: InvalidResponse, Status: response.StatusCode, Err: errEncoding}
	}
	return b, nil
}

// Read ends with the request's context. The wire does that too, but much may come of
// the little that has been read from it already.
func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		b.wire.err = err
		return 0, err
	}
	return b.content.Read(p)
}

func (b *body) Close() error { return b.wire.Close() }

// explain turns an error of the decoder into an [*Error].
func (b *body) explain(ctx context.Context, err error) error {
	// Only when the decoder has met the end of what can be read has reading ended;
	// what it finds wrong before that has nothing to do with the wire.
	if !errors.Is(err, errCorrupt) && !errors.Is(err, errTruncated) || b.wire.err == nil {
		return err
	}
	failure := transportError(ctx, b.wire.err)
	// A response that had begun well was cut off, whatever the transport (HTTP/2
	// has errors of its own for that) calls it.
	failure.Transient = failure.Reason == Network
	return failure
}

// wireReader remembers the error that ended reading, unless it was the body's
// proper end.
type wireReader struct {
	io.ReadCloser
	err error
}

func (w *wireReader) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// gunzipper decompresses its source. Unlike [gzip.NewReader] it reads nothing
// before it is read from.
type gunzipper struct {
	source io.Reader
	gzip   *gzip.Reader
}

func (g *gunzipper) Read(p []byte) (int, error) {
	if g.gzip == nil {
		reader, err := gzip.NewReader(g.source)
		if err != nil {
			return 0, err
		}
		g.gzip = reader
	}
	return g.gzip.Read(p)
}
