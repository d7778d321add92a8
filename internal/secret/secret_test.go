package secret_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/internal/secret"
)

// A key is hidden in any case, escaped or cut, and what is around it is not.
func TestHide(t *testing.T) {
	const key = `eyJhbG/iOiJIU+Ii.Wrong"\Place_0815`
	for text, want := range map[string]string{
		"":                                   "",
		"Shop":                               "Shop",
		"fetching the sessions failed":       "fetching the sessions failed",
		key[:15]:                             key[:15],
		key:                                  "<key>",
		"a " + key + " b":                    "a <key> b",
		"lookup " + strings.ToLower(key):     "lookup <key>",
		"https://" + key + ":443/x y":        "https://<key> y",
		"/eyJhbG%2FiOiJIU+Ii.Wrong%22":       "/<key>",
		"?eyJhbG%2FiOiJIU%2BIi.Wrong%22 b":   "?<key> b",
		"Shop " + key[:20] + ", " + key[:16]: "Shop <key>, <key>",
		"x" + key + "," + key:                "x<key>,<key>",
		"rotated-key-0815/x":                 "<key>",
	} {
		var keys secret.Keys
		if got := keys.Hide(text); got != text {
			t.Errorf("without a key, %q became %q", text, got)
		}
		keys.Add(key)
		keys.Add("rotated-key-0815")
		if got := keys.Hide(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
		var out strings.Builder
		if n, err := keys.Writer(&out).Write([]byte(text)); n != len(text) || err != nil || out.String() != want {
			t.Errorf("wrote %q, %d, %v, want %q", &out, n, err, want)
		}
		if got := keys.In(text); got != (strings.Contains(text, "0815") && want != text) {
			t.Errorf("%q: contains a key: %t", text, got)
		}
		line, err := json.Marshal(map[string]string{"err": fmt.Sprintf("%q is %q", text, text)})
		if hidden := keys.Hide(string(line)); err != nil || !json.Valid([]byte(hidden)) {
			t.Errorf("%s became %s", line, hidden)
		}
	}
}

// A long part of a key is hidden, wherever it is in the key and in the text.
func TestHidePart(t *testing.T) {
	const key = "eyJhbGciOiJIUzI1NiJ9.Wrong-Place_0815-and-some-more-of-it"
	var keys secret.Keys
	keys.Add(key)
	keys.Add("another-key-of-" + key[30:]) // with the same end
	for from := range len(key) {
		for to := from + 1; to <= len(key); to++ {
			part := key[from:to]
			for text, want := range map[string]string{
				part: "<key>", "Shop " + part + " x": "Shop <key> x", strings.ToUpper(part) + ",y": "<key>,y", "a:" + part + "b c": "a:<key> c",
			} {
				if len(part) < 16 {
					want = text
				}
				if got := keys.Hide(text); got != want {
					t.Fatalf("%q became %q, want %q", text, got, want)
				}
			}
		}
	}
	for text, want := range map[string]string{
		"x%" + strings.ReplaceAll(fmt.Sprintf("% x", key), " ", "%") + "y": "<key>",
		"Wrong Place and some more of it":                                  "Wrong Place and some more of it",
		"100% of it":                                                       "100% of it",
	} {
		if got := keys.Hide(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// Short keys are not looked for, and of many keys the newest are.
func TestAdd(t *testing.T) {
	var keys secret.Keys
	keys.Add("")
	keys.Add("history")
	if text := "wrote history"; keys.Hide(text) != text || keys.In(text) {
		t.Errorf("%q became %q", text, keys.Hide(text))
	}
	for i := range 10_001 {
		keys.Add(fmt.Sprintf("%05d-rotated-key", i))
		keys.Add(fmt.Sprintf("%05d-rotated-key", i))
	}
	if got := keys.Hide("10000-rotated-key 05000-rotated-key 04999-rotated-key"); got != "<key> <key> 04999-rotated-key" {
		t.Errorf("got %q", got)
	}
	if !keys.In("/10000-rotated%2Dkey") || keys.In("%") || keys.In("04999-rotated-key") {
		t.Error("the wrong keys are found")
	}
}

// Keys that are read are hidden from then on.
func TestWatch(t *testing.T) {
	var keys secret.Keys
	failure := errors.New("unreadable")
	for _, test := range []struct {
		key  string
		err  error
		want string
	}{{"key-0815-first", failure, "key-0815-first"}, {"key-0815-first", nil, "<key>"}, {"key-0815-other", nil, "<key>"}} {
		got, err := keys.Watch(func(context.Context) (string, error) { return test.key, test.err })(t.Context())
		if got != test.key || !errors.Is(err, test.err) || keys.Hide(test.key) != test.want {
			t.Errorf("%s: got %q, %v; it is shown as %q", test.key, got, err, keys.Hide(test.key))
		}
	}
}

// Names are hidden on each scrape, also where there are the keys of many accounts.
func BenchmarkHide(b *testing.B) {
	var keys secret.Keys
	for i := range 100 {
		keys.Add(fmt.Sprintf("%05d-key-of-an-account", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		keys.Hide("Support of the web shop")
	}
}

// The start of a key at the end of a text that was cut is hidden.
func TestHideEnd(t *testing.T) {
	const key = "Wrong-place-0815-and-more"
	var keys secret.Keys
	if got := keys.HideEnd("Shop"); got != "Shop" {
		t.Errorf("without a key: got %s", got)
	}
	keys.Add(key)
	keys.Add("other-key-0815")
	for text, want := range map[string]string{
		"": "", "Shop": "Shop", "Wro": "Wro", "x Wron": "x <key>", "x wrong-place-08": "x <key>",
		"x " + key: "x <key>", "x " + key[:20]: "x <key>", "Wrong way": "Wrong way", "Wrong": "<key>", "an other-k": "an <key>",
	} {
		if got := keys.HideEnd(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
