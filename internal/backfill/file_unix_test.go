//go:build unix

package backfill_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/internal/backfill"
)

// What cannot be written is an error that says why and does not quote the path.
func TestCreateFails(t *testing.T) {
	folder := t.TempDir()
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path string
		want string
	}{
		"folder":             {folder, "not a regular file"},
		"pipe":               {pipe, "not a regular file"},
		"missing folder":     {filepath.Join(folder, "missing", "history.om"), "no such file or directory"},
		"in a file":          {filepath.Join(pipe, "history.om"), "not a directory"},
		"of a name too long": {filepath.Join(folder, strings.Repeat("x", 250)), "file name too long"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file, err := backfill.Create(test.path)
			if err == nil {
				file.Discard()
				t.Fatal("it could be created")
			}
			var quotes *fs.PathError
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), folder) || errors.As(err, &quotes) {
				t.Errorf("got %v", err)
			}
		})
	}
	if list, err := os.ReadDir(folder); err != nil || len(list) != 1 {
		t.Errorf("there are %v, %v", list, err)
	}
}
