package accounts_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
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
	read := accounts.FileKey(file)
	want := func(want, wantErr string) {
		t.Helper()
		got, err := read(t.Context())
		switch {
		case got != want:
			t.Errorf("got %q, want %q", got, want)
		case wantErr == "" && err != nil:
			t.Error(err)
		case wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)):
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
		none   = "holds no API key; write the key, and nothing else, there"
		more   = "holds more than an API key, which is one word of ASCII letters, digits and signs; write the key, and nothing else, there"
		quoted = "holds the API key in quotes; remove the quotes"
		large  = "is not a small regular file; name a file that holds the API key"
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
		"an assignment":            {"CHATWIZE_TOKEN=key-0815", "", "holds an assignment to CHATWIZE_TOKEN; write the API key alone"},
		"a space":                  {"key 0815", "", more},
		"a tab":                    {"key\t0815", "", more},
		"two lines":                {"key\n0815\n", "", more},
		"a carriage return":        {"key\r0815", "", more},
		"DEL":                      {"key\x7f0815", "", more},
		"a letter beyond ASCII":    {"key\u00e90815", "", more},
		"a byte that is not UTF-8": {"key\xff0815", "", more},
		"a byte order mark":        {"\ufeffkey-0815\r\n", "key-0815", ""},
		"a byte order mark alone":  {"\ufeff", "", none},
		"two byte order marks":     {"\ufeff\ufeffkey-0815", "", more},
		"in quotes":                {`"key-0815"`, "", quoted},
		"in single quotes":         {"'key-0815'\n", "", quoted},
		"a quote":                  {`"`, "", quoted},
		"a quote in it":            {`key"0815`, `key"0815`, ""},
		"a quote before it":        {`"key-0815`, `"key-0815`, ""},
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
			wantKey(t, accounts.FileKey(file), test.want, test.err)
			if test.err == large {
				return // of a file only
			}
			wantKey(t, accounts.InlineKey(test.content), test.want, test.err)
		})
	}
}

// wantKey checks that a function returns a key, or else an error.
func wantKey(t *testing.T, read func(context.Context) (string, error), want, wantErr string) {
	t.Helper()
	got, err := read(t.Context())
	switch {
	case wantErr == "" && (err != nil || got != want):
		t.Errorf("got %q, %v, want %q", got, err, want)
	case wantErr != "" && (err == nil || err.Error() != wantErr || got != ""):
		t.Errorf("got %q, %v, want %s", got, err, wantErr)
	}
}

// A key file that cannot be read is an error that does not show its name, which may
// be a key.
func TestKeyFileMissing(t *testing.T) {
	folder := t.TempDir()
	for name, file := range map[string]string{"a folder": folder, "a missing file": filepath.Join(folder, "key-0815")} {
		t.Run(name, func(t *testing.T) {
			got, err := accounts.FileKey(file)(t.Context())
			if err == nil || got != "" || strings.Contains(err.Error(), folder) || strings.Contains(err.Error(), "0815") ||
				!strings.HasPrefix(err.Error(), "the file cannot be read: ") || !strings.HasSuffix(err.Error(), "; name a file that holds the API key") {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
