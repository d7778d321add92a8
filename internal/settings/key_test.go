package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/internal/settings"
)

// A key in a file can be rotated while the process runs; a file that is gone or
// empty for a while fails with an error that tells nothing of the keys.
func TestKeyRotation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	read, err := settings.Key(t.Context(), file, "")
	if err != nil {
		t.Fatal(err)
	}
	want := func(want, wantErr string) {
		t.Helper()
		got, err := read(t.Context())
		switch {
		case got != want:
			t.Errorf("got %q, want %q", got, want)
		case wantErr == "" && err != nil:
			t.Error(err)
		case wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr) || !strings.Contains(err.Error(), "--chatwize.token-file")):
			t.Errorf("got error %v, want %s", err, wantErr)
		case err != nil && (strings.Contains(err.Error(), "first") || strings.Contains(err.Error(), file)):
			t.Errorf("the error tells too much: %v", err)
		}
	}
	want("first", "")
	write("  second\r\n")
	want("second", "")
	write("")
	want("", "no API key")
	write("first second")
	want("", "nothing else")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want("", "no such file")
	write("third")
	want("third", "")
}

func TestKeyFromEnvironment(t *testing.T) {
	read, err := settings.Key(t.Context(), "", " key\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(t.Context()); got != "key" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
