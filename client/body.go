package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// body is the body of a response, decompressed. It remembers whether reading
// failed on the network or in the data.
type body struct {
	ctx     context.Context // of the request
	network networkReader
	content io.Reader
	first   byte // the first byte of the content that is not white space, 0 if there was none
}

// newBody returns the body of a response, or an [*Error] if its encoding is unknown.
func newBody(ctx context.Context, response *http.Response) (*body, error) {
	b := &body{ctx: ctx, network: networkReader{ReadCloser: response.Body}}
	switch strings.ToLower(response.Header.Get("Content-Encoding")) {
	case "", "identity":
		b.content = &b.network
	case "gzip", "x-gzip":
		b.content = &gunzipper{source: &b.network}
	default:
		return nil, &Error{Reason: InvalidResponse, Status: response.StatusCode, Err: errEncoding}
	}
	return b, nil
}

// Read fails when the request's context has ended. The network fails then too, but a
// few bytes from it can decompress to many.
func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		b.network.err = err
		return 0, err
	}
	n, err := b.content.Read(p)
	const byteOrderMark = "\xef\xbb\xbf"
	if start := bytes.TrimLeft(p[:n], whiteSpace+byteOrderMark); b.first == 0 && len(start) > 0 {
		b.first = start[0]
	}
	return n, err
}

func (b *body) Close() error { return b.network.Close() }

// explain returns the [*Error] for an error of the decoder.
func (b *body) explain(err error) error {
	if b.first == '<' && (errors.Is(err, errNotList) || errors.Is(err, errSyntax)) {
		return &Error{Reason: InvalidResponse, Status: http.StatusOK, Err: ErrHTML}
	}
	// Other errors are about data that arrived before the network failed.
	if !errors.Is(err, errCorrupt) && !errors.Is(err, errTruncated) || b.network.err == nil {
		return err
	}
	failure := transportError(b.ctx, b.network.err)
	// The response was cut off. HTTP/2 reports this in other words than HTTP/1.1.
	failure.Transient = failure.Reason == Network
	return failure
}

// networkReader remembers the error that ended reading, except [io.EOF].
type networkReader struct {
	io.ReadCloser
	err error
}

func (n *networkReader) Read(p []byte) (int, error) {
	count, err := n.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		n.err = err
	}
	return count, err
}

// gunzipper decompresses its source. Unlike [gzip.NewReader] it reads nothing
// before its first Read.
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
