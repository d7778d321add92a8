package web

import (
	"net/http"
	"time"
)

// writeTimeout is the maximum duration of writing one piece of a response.
const writeTimeout = 10 * time.Second

// limitCallers refuses requests with a body and closes the connection of a client that
// reads its response too slowly. [http.Server.WriteTimeout], a limit for the whole
// response, would also cut off scrapes that wait for the API.
func limitCallers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limited := &limitedWriter{ResponseWriter: w, controller: http.NewResponseController(w)}
		// The server writes what is still buffered after the handler has returned.
		defer limited.extend()
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
