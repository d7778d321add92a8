//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// An interrupt while backfill writes ends it with exit status 1 and leaves no file.
func TestBackfillGetsSignal(t *testing.T) {
	folder := t.TempDir()
	// Half a century by the second is hours of writing.
	backfill := command(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + startAPI(t, nil)},
		"backfill", "--chatwize.chatbot="+shop, "--start=1976-01-01", "--step=1s", "--output="+filepath.Join(folder, "history.om"))
	var stderr bytes.Buffer
	backfill.Stderr = &stderr
	if err := backfill.Start(); err != nil {
		t.Fatal(err)
	}
	waitForSize(t, folder, 1<<16)
	if err := backfill.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	_ = backfill.Wait()
	if status := backfill.ProcessState.ExitCode(); status != 1 || strings.Count(stderr.String(), "\n") != 1 ||
		!strings.HasPrefix(stderr.String(), "chatwize_exporter: error: backfill: interrupt") {
		t.Errorf("status %d with %s", status, &stderr)
	}
	wantFiles(t, folder)
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
		"--start=2026-01-01", "--end=2026-01-02", "--step=1m", "--output="+path) // 600 KiB
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
