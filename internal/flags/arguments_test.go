package flags_test

import (
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
				arguments, err := flags.Arguments(app, given)
				if test.err {
					if err == nil || err.Error() != "--"+name+": must be true or false" || arguments != nil {
						t.Errorf("%q: got %q, %v", given, arguments, err)
					}
					return
				}
				if err == nil {
					_, err = app.Parse(arguments)
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
			arguments, err := flags.Arguments(app, test.arguments)
			if err == nil {
				_, err = app.Parse(arguments)
			}
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

// Without a command the default one is put in front. Help, version and completion do
// without. Nothing else is changed, and the given arguments stay as they are.
func TestArguments(t *testing.T) {
	tests := []struct{ given, want string }{
		{"", "serve"},
		{"--web.config.file=x", "serve --web.config.file=x"},
		{"--web.config.file=false", "serve --web.config.file=false"},
		{"--web.config.file --chatwize.probe-only", "serve --web.config.file --chatwize.probe-only"},
		{"--chatwize.probe-only=true --web.listen-address=:1", "serve --chatwize.probe-only --web.listen-address=:1"},
		{"--chatwize.probe-only=false", "serve --no-chatwize.probe-only"},
		{"--unknown=true", "serve --unknown=true"},
		{"other", "serve other"},
		{"serve", "serve"},
		{"serve --web.config.file=x", "serve --web.config.file=x"},
		{"--web.config.file=x check", "--web.config.file=x check"},
		{"check --chatwize.probe-only=true", "check --chatwize.probe-only"},
		{"--help", "--help"},
		{"--help-long", "--help-long"},
		{"-h", "-h"},
		{"help", "help"},
		{"help check", "help check"},
		{"--web.config.file=x --version", "--web.config.file=x --version"},
		{"--completion-bash --web", "--completion-bash --web"},
		{"--completion-script-bash", "--completion-script-bash"},
		{"--completion-script-zsh", "--completion-script-zsh"},
	}
	for _, test := range tests {
		t.Run(test.given, func(t *testing.T) {
			app, _ := newApp()
			given := strings.Fields(test.given)
			before := slices.Clone(given)
			got, err := flags.Arguments(app, given)
			if err != nil || strings.Join(got, " ") != test.want || !slices.Equal(given, before) {
				t.Errorf("got %q, %v, want %q; the given ones are now %q", got, err, test.want, given)
			}
		})
	}
}

// A wrong command line is an error that does not quote what may be an API key.
func TestWrongArguments(t *testing.T) {
	const neither = "an argument is neither command nor flag; write each setting after its flag"
	tests := map[string]string{
		"key-0815":                            neither,
		"serve key-0815":                      neither,
		"check key-0815":                      neither,
		"key-0815 check":                      neither,
		"key-0815 --help":                     neither,
		"--chatwize.probe-only key-0815":      neither,
		"--web.config.file":                   "expected argument for flag '--web.config.file'",
		"serve --web.config.file":             "expected argument for flag '--web.config.file'",
		"--web.config.file --web.config.file": "expected argument for flag '--web.config.file'",
		"--chatwize.token=x":                  "unknown long flag '--chatwize.token'",
		"-x":                                  "unknown short flag '-x'",
	}
	for given, want := range tests {
		t.Run(given, func(t *testing.T) {
			app, _ := newApp()
			arguments, err := flags.Arguments(app, strings.Fields(given))
			if err != nil {
				t.Fatal(err)
			}
			command, err := app.Parse(arguments)
			if err == nil {
				t.Fatalf("took it for the command %q", command)
			}
			if got := flags.Unquoted(err).Error(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
