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
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path string
		want string
	}{
		"link to itself":     {loop, "too many levels of symbolic links"},
		"folder":             {folder, "not a regular file"},
		"pipe":               {pipe, "not a regular file"},
		"missing folder":     {filepath.Join(folder, "missing", "history.om"), "no such file or directory"},
		"in a file":          {filepath.Join(pipe, "history.om"), "not a directory"},
		"of a name too long": {filepath.Join(folder, strings.Repeat("x", 256)), "file name too long"},
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

// The mode of an earlier file is kept, and holds while the new one is written.
func TestModeIsKept(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o664, 0o666, 0o222} {
		t.Run(mode.String(), func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "history.om")
			if err := errors.Join(os.WriteFile(path, []byte("old"), 0o600), os.Chmod(path, mode)); err != nil {
				t.Fatal(err)
			}
			file, err := backfill.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Discard()
			written, err := filepath.Glob(filepath.Join(folder, "*.tmp"))
			if err != nil || len(written) != 1 {
				t.Fatalf("there are %q, %v", written, err)
			}
			during, err1 := os.Stat(written[0])
			after, err2 := os.Stat(path)
			if err := errors.Join(file.Keep(), err1, err2); err != nil {
				t.Fatal(err)
			}
			if got, err := os.Stat(path); err != nil || got.Mode() != mode || during.Mode() != mode || os.SameFile(got, after) {
				t.Errorf("got %v, before %v, %v", got.Mode(), during.Mode(), err)
			}
		})
	}
}
