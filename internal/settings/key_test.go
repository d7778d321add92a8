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

// A key is one word of plain characters, at most 64 KiB of them in a file. It comes
// from a file or the environment, and whatever is wrong with it is not shown.
func TestKey(t *testing.T) {
	const (
		none  = "holds no API key; put the key there and nothing else"
		more  = "holds more than an API key, which is one word of plain letters, digits and signs; put the key there and nothing else"
		large = "is not a small regular file; name one that holds the API key"
	)
	longest := strings.Repeat("k", 64<<10)
	tests := map[string]struct{ content, want, err string }{
		"a word":                   {"key-0815", "key-0815", ""},
		"white space around it":    {" \t\r\nkey-0815\r\n ", "key-0815", ""},
		"the first character":      {"!key-0815!", "!key-0815!", ""},
		"the last character":       {"~key-0815~", "~key-0815~", ""},
		"64 KiB":                   {longest, longest, ""},
		"nothing":                  {"", "", none},
		"white space":              {" \t\r\n", "", none},
		"a space":                  {"key 0815", "", more},
		"a tab":                    {"key\t0815", "", more},
		"two lines":                {"key\n0815\n", "", more},
		"a carriage return":        {"key\r0815", "", more},
		"DEL":                      {"key\x7f0815", "", more},
		"a letter beyond ASCII":    {"key\u00e90815", "", more},
		"a byte that is not UTF-8": {"key\xff0815", "", more},
		"a byte order mark":        {"\ufeffkey-0815", "", more},
		"NUL":                      {"key-0815\x00", "", more},
		"64 KiB and one":           {longest + "k", "", large},
		"64 KiB and a newline":     {longest + "\n", "", large},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			wantKey(t, file, "", test.want, "--chatwize.token-file (CHATWIZE_TOKEN_FILE): ", test.err)
			if test.content == "" || test.err == large {
				return // not given, and not a file
			}
			wantKey(t, "", test.content, test.want, "CHATWIZE_TOKEN: ", test.err)
		})
	}
}

// wantKey checks that a key is had, or else an error of a source.
func wantKey(t *testing.T, file, token, want, source, wantErr string) {
	t.Helper()
	read, err := settings.Key(t.Context(), file, token)
	if wantErr != "" {
		if err == nil || err.Error() != source+wantErr {
			t.Errorf("got %v, want %s%s", err, source, wantErr)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(t.Context()); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// There is one key and no more, in a file that is there and is one.
func TestNoKey(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "key")
	if err := os.WriteFile(file, []byte("key-0815"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ file, token, begins, ends string }{
		"none": {"", "", "there is no API key: put it in a file and name that with --chatwize.token-file (CHATWIZE_TOKEN_FILE), or set CHATWIZE_TOKEN", ""},
		"two":  {file, "key-0815", "there are two API keys: give either --chatwize.token-file (CHATWIZE_TOKEN_FILE) or CHATWIZE_TOKEN", ""},
		"a folder": {folder, "", "--chatwize.token-file (CHATWIZE_TOKEN_FILE): the file cannot be read: ",
			"; name a file that holds the API key"},
		"a missing file": {filepath.Join(folder, "key-0815"), "", "--chatwize.token-file (CHATWIZE_TOKEN_FILE): the file cannot be read: ",
			"; name a file that holds the API key"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := settings.Key(t.Context(), test.file, test.token)
			if err == nil || !strings.HasPrefix(err.Error(), test.begins) || !strings.HasSuffix(err.Error(), test.ends) ||
				strings.Contains(err.Error(), "0815") || strings.Contains(err.Error(), folder) {
				t.Errorf("got %v, want %s…%s", err, test.begins, test.ends)
			}
		})
	}
}
