package web

import (
	"context"
	"io"
	"net/http"
)

// reloader reloads the configuration file.
type reloader struct{ reload func(context.Context) error }

func (l reloader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The client may leave. A reload under way is finished, so that its log is complete.
	if err := l.reload(context.WithoutCancel(r.Context())); err != nil {
		http.Error(w, "the accounts stay as they were: "+err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, "OK\n")
}
