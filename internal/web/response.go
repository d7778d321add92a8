package web

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"strconv"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
)

// response is a response in memory. It is an [http.ResponseWriter].
type response struct {
	header http.Header
	status int
	body   *bytes.Buffer
	// uncompressed is the length of the body in bytes without Content-Encoding, 0 if it is
	// not known.
	uncompressed int
}

func (r *response) Header() http.Header         { return r.header }
func (r *response) WriteHeader(status int)      { r.status = status }
func (r *response) Write(p []byte) (int, error) { return r.body.Write(p) }

func (r *response) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.header)
	w.Header().Set("Content-Length", strconv.Itoa(r.body.Len()))
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body.Bytes())
}

// sendTo writes the response to w, which must be of [gzhttp]. It may be called concurrently.
func (r *response) sendTo(w http.ResponseWriter) {
	if _, accepted := w.(*gzhttp.GzipResponseWriter); accepted || r.header.Get("Content-Encoding") != "gzip" {
		r.send(w)
		return
	}
	body, err := gzip.NewReader(bytes.NewReader(r.body.Bytes()))
	if err != nil {
		http.Error(w, "the page cannot be uncompressed", http.StatusInternalServerError)
		return
	}
	maps.Copy(w.Header(), r.header)
	w.Header().Del("Content-Encoding")
	w.Header().Set("Content-Length", strconv.Itoa(r.uncompressed))
	w.WriteHeader(r.status)
	_, _ = io.Copy(w, body)
}

// countingWriter adds the length of a body to n.
type countingWriter struct {
	http.ResponseWriter
	n *int
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	*w.n += n
	return n, err
}

// compressor makes a handler compress its responses if the client accepts that.
type compressor func(http.Handler) http.HandlerFunc

// record returns the response of a handler, compressed, as it may be needed for long: by a
// slow reader, or by many. Its body is written to buffer.
func (c compressor) record(handler http.Handler, r *http.Request, buffer *bytes.Buffer) *response {
	r = r.Clone(r.Context())
	r.Header.Set("Accept-Encoding", "gzip")
	recorded := &response{header: http.Header{}, status: http.StatusOK, body: buffer}
	counted := func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(&countingWriter{w, &recorded.uncompressed}, r)
	}
	c(http.HandlerFunc(counted)).ServeHTTP(recorded, r)
	return recorded
}

// buffered returns a handler that writes the response of next as a whole, so that a
// slow reader holds nothing but its compressed bytes.
func (c compressor) buffered(next http.Handler) http.Handler {
	return c(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorded := c.record(next, r, new(bytes.Buffer))
		if r.Context().Err() != nil {
			clientClosed(w)
			return
		}
		recorded.sendTo(w)
	}))
}

// clientClosed answers a client that has disconnected. It may only have closed its own side
// and still read: without an answer, it would get an empty one with status 200.
func clientClosed(w http.ResponseWriter) {
	const status = 499 // as of nginx
	http.Error(w, "the client closed the connection before the response", status)
}
