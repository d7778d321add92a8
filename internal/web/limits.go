package web

import (
	"net/http"
	"time"
)

// writeTimeout is how long a caller may take for each piece of an answer.
const writeTimeout = 10 * time.Second

// withLimits protects next from its callers: a request is GET or HEAD and has no
// body, and who reads an answer too slowly loses the connection. A limit for the
// whole answer, such as [http.Server.WriteTimeout], would cut off scrapes that
// wait for the API.
func withLimits(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limited := &limitedWriter{ResponseWriter: w, controller: http.NewResponseController(w)}
		// What is still buffered is written after the handler has returned.
		defer limited.extend()
		if r.ContentLength != 0 {
			// Else the server would read the body, to use the connection again.
			w.Header().Set("Connection", "close")
			_ = limited.controller.SetReadDeadline(time.Now())
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(limited, "only GET and HEAD are served here", http.StatusMethodNotAllowed)
			return
		}
		if r.ContentLength != 0 {
			http.Error(limited, "a request has no body here", http.StatusRequestEntityTooLarge)
			return
		}
		next.ServeHTTP(limited, r)
	})
}

// limitedWriter sets a deadline for each write.
type limitedWriter struct {
	http.ResponseWriter
	controller *http.ResponseController
}

func (w *limitedWriter) extend() {
	_ = w.controller.SetWriteDeadline(time.Now().Add(writeTimeout))
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	w.extend()
	return w.ResponseWriter.Write(p)
}

// Unwrap is for [http.ResponseController].
func (w *limitedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
