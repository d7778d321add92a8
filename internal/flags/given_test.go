package flags_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/chatwize-exporter/chatwize_exporter/internal/flags"
)

// A text is found wherever the user gave it, and nowhere else.
func TestGiven(t *testing.T) {
	const text = "Key-0815"
	file := filepath.Join(t.TempDir(), "arguments")
	if err := os.WriteFile(file, []byte("--name=x"+text+"x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		"": "", "--name=x": "", "check": "", "GIVEN_OTHER=" + text: "",
		"--name=" + text: "--name", "--name x" + text + "x": "--name", "--name=x --name=" + text: "--name", "@" + file: "--name",
		"check --label=" + text: "--label", "--label=" + text + " check": "",
		"GIVEN_NAME=" + text: "GIVEN_NAME", "HTTP_PROXY=x:" + text + "@y": "HTTP_PROXY", "https_proxy=" + text: "https_proxy",
	} {
		t.Run(given, func(t *testing.T) {
			for _, variable := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
				t.Setenv(variable, "")
			}
			var arguments []string
			for _, field := range strings.Fields(given) {
				if name, value, ok := strings.Cut(field, "="); ok && !strings.HasPrefix(field, "-") {
					t.Setenv(name, value)
					continue
				}
				arguments = append(arguments, field)
			}
			app := kingpin.New("test", "").Terminate(nil)
			app.Command("serve", "").Default()
			app.Command("check", "").Flag("label", "").String()
			app.Flag("name", "").Envar("GIVEN_NAME").Strings()
			texts := flags.NewGiven(app)
			_, err := flags.Parse(app, arguments)
			got, found := texts.Find(func(given string) bool { return strings.Contains(given, text) })
			if !strings.EqualFold(got, want) || found != (want != "") {
				t.Errorf("got %q, %t, want %q; %v", got, found, want, err)
			}
		})
	}
}

// Variables that set no flag are unknown, but for those of Kubernetes services.
func TestUnknown(t *testing.T) {
	for _, name := range []string{
		"GIVEN_NAME", "GIVEN_KEY", "GIVEN_NAMES", "GIVEN_", "GIVEN", "OTHER_GIVEN_NAMES",
		"GIVEN_SERVICE_HOST", "GIVEN_SERVICE_PORT", "GIVEN_SERVICE_PORT_HTTP", "GIVEN_PORT", "GIVEN_PORT_80_TCP", "GIVEN_PORT_80_TCP_ADDR",
		"GIVEN_PORTS",
	} {
		t.Setenv(name, "x")
	}
	app := kingpin.New("test", "").Terminate(nil)
	app.Flag("name", "").Envar("GIVEN_NAME").String()
	given := flags.NewGiven(app)
	if got, want := given.Unknown("GIVEN_", "GIVEN_KEY"), []string{"GIVEN_", "GIVEN_NAMES", "GIVEN_PORTS"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
