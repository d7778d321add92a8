package flags_test

import (
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/alecthomas/kingpin/v2"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/flags"
)

// FuzzChatbots holds what the flag and the environment make of a text against
// what they promise.
func FuzzChatbots(f *testing.F) {
	const uuid = "7f5e5376dbf045cd8c72c60f428653d1"
	for _, text := range []string{
		"", ",", uuid, uuid + "=Shop", uuid + "=Shop, the first", uuid + "=a=b", uuid + "=", uuid + "," + uuid,
		"7F5E5376-DBF0-45CD-8C72-C60F428653D1," + uuid, " " + uuid + " = Zoë ,\n", uuid[1:], "=", uuid + "=\xff",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsRune(text, 0) {
			t.Skip("neither arguments nor the environment hold NUL")
		}
		for _, environment := range []string{"", text} {
			app := kingpin.New("test", "").Terminate(nil)
			t.Setenv("CHATWIZE_CHATBOTS", environment)
			var chatbots []client.Chatbot
			flags.Chatbots(app.Flag("chatwize.chatbot", "").Envar("CHATWIZE_CHATBOTS"), &chatbots)
			var arguments []string
			if environment == "" {
				arguments = []string{"--chatwize.chatbot=" + text}
			}
			_, err := app.Parse(arguments)
			if err != nil {
				if !strings.Contains(err.Error(), "--chatwize.chatbot (CHATWIZE_CHATBOTS): chatbot ") || strings.Contains(err.Error(), "\n") {
					t.Errorf("%q: error %q", text, err)
				}
				continue
			}
			shown := strings.Map(func(r rune) rune {
				if unicode.IsControl(r) {
					return unicode.ReplacementChar
				}
				return r
			}, text)
			seen := map[string]bool{}
			for _, chatbot := range chatbots {
				key := strings.ToLower(strings.ReplaceAll(chatbot.UUID, "-", ""))
				if len(key) != 32 || strings.Trim(key, "0123456789abcdef") != "" || seen[key] {
					t.Errorf("%q: UUID %q", text, chatbot.UUID)
				}
				seen[key] = true
				if !strings.Contains(text, chatbot.UUID) || !strings.Contains(shown, chatbot.Name) || !utf8.ValidString(chatbot.Name) {
					t.Errorf("%q: %+v", text, chatbot)
				}
			}
			blank := strings.TrimSpace(text) == ""
			if len(arguments) > 0 && len(seen) != 1 || len(arguments) == 0 && blank != (len(seen) == 0) {
				t.Errorf("%q: %d chatbots", text, len(seen))
			}
		}
	})
}

// FuzzFlags holds every accepted value against what the flag promises, and
// every error against what it has to name.
func FuzzFlags(f *testing.F) {
	for _, text := range []string{
		"", "0", "-1", "1.5s", "1d", "1h30m", "9999999999h", "-0s", "1e3", "٣", "https://app.chatwize.ai/", "http://[::1]:80/x", "HTTPS://A",
		"https://me:secret@host", "https://host?x", "https://host#x", "//host", "https:host", "https://", "http://%zz", "debug", "DEBUG",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		app := kingpin.New("test", "").Terminate(nil)
		var (
			base     *url.URL
			duration time.Duration
			number   int
			word     string
		)
		flags.BaseURL(app.Flag("url", "").Envar("TEST_URL"), &base, "--key")
		flags.Duration(app.Flag("duration", ""), &duration, time.Second)
		flags.Int(app.Flag("number", ""), &number, 1)
		flags.OneOf(app.Flag("word", ""), &word, "debug", "info")
		for name, check := range map[string]func() bool{
			"url": func() bool {
				u := base
				return (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
			},
			"duration": func() bool { return duration >= time.Second },
			"number":   func() bool { return number >= 1 },
			"word":     func() bool { return word == "debug" || word == "info" },
		} {
			_, err := app.Parse([]string{"--" + name + "=" + text})
			if err == nil && !check() {
				t.Errorf("--%s took %q", name, text)
			}
			if err != nil && (!strings.HasPrefix(err.Error(), "--"+name) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("--%s=%q: error %q", name, text, err)
			}
		}
	})
}
