package flags_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/flags"
)

// A value is taken as it is meant, from the command line or the environment, or is
// refused with an error that names both, says what to do and does not quote it.
func TestFlags(t *testing.T) {
	const (
		noDuration = "must be a duration, such as 500ms, 30s or 5m"
		noURL      = "is not a URL; write it like https://app.chatwize.ai"
		noHTTP     = "is not an http or https URL; write it like https://app.chatwize.ai"
		password   = "has a user name or password; the API accepts only a key, from --chatwize.token-file"
		query      = "has a query or fragment; write only host and path, like https://app.chatwize.ai"
		path       = "has the path of the API itself; remove /api/v1"
		noWord     = "must be one of: debug, info"
		noNumber   = "must be a whole number, minimum 1"
	)
	duration := func(least time.Duration) func(*kingpin.FlagClause) func() string {
		return func(flag *kingpin.FlagClause) func() string {
			var value time.Duration
			flags.Duration(flag, &value, least)
			return func() string { return value.String() }
		}
	}
	tests := map[string]struct {
		// setting makes the flag one of its kind and returns what says its value.
		setting  func(flag *kingpin.FlagClause) func() string
		accepted map[string]string // what is given and what it means
		refused  map[string]string // what is given and the error
	}{
		"duration of a second or more": {
			duration(time.Second),
			map[string]string{"1s": "1s", "1.5s": "1.5s", "1000ms": "1s", "1h30m": "1h30m0s", "1d": "24h0m0s", "1w1d": "192h0m0s", "2562047h": "2562047h0m0s"},
			map[string]string{
				"999ms": "is too short; minimum 1s", "0": "is too short; minimum 1s", "0s": "is too short; minimum 1s",
				"-1s": "is too short; minimum 1s", "-1h": "is too short; minimum 1s",
				"": noDuration, "30": noDuration, "s": noDuration, "1 s": noDuration, "1x": noDuration, "-1d": noDuration,
				"9999999999h": noDuration, "key-0815": noDuration,
			},
		},
		"duration of none or more": {
			duration(0),
			map[string]string{"0": "0s", "0s": "0s", "0d": "0s", "1ns": "1ns"},
			map[string]string{"-1ns": "is too short; minimum 0s"},
		},
		"duration of a millisecond or more": {
			duration(time.Millisecond),
			map[string]string{"1ms": "1ms"},
			map[string]string{"999us": "is too short; minimum 1ms"},
		},
		"number": {
			func(flag *kingpin.FlagClause) func() string {
				var value int
				flags.Int(flag, &value, 1)
				return func() string { return strings.Repeat("I", value) }
			},
			map[string]string{"1": "I", "4": "IIII", "+2": "II", "007": "IIIIIII"},
			map[string]string{"0": noNumber, "-1": noNumber, "": noNumber, "1.5": noNumber, "1e3": noNumber, "many": noNumber, "9223372036854775808": noNumber, "٣": noNumber},
		},
		"word": {
			func(flag *kingpin.FlagClause) func() string {
				var value string
				flags.OneOf(flag, &value, "debug", "info")
				return func() string { return value }
			},
			map[string]string{"debug": "debug", "info": "info"},
			map[string]string{"": noWord, "DEBUG": noWord, "debug,info": noWord, "loud": noWord},
		},
		"text": {
			func(flag *kingpin.FlagClause) func() string {
				var value string
				flags.Text(flag, &value, func(text string) error {
					if strings.HasPrefix(text, "key") {
						return errors.New("must not be a key")
					}
					return nil
				})
				return func() string { return value }
			},
			map[string]string{"": "", "/metrics": "/metrics", "a = b": "a = b"},
			map[string]string{"key-0815": "must not be a key"},
		},
		"URL": {
			func(flag *kingpin.FlagClause) func() string {
				var value *url.URL
				flags.BaseURL(flag, &value, "--chatwize.token-file")
				return func() string { return value.String() }
			},
			map[string]string{
				"https://app.chatwize.ai": "https://app.chatwize.ai", "http://localhost:8080": "http://localhost:8080",
				"\thttps://app.chatwize.ai\n": "https://app.chatwize.ai",
				"HTTPS://App.Chatwize.AI/":    "https://App.Chatwize.AI/", "https://[::1]:443/a/b/": "https://[::1]:443/a/b/",
				"https://host/api/v1x": "https://host/api/v1x", "https://host/api": "https://host/api", "https://host/api/v1/x": "https://host/api/v1/x",
			},
			map[string]string{
				"": noHTTP, "app.chatwize.ai": noHTTP, "ftp://app.chatwize.ai": noHTTP, "//app.chatwize.ai": noHTTP,
				"https:": noHTTP, "https://": noHTTP, "https://:443": noHTTP, "https:app.chatwize.ai": noHTTP, "file:///api": noHTTP,
				"https://%zzkey-0815": noURL, "https://host:port": noURL, ":": noURL,
				"https://me@host": password, "https://me:key-0815@host": password, "https://:key-0815@host": password,
				"https://host/?key=key-0815": query, "https://host?x": query, "https://host#key-0815": query,
				"https://host/api/v1": path, "https://host/api/v1/": path, "https://host/brand/api/v1//": path,
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			// set sets the flag and returns what it then says.
			set := func(text string, inEnvironment, hasVariable bool) (string, error) {
				app := kingpin.New("test", "").Terminate(nil)
				flag := app.Flag("flag", "")
				if hasVariable {
					flag.Envar("TEST_FLAG")
				}
				says := test.setting(flag)
				arguments := []string{"--flag=" + text}
				t.Setenv("TEST_FLAG", "")
				if inEnvironment {
					t.Setenv("TEST_FLAG", text)
					arguments = nil
				}
				if _, err := app.Parse(arguments); err != nil {
					return "", err
				}
				return says(), nil
			}
			for _, inEnvironment := range []bool{false, true} {
				for text, want := range test.accepted {
					if got, err := set(text, inEnvironment, true); err != nil || got != want {
						t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
					}
				}
				for text, want := range test.refused {
					if inEnvironment && text == "" {
						continue // kingpin takes it for none
					}
					want = "--flag (TEST_FLAG): " + want
					if got, err := set(text, inEnvironment, true); err == nil || err.Error() != want {
						t.Errorf("%q: got %q, %v, want %s", text, got, err, want)
					}
				}
			}
			for text, want := range test.refused {
				if got, err := set(text, false, false); err == nil || err.Error() != "--flag: "+want {
					t.Errorf("%q without a variable: got %q, %v, want %s", text, got, err, want)
				}
			}
		})
	}
}

// Chatbots are taken in their order, one by one from the command line and between
// commas or newlines from the environment. A wrong one is an error that says which.
func TestChatbots(t *testing.T) {
	const (
		shop   = "7f5e5376dbf045cd8c72c60f428653d1"
		dashed = "7F5E5376-DBF0-45CD-8C72-C60F428653D1"
		desk   = "7f5e5376dbf045cd8c72c60f428653d2"
		noUUID = " is not a UUID; write 32 hexadecimal digits, with or without dashes, and =NAME after them if you like"
		noName = " has nothing after its =; write a name there or remove the ="
		twice  = " is given twice; remove one"
	)
	tests := map[string]struct {
		environment string
		arguments   []string
		want        []string // UUID|NAME
		err         string
	}{
		"none":                         {"", nil, nil, ""},
		"one":                          {"", []string{shop}, []string{shop + "|"}, ""},
		"as they are spelled":          {"", []string{desk, dashed}, []string{desk + "|", dashed + "|"}, ""},
		"names":                        {"", []string{shop + "=Shop, the first", desk + "=a=b"}, []string{shop + "|Shop, the first", desk + "|a=b"}, ""},
		"blanks":                       {"", []string{" " + shop + " = Zoë "}, []string{shop + "|Zoë"}, ""},
		"in the environment":           {" " + shop + " = Shop, " + desk + ",\n", nil, []string{shop + "|Shop", desk + "|"}, ""},
		"between newlines":             {shop + "=Shop\n" + desk, nil, []string{shop + "|Shop", desk + "|"}, ""},
		"commas alone":                 {", ,\n,", nil, nil, "chatbot 1 is missing; write UUIDs between the commas, or remove the variable"},
		"a comma in a line":            {shop + "\n,", nil, nil, "chatbot 2 is missing; write UUIDs between the commas, or remove the variable"},
		"the command line in place":    {shop + "," + desk, []string{desk}, []string{desk + "|"}, ""},
		"no UUID":                      {"", []string{"key-0815"}, nil, "chatbot 1" + noUUID},
		"no text":                      {"", []string{""}, nil, "chatbot 1" + noUUID},
		"a digit short":                {"", []string{desk, shop[1:] + "=Shop"}, nil, "chatbot 2" + noUUID},
		"two in one":                   {"", []string{shop + "," + desk}, nil, "chatbot 1" + noUUID},
		"no name":                      {"", []string{shop + "="}, nil, "chatbot 1" + noName},
		"a blank for a name":           {"", []string{desk, shop + "= "}, nil, "chatbot 2" + noName},
		"no UTF-8":                     {"", []string{shop + "=\xff"}, nil, "chatbot 1 has a name that is not UTF-8; write it in UTF-8"},
		"twice":                        {"", []string{shop, desk, shop}, nil, "chatbot " + shop + twice},
		"twice, in another spelling":   {"", []string{shop, dashed + "=Shop"}, nil, "chatbot " + shop + twice},
		"the second in a variable":     {shop + ",key-0815", nil, nil, "chatbot 2" + noUUID},
		"twice in the environment":     {dashed + "\n" + shop + "=Shop", nil, nil, "chatbot " + shop + twice},
		"no name, in the environment":  {shop + "=," + desk, nil, nil, "chatbot 1" + noName},
		"a comma ends a name, however": {shop + "=Shop, the first", nil, nil, "chatbot 2" + noUUID},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TEST_CHATBOTS", test.environment)
			app := kingpin.New("test", "").Terminate(nil)
			var chatbots []client.Chatbot
			flags.Chatbots(app.Flag("chatbot", "").Envar("TEST_CHATBOTS"), &chatbots)
			var arguments, got []string
			for _, chatbot := range test.arguments {
				arguments = append(arguments, "--chatbot="+chatbot)
			}
			_, err := app.Parse(arguments)
			if test.err != "" {
				if want := "--chatbot (TEST_CHATBOTS): " + test.err; err == nil || err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
				return
			}
			for _, chatbot := range chatbots {
				got = append(got, chatbot.UUID+"|"+chatbot.Name)
			}
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}
