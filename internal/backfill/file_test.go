package backfill_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/internal/backfill"
)

// entries returns the files of a folder with what they hold.
func entries(t *testing.T, folder string) map[string]string {
	t.Helper()
	list, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, entry := range list {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[entry.Name()] = string(content)
	}
	return all
}

func TestFile(t *testing.T) {
	tests := map[string]struct {
		before, want string
		keep         bool
	}{
		"new":                   {"", "new", true},
		"in place of another":   {"old", "new", true},
		"not kept":              {"", "", false},
		"not kept, and another": {"old", "old", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder, elsewhere := t.TempDir(), t.TempDir()
			path := filepath.Join(folder, "history.om")
			if test.before != "" {
				// Through a link, which stays one.
				target := filepath.Join(elsewhere, "target")
				if err := os.WriteFile(target, []byte(test.before), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(target, path); err != nil {
					t.Fatal(err)
				}
			}
			file, err := backfill.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(file, "new"); err != nil {
				t.Fatal(err)
			}
			if got := entries(t, folder)["history.om"]; got != test.before {
				t.Errorf("while it is written the file holds %q", got)
			}
			if test.keep {
				if err := file.Keep(); err != nil {
					t.Fatal(err)
				}
			}
			file.Discard()
			got := entries(t, folder)
			if got["history.om"] != test.want || len(got) > 1 || len(entries(t, elsewhere)) > 1 {
				t.Errorf("there are %q and %q", got, entries(t, elsewhere))
			}
			info, err := os.Lstat(path)
			if test.want != "" && (err != nil || (info.Mode()&fs.ModeSymlink != 0) != (test.before != "")) {
				t.Errorf("got %v, %v", info, err)
			}
		})
	}
}

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
