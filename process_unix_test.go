//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// SIGTERM and SIGINT shut the process down. A running scrape gets its response, and
// the exit status is 0.
func TestSignals(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(signal.String(), func(t *testing.T) {
			asked, release := make(chan bool), make(chan bool)
			command := command(t, []string{"CHATWIZE_TOKEN=" + key}, "--chatwize.chatbot="+shop, "--web.listen-address=127.0.0.1:0",
				"--chatwize.url="+startAPI(t, func(time.Time) simulator.Fault {
					asked <- true
					<-release
					return simulator.Fault{}
				}))
			e := startProcess(t, command)
			page := make(chan string, 1)
			go func() {
				defer close(page)
				page <- e.get(t, "/metrics")
			}()
			<-asked
			if err := command.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			e.log.waitFor(t, "Shutting down")
			close(release)
			contains(t, <-page, `chatwize_sessions{chatbot="`+shop+`"} 1000`)
			if status := e.wait(); status != 0 {
				t.Errorf("exit status %d: %s", status, e.log)
			}
		})
	}
}

// SIGHUP while the exporter serves is logged and does nothing.
func TestHangup(t *testing.T) {
	for _, arguments := range [][]string{{"demo"}, {"--chatwize.chatbot=" + shop, "--chatwize.url=" + startAPI(t, nil)}} {
		command := command(t, []string{"CHATWIZE_TOKEN=" + key}, append(arguments, "--web.listen-address=127.0.0.1:0")...)
		e := startProcess(t, command)
		for range 2 {
			e.log.take()
			if err := command.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			e.log.waitFor(t, `level=info`, `msg="Ignoring SIGHUP"`)
			contains(t, e.get(t, "/-/healthy"), "OK")
		}
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if status := e.wait(); status != 0 {
			t.Errorf("%q: exit status %d: %s", arguments, status, e.log)
		}
	}
}

// A signal while backfill writes ends it with exit status 1 and leaves no file.
func TestBackfillGetsSignal(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			folder := t.TempDir()
			// Half a century by the second is hours of writing.
			backfill := command(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + startAPI(t, nil)}, "backfill", "--chatwize.chatbot="+shop,
				"--start=1976-01-01", "--step=1s", "--output="+filepath.Join(folder, "history.om"), "--log.level=error")
			var stderr bytes.Buffer
			backfill.Stderr = &stderr
			if err := backfill.Start(); err != nil {
				t.Fatal(err)
			}
			waitForSize(t, folder, 1<<16)
			if err := backfill.Process.Signal(signal); err != nil {
				t.Error(err)
			}
			_ = backfill.Wait()
			want := "chatwize_exporter: error: backfill: " + signal.String() + " signal received\n"
			if status := backfill.ProcessState.ExitCode(); status != 1 || stderr.String() != want {
				t.Errorf("status %d with %s, want %s", status, &stderr, want)
			}
			wantFiles(t, folder)
		})
	}
}

// A log that nobody reads ends backfill, which leaves no file.
func TestBackfillHasNoReader(t *testing.T) {
	folder := t.TempDir()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	_ = reader.Close()
	backfill := command(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + startAPI(t, nil)}, "backfill", "--chatwize.chatbot="+shop,
		"--start=2026-01-01", "--end=2026-01-02", "--output="+filepath.Join(folder, "history.om"))
	backfill.Stderr = writer
	if err := backfill.Run(); err == nil {
		t.Error("backfill succeeded")
	}
	wantFiles(t, folder)
}

// SIGHUP ends check with exit status 1, unless it is ignored as by nohup.
func TestCheckGetsHangup(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	tests := map[string]struct {
		trap   string
		fault  simulator.Fault // of the first request, after the signal
		status int
		stderr string
	}{
		"not ignored": {"", simulator.Fault{Delay: time.Hour}, 1, "chatwize_exporter: error: check: interrupted\n"},
		"ignored":     {"trap '' HUP;", simulator.Fault{Status: 502}, 0, ""}, // the retry comes long after the signal
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			asked, hungUp := make(chan bool), make(chan bool)
			var first sync.Once
			check := command(t, []string{"CHATWIZE_TOKEN=" + key}, "check", "--chatwize.chatbot="+shop, "--log.level=error",
				"--chatwize.url="+startAPI(t, func(time.Time) simulator.Fault {
					fault := simulator.Fault{}
					first.Do(func() {
						asked <- true
						<-hungUp
						fault = test.fault
					})
					return fault
				}))
			check.Path = shell
			check.Args = append([]string{"sh", "-c", test.trap + `exec "$0" "$@"`}, check.Args...)
			var stderr bytes.Buffer
			check.Stderr = &stderr
			if err := check.Start(); err != nil {
				t.Fatal(err)
			}
			<-asked
			if err := check.Process.Signal(syscall.SIGHUP); err != nil {
				t.Error(err)
			}
			close(hungUp)
			_ = check.Wait()
			if status := check.ProcessState.ExitCode(); status != test.status || stderr.String() != test.stderr {
				t.Errorf("status %d with %s", status, &stderr)
			}
		})
	}
}

// A file that grows too large makes backfill fail with an error that names --output.
// The earlier file is kept, and no other is left.
func TestBackfillFileTooLarge(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "history.om")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	backfill := command(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + startAPI(t, nil)}, "backfill", "--chatwize.chatbot="+shop,
		"--start=2026-01-01", "--end=2026-01-02", "--step=1m", "--log.level=error", "--output="+path) // 600 KiB
	backfill.Path = shell
	backfill.Args = append([]string{"sh", "-c", `ulimit -f 128 && exec "$0" "$@"`}, backfill.Args...) // KiB or half of them
	got := finish(t, backfill)
	const want = "chatwize_exporter: error: backfill: --output: cannot be written: file too large" + writeHint + "\n"
	if got != (result{"", want, 1}) {
		t.Errorf("got %+v, want %s", got, want)
	}
	wantFiles(t, folder, "history.om")
	if content, err := os.ReadFile(path); err != nil || string(content) != "old" {
		t.Errorf("the earlier file is %q, %v", content, err)
	}
}

// SIGHUP reloads the file of accounts.
func TestHangupReloads(t *testing.T) {
	a := newAgency(t)
	command := command(t, nil, "--config.file="+a.file, "--web.listen-address=127.0.0.1:0")
	e := startProcess(t, command)
	for _, test := range []struct{ account, want string }{
		{"foreign", `added=foreign changed= removed="acme, bolt"`},
		{"missing", "the accounts stay as they were"},
		{"bolt", "added=bolt changed= removed=foreign"},
	} {
		a.writeAccounts(t, test.account)
		if err := command.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		e.log.waitFor(t, test.want)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := e.wait(); status != 0 {
		t.Errorf("exit status %d: %s", status, e.log)
	}
}

// Files that the web configuration names may hang, too.
func TestWebConfigNamesPipe(t *testing.T) {
	folder := t.TempDir()
	certificate, privateKey := selfSigned(t)
	if err := syscall.Mkfifo(filepath.Join(folder, "pipe.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	for field, config := range map[string]string{
		"cert_file":      "{cert_file: pipe.pem, key_file: key.pem}",
		"key_file":       "{cert_file: cert.pem, key_file: pipe.pem}",
		"client_ca_file": "{cert_file: cert.pem, key_file: key.pem, client_auth_type: RequestClientCert, client_ca_file: pipe.pem}",
	} {
		writeFiles(t, folder, map[string]string{"cert.pem": certificate, "key.pem": privateKey, "web.yml": "tls_server_config: " + config})
		got := execute(t, nil, "demo", "--config.check", "--web.config.file="+filepath.Join(folder, "web.yml"))
		wantOneLine(t, got, "its "+field+" is not a regular file of up to 16 MiB")
	}
}
