// Package e2e_test proves the exporter, its dashboard and its alerts on a real
// Prometheus. Chatwize is played by the simulator; all is on loopback.
package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Where the binaries are.
var exporter, prometheus, promtool string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// run builds the binaries and runs the tests.
func run(m *testing.M) int {
	directory, err := os.MkdirTemp("", "chatwize-e2e-")
	if err == nil {
		defer os.RemoveAll(directory)
		err = build(directory)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(directory string) error {
	exporter = filepath.Join(directory, "chatwize_exporter")
	if _, err := goCommand("-C", "..", "build", "-o", exporter, "."); err != nil {
		return err
	}
	// With -n, go builds a tool, unless it has it in its cache, and says where it is.
	for name, path := range map[string]*string{"prometheus": &prometheus, "promtool": &promtool} {
		var err error
		if *path, err = goCommand("tool", "-n", name); err != nil {
			return err
		}
	}
	return nil
}

func goCommand(arguments ...string) (string, error) {
	command := exec.Command("go", arguments...)
	// Discovering targets in clouds and clusters is most of Prometheus's code, and
	// not needed here.
	command.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -tags=remove_all_sd")
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(arguments, " "), err)
	}
	return strings.TrimSpace(string(output)), nil
}
