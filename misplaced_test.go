package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
)

// misplacedKey is an API key in the wrong place. No four characters of it are in any
// message.
const misplacedKey = "eyJqX7vW2zKJ9.wZ4hB3yQxN6-Tk_8Rp"

// Nothing of an API key is shown if it is, or a file that holds it is, the value of any
// flag or of its environment variable.
func TestMisplacedKey(t *testing.T) {
	t.Chdir(t.TempDir()) // for --output
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(misplacedKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end() // so that nothing is sent or served
	try := func(t *testing.T, environment []string, arguments ...string) {
		t.Helper()
		for _, own := range [][]string{nil, {"CHATWIZE_TOKEN=" + key}} {
			all := slices.Concat([]string{"CHATWIZE_URL=http://127.0.0.1:1", "CHATWIZE_CHATBOTS=" + shop}, own, environment)
			got := executeUntil(ended, t, all, slices.Concat(arguments, []string{"--web.listen-address=127.0.0.1:0"})...)
			wantNothingOf(t, got.stdout+got.stderr, misplacedKey, "")
		}
	}
	tryFlag := func(flag *kingpin.FlagModel, command string) {
		t.Run(command+" --"+flag.Name, func(t *testing.T) {
			debug := "--log.level=debug"
			if flag.Name == "log.level" {
				debug = "--log.format=json"
			}
			values := []string{misplacedKey, file}
			if flag.Name == "chatwize.url" {
				for _, address := range []string{"", "127.0.0.1:1/brand/", "x@127.0.0.1:", "127.0.0.1?", "x:"} {
					values = append(values, "http://"+address+misplacedKey)
				}
				values = append(values, "http://"+misplacedKey+"@127.0.0.1", "http://"+misplacedKey+":1", misplacedKey+"://127.0.0.1")
			}
			for _, value := range values {
				try(t, nil, command, debug, "--"+flag.Name+"="+value)
				if !flag.IsBoolFlag() {
					try(t, nil, command, debug, "--"+flag.Name, value)
				}
				if flag.Envar != "" {
					try(t, []string{flag.Envar + "=" + value}, command, debug)
				}
			}
		})
	}
	model := (&settings{}).newApp().Model()
	tried := 0
	for _, command := range model.Commands {
		for _, flag := range slices.Concat(model.Flags, command.Flags) {
			tryFlag(flag, command.Name)
			tried++
		}
	}
	if least := 4 * 20; tried < least {
		t.Errorf("tried %d flags, want %d at least", tried, least)
	}
}

// Nor is it shown as an argument.
func TestMisplacedArgument(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(misplacedKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arguments := range []string{
		misplacedKey, "serve " + misplacedKey, "check " + misplacedKey, misplacedKey + " backfill", "healthcheck " + misplacedKey,
		"--" + misplacedKey, "--" + misplacedKey + "=x", "--no-" + misplacedKey, "-" + misplacedKey, "-h" + misplacedKey, "check --" + misplacedKey,
		"help " + misplacedKey, "help check " + misplacedKey, "help --" + misplacedKey + " " + misplacedKey, "--help " + misplacedKey,
		"@" + misplacedKey, "@" + file, "--chatwize.url @" + file, "help @" + file, "-- " + misplacedKey,
	} {
		t.Run(strings.ReplaceAll(arguments, file, "FILE"), func(t *testing.T) {
			got := execute(t, []string{"CHATWIZE_TOKEN=" + key}, strings.Fields(arguments)...)
			if got.status != 1 || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("got %+v", got)
			}
			wantNothingOf(t, got.stdout+got.stderr, misplacedKey, "")
		})
	}
}
