package backfill_test

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
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
				if err := os.WriteFile(target, []byte(test.before), 0o666); err != nil {
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
			wantSameMode(t, folder, elsewhere)
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

// wantSameMode checks that whoever may read files in general may read the one that
// is being written in one of folders.
func wantSameMode(t *testing.T, folders ...string) {
	t.Helper()
	plain, err := os.Create(filepath.Join(t.TempDir(), "plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	want, err := plain.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, folder := range folders {
		found, err := filepath.Glob(filepath.Join(folder, "*.tmp"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) != 1 {
		t.Fatalf("there are %q, want one", all)
	}
	if got, err := os.Stat(all[0]); err != nil || got.Mode() != want.Mode() {
		t.Errorf("got %v, %v, want the mode %v", got, err, want.Mode())
	}
}

// A read-only file is not replaced.
func TestReadOnly(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "history.om")
	if err := os.WriteFile(path, []byte("old"), 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := backfill.Create(path); err == nil || err.Error() != "is read-only" {
		t.Errorf("got %v", err)
	}
	if got := entries(t, folder); !maps.Equal(got, map[string]string{"history.om": "old"}) {
		t.Errorf("there are %q", got)
	}
	_ = os.Chmod(path, 0o600) // so that Windows can remove it
}

// Where a file cannot be put in its place, what is there stays whole, nothing else is
// left, and the error does not quote the path.
func TestKeepFails(t *testing.T) {
	tests := map[string]struct {
		// happens happens when the file at path has been written.
		happens func(t *testing.T, path string, file *backfill.File)
		want    map[string]string
	}{
		"it became a folder": {func(t *testing.T, path string, _ *backfill.File) {
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, "inside"), []byte("x"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}, map[string]string{"history.om": "folder", "history.om/inside": "x"}},
		"it was discarded": {func(_ *testing.T, _ string, file *backfill.File) { file.Discard() }, map[string]string{"history.om": "old"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "history.om")
			file := newFile(t, path)
			if _, err := io.WriteString(file, "new"); err != nil {
				t.Fatal(err)
			}
			test.happens(t, path, file)
			if err := notKept(t, file, folder, test.want); strings.Contains(err.Error(), folder) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// newFile begins a file in place of an old one.
func newFile(t *testing.T, path string) *backfill.File {
	t.Helper()
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := backfill.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// notKept checks that a file cannot be kept, and what is in its folder, with
// everything below, when it is discarded. It returns the error of keeping it.
func notKept(t *testing.T, file *backfill.File, folder string, want map[string]string) error {
	t.Helper()
	failure := file.Keep()
	file.Discard()
	if failure == nil {
		failure = errors.New("no error")
		t.Error("the file was kept")
	}
	got := map[string]string{}
	if err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			got[filepath.ToSlash(name)] = "folder"
			return nil
		}
		content, err := os.ReadFile(path)
		got[filepath.ToSlash(name)] = string(content)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	return failure
}

// A link to a file that does not exist yet stays a link, and a name may be as long as a
// file system allows.
func TestNewTarget(t *testing.T) {
	long := strings.Repeat("x", 255)
	for name, links := range map[string][]string{
		"no link": nil, "relative": {filepath.Join("elsewhere", long)}, "up": {filepath.Join("elsewhere", "..", "elsewhere", long)},
		"a link to a link": {"second", filepath.Join("elsewhere", long)}, "a link in a folder": {filepath.Join("elsewhere", "link"), long},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			elsewhere := filepath.Join(folder, "elsewhere")
			if err := os.Mkdir(elsewhere, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, "history.om")
			first := path
			for _, target := range links {
				if err := os.Symlink(target, path); err != nil {
					t.Fatal(err)
				}
				path = filepath.Join(filepath.Dir(path), target)
			}
			if links == nil {
				first, path = filepath.Join(elsewhere, long), filepath.Join(elsewhere, long)
			}
			file, err := backfill.Create(first)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Discard()
			if _, err := io.WriteString(file, "new"); err != nil {
				t.Fatal(err)
			}
			if err := file.Keep(); err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(first)
			content, readErr := os.ReadFile(path)
			if string(content) != "new" || readErr != nil || err != nil || (info.Mode()&fs.ModeSymlink != 0) != (links != nil) {
				t.Errorf("got %q, %v, %v, %v", content, readErr, info, err)
			}
		})
	}
}
