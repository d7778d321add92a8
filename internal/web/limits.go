package web

import (
	"context"
	"net"
	"net/http"
	"time"
)

// writeTimeout is the maximum duration of writing a response.
const writeTimeout = 30 * time.Second

// connectionKey is the key of the connection in the context of a request.
type connectionKey struct{}

// ConnContext is for [http.Server.ConnContext]. Without it, a slow reader on HTTP/2
// loses its response but not its connection.
func ConnContext(ctx context.Context, connection net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, connection)
}

// limitCallers refuses requests with a body and closes the connection of a client that
// reads its response too slowly. [http.Server.WriteTimeout] would also cut off scrapes
// that wait for the API.
func limitCallers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limited := &limitedWriter{ResponseWriter: w, request: r, controller: http.NewResponseController(w)}
		defer limited.end()
		if r.ContentLength != 0 {
			// Otherwise the server reads the body, to use the connection again.
			w.Header().Set("Connection", "close")
			_ = limited.controller.SetReadDeadline(time.Now())
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				http.Error(limited, "requests must not have a body", http.StatusRequestEntityTooLarge)
				return
			}
		}
		next.ServeHTTP(limited, r)
	})
}

// limitedWriter sets a deadline for the response when writing begins.
type limitedWriter struct {
	http.ResponseWriter
	request    *http.Request
	controller *http.ResponseController
	begun      bool
	late       *time.Timer // closes the connection; nil on HTTP/1
}

func (w *limitedWriter) begin() {
	if w.begun {
		return
	}
	w.begun = true
	// On HTTP/1 this also covers what the server writes after the handler has returned.
	_ = w.controller.SetWriteDeadline(time.Now().Add(writeTimeout))
	connection, ok := w.request.Context().Value(connectionKey{}).(net.Conn)
	if ok && w.request.ProtoMajor > 1 {
		// On HTTP/2 the deadline only resets the stream, if the connection takes that.
		w.late = time.AfterFunc(writeTimeout, func() { _ = connection.Close() })
	}
}

// end writes the rest of the response.
func (w *limitedWriter) end() {
	w.begin()
	if w.late != nil {
		_ = w.controller.Flush()
		w.late.Stop()
	}
}

func (w *limitedWriter) WriteHeader(status int) {
	w.begin()
	w.ResponseWriter.WriteHeader(status)
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(p)
}

// Unwrap is for [http.ResponseController].
func (w *limitedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// limiter returns a function that limits how many requests several handlers together
// serve at a time. A request has ended when the last byte of its response is written.
func limiter(maximum int) func(http.Handler) http.Handler {
	places := make(chan struct{}, maximum)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case places <- struct{}{}:
			default:
				w.Header().Set("Connection", "close")
				http.Error(w, "too many requests at a time; try again later", http.StatusServiceUnavailable)
				return
			}
			defer func() { <-places }()
			next.ServeHTTP(w, r)
			_ = http.NewResponseController(w).Flush()
		})
	}
}

// unlimited is a limiter without a limit.
func unlimited(next http.Handler) http.Handler { return next }
