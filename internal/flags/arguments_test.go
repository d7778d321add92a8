package flags_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/chatwize-exporter/chatwize_exporter/internal/flags"
)

const probeOnly, systemdSocket = "chatwize.probe-only", "web.systemd-socket"

// newApp returns an application with flags and commands like the program's, and what
// its switches are set to.
func newApp() (app *kingpin.Application, switches map[string]*bool) {
	app = kingpin.New("test", "").Version("1").Terminate(nil)
	app.HelpFlag.Short('h')
	app.Command("serve", "").Default()
	app.Command("check", "")
	switches = map[string]*bool{probeOnly: new(bool)}
	flags.Bool(app.Flag(probeOnly, "").Envar("TEST_SWITCH"), switches[probeOnly])
	listen := kingpinflag.AddFlags(app, ":0")
	if app.GetFlag(systemdSocket) != nil { // on Linux alone
		switches[systemdSocket] = listen.WebSystemdSocket
	}
	return app, switches
}

// A switch may be given a value, true or false; others are refused, and not quoted.
func TestBool(t *testing.T) {
	tests := map[string]struct {
		arguments []string // of the switch --x
		want, err bool
	}{
		"not given":         {nil, false, false},
		"bare":              {[]string{"--x"}, true, false},
		"negated":           {[]string{"--no-x"}, false, false},
		"true":              {[]string{"--x=true"}, true, false},
		"false":             {[]string{"--x=false"}, false, false},
		"one":               {[]string{"--x=1"}, true, false},
		"zero":              {[]string{"--x=0"}, false, false},
		"true of a command": {[]string{"serve", "--x=true"}, true, false},
		"among others":      {[]string{"--web.config.file=true", "--x=true", "--web.listen-address=:1"}, true, false},
		"before a command":  {[]string{"--x=false", "serve"}, false, false},
		"neither":           {[]string{"--x=x0815"}, false, true},
		"a word for true":   {[]string{"--x=yes"}, false, true},
		"nothing":           {[]string{"--x="}, false, true},
		"one of two wrong":  {[]string{"--x=true", "--x=x0815"}, false, true},
	}
	_, switches := newApp()
	for name := range switches {
		for title, test := range tests {
			t.Run(name+" "+title, func(t *testing.T) {
				app, switches := newApp()
				spell := strings.NewReplacer("--x", "--"+name, "--no-x", "--no-"+name)
				var given []string
				for _, argument := range test.arguments {
					given = append(given, spell.Replace(argument))
				}
				_, err := flags.Parse(app, given)
				if test.err {
					if err == nil || err.Error() != "--"+name+": must be true or false" {
						t.Errorf("%q: got %v", given, err)
					}
					return
				}
				if err != nil || *switches[name] != test.want {
					t.Errorf("%q: got %t, %v, want %t", given, *switches[name], err, test.want)
				}
				for other, on := range switches {
					if other != name && *on {
						t.Errorf("%q: --%s is on", given, other)
					}
				}
			})
		}
	}
}

// The command line has the last word on a switch, the environment the one before.
func TestBoolInEnvironment(t *testing.T) {
	tests := map[string]struct {
		environment string
		arguments   []string
		want        bool
		err         string
	}{
		"on":             {"true", nil, true, ""},
		"off":            {"false", nil, false, ""},
		"on, then off":   {"true", []string{"--chatwize.probe-only=false"}, false, ""},
		"off, then on":   {"0", []string{"--chatwize.probe-only"}, true, ""},
		"neither":        {"x0815", nil, false, "--chatwize.probe-only (TEST_SWITCH): must be true or false"},
		"a word for off": {"off", nil, false, "--chatwize.probe-only (TEST_SWITCH): must be true or false"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TEST_SWITCH", test.environment)
			app, switches := newApp()
			_, err := flags.Parse(app, test.arguments)
			switch {
			case test.err != "":
				if err == nil || err.Error() != test.err {
					t.Errorf("got %v, want %s", err, test.err)
				}
			case err != nil || *switches[probeOnly] != test.want:
				t.Errorf("got %t, %v", *switches[probeOnly], err)
			}
		})
	}
}

// Without a command, the command is the default one. The given arguments stay as they are.
func TestCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "arguments")
	if err := os.WriteFile(file, []byte("# a comment\n\ncheck\n--chatwize.probe-only=true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		given string
		want  string // the command, probe-only, the web configuration
	}{
		{"", "serve false "},
		{"--web.config.file=x", "serve false x"},
		{"--web.config.file=false", "serve false false"},
		{"--web.config.file --chatwize.probe-only", "expected argument for flag '--web.config.file'"},
		{"--chatwize.probe-only=true --web.config.file=x", "serve true x"},
		{"--chatwize.probe-only=false", "serve false "},
		{"serve", "serve false "},
		{"serve --web.config.file=x", "serve false x"},
		{"--web.config.file=x check", "check false x"},
		{"check --chatwize.probe-only=true", "check true "},
		{"@" + file, "check true "},
		{"--web.config.file=x @" + file, "check true x"},
		{"--web.config.file=x -- @" + file, "an argument is neither command nor flag; write each setting after its flag"},
	}
	for _, test := range tests {
		t.Run(test.given, func(t *testing.T) {
			app, switches := newApp()
			given := strings.Fields(test.given)
			before := slices.Clone(given)
			command, err := flags.Parse(app, given)
			got := fmt.Sprint(command, " ", *switches[probeOnly], " ", app.GetFlag("web.config.file").Model().Value)
			if err != nil {
				got = err.Error()
			}
			if got != test.want || !slices.Equal(given, before) {
				t.Errorf("got %q, want %q; the given ones are now %q", got, test.want, given)
			}
		})
	}
}

// A wrong command line is an error that quotes nothing that may be an API key.
func TestWrongArguments(t *testing.T) {
	const (
		neither    = "neither command nor flag; write each setting after its flag"
		unreadable = "the file of an argument that begins with @ cannot be read; name a file with one argument a line, or remove the argument"
		noCommand  = "help: expects the name of a command, or nothing"
		key        = "eyJhbGciOiJIUzI1NiJ9.Wrong-Place_0815"
	)
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keyFile, nested := file("key", key+"\n"), file("nested", "@"+key+"\n")
	long := file("long", strings.Repeat("x", 1<<17))
	tests := map[string]string{
		key:                                   "an argument is " + neither,
		"serve " + key:                        "an argument is " + neither,
		"check " + key:                        "an argument is " + neither,
		key + " check":                        "an argument is " + neither,
		key + " --help":                       "an argument is " + neither,
		"--help " + key:                       "an argument is " + neither,
		"--chatwize.probe-only " + key:        "an argument is " + neither,
		"-- " + key:                           "an argument is " + neither,
		"-- --" + key:                         "an argument is " + neither,
		"healthcheck":                         `"healthcheck" is ` + neither,
		"serve health-check":                  `"health-check" is ` + neither,
		keyFile:                               `"` + keyFile + `" is ` + neither,
		strings.Repeat("x", 41):               "an argument is " + neither,
		"--" + key:                            "an argument is an unknown flag",
		"--" + key + "=x":                     "an argument is an unknown flag",
		"--no-" + key:                         "an argument is an unknown flag",
		"check --" + key:                      "an argument is an unknown flag",
		"-" + key:                             "an argument is an unknown flag",
		"-h" + key:                            "an argument is an unknown flag",
		"--no-web.config.file":                "unknown long flag '--no-web.config.file'",
		"--chatwize.token=" + key:             "unknown long flag '--chatwize.token'",
		"--web.config.file":                   "expected argument for flag '--web.config.file'",
		"serve --web.config.file":             "expected argument for flag '--web.config.file'",
		"--web.config.file --web.config.file": "expected argument for flag '--web.config.file'",
		"--web.config.file=x --web.config.file=" + key: "flag 'web.config.file' cannot be repeated",
		"--chatwize.probe-only=" + key:                 "--chatwize.probe-only: must be true or false",
		"--help=" + key:                                "--help: must be true or false",
		"@" + key:                                      unreadable,
		"check --web.config.file @" + key:              unreadable,
		"@" + nested:                                   unreadable,
		"@" + long:                                     unreadable,
		"@":                                            unreadable,
		"@" + keyFile:                                  "an argument is " + neither,
		"help " + key:                                  noCommand,
		"help check " + key:                            noCommand,
		"help check serve":                             noCommand,
		"help -- --" + key:                             noCommand,
		"help @" + keyFile:                             noCommand,
		"help --" + key:                                "an argument is an unknown flag",
		"help --" + key + " " + key:                    "an argument is an unknown flag",
		"help healthcheck":                             noCommand,
		"--chatwize.probe-only help " + key:            noCommand,
	}
	for given, want := range tests {
		t.Run(given, func(t *testing.T) {
			app, _ := newApp()
			app.UsageWriter(io.Discard).ErrorWriter(io.Discard)
			command, err := flags.Parse(app, strings.Fields(given))
			if err == nil || err.Error() != want {
				t.Errorf("got %q, %v, want %q", command, err, want)
			}
		})
	}
}

// A flag with several texts keeps them in their order, and its default otherwise.
func TestTexts(t *testing.T) {
	for given, want := range map[string]string{
		"":               "[default]",
		"--x=a":          "[a]",
		"--x=b --x a":    "[b a]",
		"--x=b --x=KEY1": "--x: must not be a key",
	} {
		app := kingpin.New("test", "").Terminate(nil)
		texts := []string{"before"}
		flags.Texts(app.Flag("x", "").Default("default"), &texts, func(text string) error {
			if strings.HasPrefix(text, "KEY") {
				return errors.New("must not be a key")
			}
			return nil
		})
		_, err := app.Parse(strings.Fields(given))
		got := fmt.Sprint(texts)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", given, got, want)
		}
	}
}
