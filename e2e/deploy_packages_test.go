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

// The service finds the key also where systemd has no %d: before version 251.
func TestSystemdKey(t *testing.T) {
	t.Parallel()
	credentials := t.TempDir()
	key := filepath.Join(credentials, "chatwize.key")
	if err := os.WriteFile(key, []byte("the-key"), 0o600); err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile("../deploy/systemd/chatwize_exporter.service")
	if err != nil {
		t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/chatwize_exporter (.*)$`).FindSubmatch(unit)
	if start == nil || bytes.Contains(unit, []byte("=%d")) || !bytes.Contains(unit, []byte("\nLoadCredential=chatwize.key:/etc/chatwize_exporter/chatwize.key\n")) {
		t.Fatalf("the unit is\n%s", unit)
	}
	// The key is read before the socket is looked for.
	arguments := strings.Fields(strings.ReplaceAll(string(start[1]), "${CREDENTIALS_DIRECTORY}", credentials))
	fails := func(want string) {
		t.Helper()
		output, err := exec.CommandContext(t.Context(), exporter, arguments...).CombinedOutput()
		if err == nil || !strings.Contains(string(output), want) {
			t.Errorf("got %v, %s, want %s", err, output, want)
		}
	}
	fails("no socket activation file descriptors found")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	fails("the file cannot be read")
}

// One version is everywhere.
func TestVersion(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../VERSION")
	if err != nil {
		t.Fatal(err)
	}
	version := strings.TrimSpace(string(content))
	for file, want := range map[string]string{
		"CHANGELOG.md": "## " + version + " / ",
		"deploy/helm/chatwize-exporter/Chart.yaml":  "\nversion: " + version + "\nappVersion: " + version + "\n",
		"deploy/kubernetes/base/kustomization.yaml": "newTag: " + version + "\n",
	} {
		if content, err := os.ReadFile("../" + file); err != nil || !strings.Contains(string(content), want) {
			t.Errorf("%s has no %q: %v", file, want, err)
		}
	}
	output, err := exec.CommandContext(t.Context(), exporter, "--version").Output()
	if err != nil || !strings.Contains(string(output), "version "+version+" ") {
		t.Errorf("the exporter says %s, %v", output, err)
	}
}

// The licences of other authors are those of the modules in the binary.
func TestLicences(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "licences")
	if output, err := exec.CommandContext(t.Context(), "../scripts/licences", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	licences, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), "go", "version", "-m", exporter).Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)`).FindAllStringSubmatch(string(output), -1)
	for _, module := range modules {
		if !strings.Contains(string(licences), "\n"+module[1]+" "+module[2]+": ") {
			t.Errorf("there is no licence of %s", module[1])
		}
	}
	if len(modules) < 20 || !strings.Contains(string(licences), "The Go Authors") {
		t.Errorf("there are %d modules", len(modules))
	}
}

// purge removes the key; an upgrade does not.
func TestPurge(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../deploy/packages/postremove.sh")
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "etc")
	script = bytes.ReplaceAll(script, []byte("/etc/chatwize_exporter"), []byte(folder))
	script = bytes.ReplaceAll(script, []byte("/run/systemd/system"), []byte("/nonexistent"))
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		argument string
		remains  bool
	}{{"upgrade", true}, {"remove", true}, {"0", true}, {"1", true}, {"purge", false}} {
		if output, err := exec.CommandContext(t.Context(), "sh", "-c", string(script), "sh", step.argument).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, output)
		}
		if _, err := os.Stat(folder); (err == nil) != step.remains {
			t.Errorf("after %s: %v", step.argument, err)
		}
	}
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
		"chatwize_exporter.1":    `\A\.TH chatwize_exporter 1\n\.SH "NAME"\nchatwize_exporter \\- .+\n\.SH "SYNOPSIS"\n[^\x00]*--chatwize\.token-file[^\x00]*\$CHATWIZE_WEB_CONFIG_FILE`,
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
