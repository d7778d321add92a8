package client_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

func TestTimeout(t *testing.T) {
	tests := map[string]simulator.Fault{
		"no answer":       {Delay: time.Minute},
		"an endless list": {Endless: true},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
				{UUID: chatbot, Fault: func(time.Time) simulator.Fault { return fault }},
			}}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := sessions(ctx, newClient(t, serve(t, account.ServeHTTP)))
			if failure(t, err).Reason != client.Timeout || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A list that has come, as far as the wire is concerned, ends with its context too.
func TestTimeoutOfWhatHasCome(t *testing.T) {
	var zipped bytes.Buffer
	compressor := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(compressor, "[{}"+strings.Repeat(",{}", 4<<20)+"]")
	_ = compressor.Close()
	c := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped.Bytes())
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, last = range fetch(ctx, c, client.SessionsOptions{}) {
		cancel()
	}
	if failure(t, last).Reason != client.Timeout || !errors.Is(last, context.Canceled) {
		t.Errorf("got %v", last)
	}
}
