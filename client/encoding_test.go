package client_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// A list comes in gzip or as it is, and what is wrong with its encoding is told.
func TestContentEncoding(t *testing.T) {
	zip := func(text string) []byte {
		var zipped bytes.Buffer
		compressor := gzip.NewWriter(&zipped)
		_, _ = io.WriteString(compressor, text)
		_ = compressor.Close()
		return zipped.Bytes()
	}
	zipped := zip(`[{"uuid":"a"},{"uuid":"b"}]`)
	flipped := bytes.Clone(zipped)
	flipped[len(flipped)-5] ^= 1

	const (
		corrupt   = "the compressed body is corrupt"
		truncated = "the body ends before the array does"
	)
	tests := []struct {
		name, encoding string
		body           []byte
		want           string // in the error; empty: two sessions
	}{
		{"gzip", "gzip", zipped, ""},
		{"gzip in capitals", "GZIP", zipped, ""},
		{"gzip by its old name", "x-gzip", zipped, ""},
		{"gzip in two members", "gzip", slices.Concat(zip("[{},"), zip("{}]")), ""},
		{"identity", "identity", []byte("[{},{}]"), ""},
		{"not gzip after all", "gzip", []byte("[{},{}         ]"), corrupt},
		{"not gzip after all, and short", "gzip", []byte("[{},{}]"), truncated},
		{"empty gzip", "gzip", nil, truncated},
		{"corrupt gzip", "gzip", flipped, corrupt},
		{"gzip cut off", "gzip", zipped[:len(zipped)-9], truncated},
		{"gzip with more behind it", "gzip", slices.Concat(zipped, []byte("much more than a header")), corrupt},
		{"gzip with a little more behind it", "gzip", slices.Concat(zipped, []byte("more")), truncated},
		{"gzip with an array in gzip behind it", "gzip", slices.Repeat(zipped, 2), "more data after the array"},
		{"an encoding not asked for", "br", []byte("[{},{}]"), "a Content-Encoding that was not asked for"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", test.encoding)
				_, _ = w.Write(test.body)
			})
			got, err := sessions(t.Context(), newClient(t, base))
			if test.want == "" {
				if err != nil || len(got) != 2 {
					t.Errorf("got %d sessions, %v; want 2", len(got), err)
				}
				return
			}
			if failure := failure(t, err); failure.Reason != client.InvalidResponse || failure.Status != http.StatusOK || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %+v, want an invalid_response that says %s", failure, test.want)
			}
		})
	}
}
