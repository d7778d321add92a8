package setting_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/internal/setting"
)

// A short word without capital letters and a path that exists may be quoted.
func TestQuotable(t *testing.T) {
	folder := t.TempDir()
	for text, want := range map[string]bool{
		"": false, "x": true, "healthcheck": true, "--web.config_file-2": true, folder: true, ".": true,
		strings.Repeat("x", 40): true, strings.Repeat("x", 41): false,
		"Key": false, "a b": false, "a\n": false, "a/b": false, "größe": false, "a=b": false, "a:b": false,
		"port-10113": true, "a123456": false, "3f9a0b1c2d3e4f5061728394a5b6c7d8": false, "550e8400-e29b-41d4-a716-446655440000": false,
		filepath.Join(folder, "Missing"): false, "\x00": false,
	} {
		if got := setting.Quotable(text); got != want {
			t.Errorf("%q: got %t", text, got)
		}
	}
}

// A URL is shown without a host or path that may be an API key.
func TestShownURL(t *testing.T) {
	const key = "eyJhbGciOiJIUzI1NiJ9.Wrong-Place_0815"
	for text, want := range map[string]string{
		"https://app.chatwize.ai":         "https://app.chatwize.ai",
		"http://127.0.0.1:8080/brand/":    "http://127.0.0.1:8080/brand/",
		"http://[2001:db8::1]:8080":       "http://[2001:db8::1]:8080",
		"https://" + key:                  "https://<not shown>",
		"https://" + key + ":1/brand":     "https://<not shown>/brand",
		"https://app.chatwize.ai/" + key:  "https://app.chatwize.ai/<not shown>",
		"https://x/brand/%4B" + key + "/": "https://x/<not shown>",
		"http://[fe80::1%25" + key + "]":  "http://<not shown>",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := setting.ShownURL(u); got != want {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
	}
}

func TestIsPlaintext(t *testing.T) {
	tests := map[string]bool{
		"https://app.chatwize.ai": false, "https://127.0.0.1": false,
		"http://app.chatwize.ai": true, "http://192.0.2.1:80": true, "http://localhost.example": true, "http://[2001:db8::1]": true,
		"http://localhost:8080": false, "http://LOCALHOST": false, "http://127.0.0.1:1": false, "http://127.9.9.9": false,
		"http://[::1]:80": false, "http://[::ffff:127.0.0.1]": false,
	}
	for text, want := range tests {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := setting.IsPlaintext(u); got != want {
			t.Errorf("%s: got %t", text, got)
		}
	}
}

// A pattern must match a whole text, and none is no pattern.
func TestPattern(t *testing.T) {
	for pattern, want := range map[string]string{
		"":          "none",
		"Test.*":    "Test, Test 2",
		"Test|Shop": "Test, Shop",
		"(?i)test":  "Test",
		"Key-0815[": "is not a regular expression; write one as RE2 describes, such as Test.*",
		"Te)|(st":   "is not a regular expression; write one as RE2 describes, such as Test.*",
	} {
		compiled, err := setting.Pattern(pattern)
		got := "none"
		if err != nil {
			got = err.Error()
		} else if compiled != nil {
			var matched []string
			for _, text := range []string{"Test", "Test 2", "A Test", "Shop"} {
				if compiled.MatchString(text) {
					matched = append(matched, text)
				}
			}
			got = strings.Join(matched, ", ")
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", pattern, got, want)
		}
	}
}
