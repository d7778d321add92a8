package web

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"strconv"

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

// record returns the response of a handler. Its body is written to buffer.
func record(handler http.Handler, r *http.Request, buffer *bytes.Buffer) *response {
	recorded := &response{header: http.Header{}, status: http.StatusOK, body: buffer}
	handler.ServeHTTP(recorded, r)
	return recorded
}

func (r *response) Header() http.Header         { return r.header }
func (r *response) WriteHeader(status int)      { r.status = status }
func (r *response) Write(p []byte) (int, error) { return r.body.Write(p) }

// send writes the response. It may be called concurrently.
func (r *response) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.header)
	w.Header().Set("Content-Length", strconv.Itoa(r.body.Len()))
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body.Bytes())
}

// sendUncompressed writes the response for a client that does not accept gzip. It may be
// called concurrently.
func (r *response) sendUncompressed(w http.ResponseWriter) {
	if r.header.Get("Content-Encoding") != "gzip" {
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

// buffered returns a handler that writes the response of next as a whole, so that a
// slow reader holds nothing but its bytes.
func buffered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorded := record(next, r, new(bytes.Buffer))
		if r.Context().Err() == nil { // else the client has disconnected
			recorded.send(w)
		}
	})
}
