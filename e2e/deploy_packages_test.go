package e2e_test

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exposure is the most that `systemd-analyze security` may find, in tenths. Debian 12 finds
// 1.1; later versions of systemd may look at more.
const exposure = "15"

// systemdUnits returns copies of the units that name the exporter that was built.
func systemdUnits(t *testing.T) (service, socket string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("there is no systemd-analyze: on Debian it comes with the package systemd")
	}
	directory := t.TempDir()
	service = filepath.Join(directory, "chatwize_exporter.service")
	content, err := os.ReadFile("../deploy/systemd/chatwize_exporter.service")
	if err != nil {
		t.Fatal(err)
	}
	content = bytes.ReplaceAll(content, []byte("/usr/bin/chatwize_exporter"), []byte(exporter))
	if err := os.WriteFile(service, content, 0o600); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(directory, "chatwize_exporter.socket")
	copyFile(t, "../deploy/systemd/chatwize_exporter.socket", socket)
	return service, socket
}

func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	service, socket := systemdUnits(t)
	for name, arguments := range map[string][]string{
		// The man page is where the package puts it, not here.
		"verify":   {"verify", "--man=no", service, socket},
		"security": {"security", "--offline=true", "--threshold=" + exposure, "--no-pager", service},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, err := exec.CommandContext(t.Context(), "systemd-analyze", arguments...).CombinedOutput()
			if err != nil || name == "verify" && len(output) > 0 {
				t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(arguments, " "), err, output)
			}
		})
	}
}

func TestSystemdSocket(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-socket-activate"); err != nil {
		t.Skip("there is no systemd-socket-activate: on Debian it comes with the package systemd")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	command := exec.CommandContext(t.Context(), "systemd-socket-activate", "--listen="+address, exporter, "demo", "--web.systemd-socket")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Wait() })
	eventually(t, "the exporter serves on systemd's socket", func() error {
		response, err := http.Get("http://" + address + "/-/ready")
		if err == nil {
			response.Body.Close()
		}
		return err
	})
}

// The image of a release is that of the Dockerfile, which scripts/image-check tries,
// but for where its binary comes from.
func TestReleaseImage(t *testing.T) {
	t.Parallel()
	stage := func(path string) string {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, stage, found := strings.Cut(string(content), "\nFROM scratch\n")
		if !found {
			t.Fatalf("%s has no last stage", path)
		}
		return regexp.MustCompile(`(?m)^ARG .*\n|^COPY .* (/(?:bin/)?)$`).ReplaceAllString(stage, "$1")
	}
	if image, release := stage("../Dockerfile"), stage("../deploy/packages/Dockerfile"); image != release {
		t.Errorf("they differ:\n%s\n%s", image, release)
	}
}

func TestManAndCompletions(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	if output, err := exec.CommandContext(t.Context(), "../scripts/man-and-completions", directory).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for file, want := range map[string]string{
		// The title has one line, and the name its description.
		"chatwize_exporter.1":    `\A\.TH chatwize_exporter 1\n\.SH "NAME"\nchatwize_exporter \\- .+\n\.SH "SYNOPSIS"\n[^\x00]*--chatwize\.token-file`,
		"chatwize_exporter.bash": `\ncomplete -F \S+ .*chatwize_exporter\n`,
		"_chatwize_exporter":     `\A\s*#compdef chatwize_exporter\n`,
	} {
		content, err := os.ReadFile(filepath.Join(directory, file))
		if err != nil {
			t.Error(err)
		} else if !regexp.MustCompile(want).Match(content) {
			t.Errorf("%s does not match %s:\n%s", file, want, content)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
