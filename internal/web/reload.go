package web

import (
	"context"
	"io"
	"net/http"
)

// reloader reloads the configuration file.
type reloader struct{ reload func(context.Context) error }

func (l reloader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := l.reload(r.Context())
	switch {
	case err != nil && r.Context().Err() != nil:
		clientClosed(w)
		return
	case err != nil:
		http.Error(w, "the accounts stay as they were: "+err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, "OK\n")
}
