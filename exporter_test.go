package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// logBuffer is a buffer for concurrent use.
type logBuffer struct {
	mutex   sync.Mutex
	buffer  bytes.Buffer
	written chan struct{} // holds a value after a write
}

func newLogBuffer() *logBuffer { return &logBuffer{written: make(chan struct{}, 1)} }

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	select {
	case b.written <- struct{}{}:
	default:
	}
	return b.buffer.Write(p)
}

func (b *logBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.String()
}

// take returns what was written since the last call.
func (b *logBuffer) take() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	defer b.buffer.Reset()
	return b.buffer.String()
}

// waitFor waits until the log contains all of wants.
func (b *logBuffer) waitFor(t *testing.T, wants ...string) {
	t.Helper()
	if !b.wait(nil, func(log string) bool {
		return !slices.ContainsFunc(wants, func(want string) bool { return !strings.Contains(log, want) })
	}) {
		contains(t, b.String(), wants...)
	}
}

// wait waits until found returns true for the log, or ended is closed. It returns the
// last result of found.
func (b *logBuffer) wait(ended <-chan struct{}, found func(log string) bool) bool {
	timeout := time.After(30 * time.Second)
	for !found(b.String()) {
		select {
		case <-b.written:
		case <-ended:
			return found(b.String())
		case <-timeout:
			return false
		}
	}
	return true
}

// exporter is a running exporter.
type exporter struct {
	url string
	log *logBuffer
	// stop stops the exporter, waits for its end and returns its exit status.
	stop func() int
	// wait waits for the end of the exporter and returns its exit status.
	wait func() int
}

// start starts the exporter in this process, with the arguments and environment of a
// command line, and waits until it listens.
func start(t *testing.T, environment []string, arguments ...string) *exporter {
	t.Helper()
	setEnvironment(t, environment)
	ctx, cancel := context.WithCancel(context.Background())
	log, ended := newLogBuffer(), make(chan struct{})
	status := 0
	go func() {
		defer close(ended)
		status = run(ctx, slices.Concat(arguments, []string{"--web.listen-address=127.0.0.1:0"}), io.Discard, log)
	}()
	return listening(t, log, ended, cancel, func() int { return status })
}

// startProcess starts a command of the exporter and waits until it listens.
func startProcess(t *testing.T, command *exec.Cmd) *exporter {
	t.Helper()
	log, ended := newLogBuffer(), make(chan struct{})
	command.Stderr = log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(ended)
		_ = command.Wait()
	}()
	return listening(t, log, ended, func() { _ = command.Process.Kill() }, func() int { return command.ProcessState.ExitCode() })
}

// address finds where the exporter listens.
var address = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// listening returns an exporter as soon as its log says where it listens.
func listening(t *testing.T, log *logBuffer, ended <-chan struct{}, stop func(), status func() int) *exporter {
	t.Helper()
	e := &exporter{log: log}
	e.wait = func() int {
		<-ended
		return status()
	}
	e.stop = func() int {
		stop()
		return e.wait()
	}
	t.Cleanup(func() { e.stop() })
	found := ""
	if !log.wait(ended, func(log string) bool {
		for line := range strings.Lines(log) {
			if strings.Contains(line, "Listening on") && strings.HasSuffix(line, "\n") {
				found = address.FindString(line)
			}
		}
		return found != ""
	}) {
		t.Fatalf("the exporter does not listen: %s", log)
	}
	e.url = "http://" + found
	return e
}

// get returns the body of a response with status 200.
func (e *exporter) get(t *testing.T, path string, header ...string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, e.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	defer http.DefaultClient.CloseIdleConnections()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", path, response.Status, err)
	}
	return string(body)
}

// result is how a command ended.
type result struct {
	stdout, stderr string
	status         int
}

// execute runs a command of the exporter in this process.
func execute(t *testing.T, environment []string, arguments ...string) result {
	t.Helper()
	return executeUntil(t.Context(), t, environment, arguments...)
}

// executeUntil is like execute. The end of ctx interrupts the command.
func executeUntil(ctx context.Context, t *testing.T, environment []string, arguments ...string) result {
	t.Helper()
	setEnvironment(t, environment)
	var stdout bytes.Buffer
	stderr := newLogBuffer() // fetches that nobody waits for may still log
	status := run(ctx, arguments, &stdout, stderr)
	return withoutKey(t, result{stdout.String(), stderr.String(), status})
}

// command returns a command of the exporter in a process of its own.
func command(t *testing.T, environment []string, arguments ...string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, executable, arguments...)
	// The race detector would make each exit wait for a second.
	command.Env = append([]string{runMain + "=1", "GORACE=atexit_sleep_ms=0"}, environment...)
	return command
}

// finish runs a command of the exporter in its process.
func finish(t *testing.T, command *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return withoutKey(t, result{stdout.String(), stderr.String(), command.ProcessState.ExitCode()})
}

// withoutKey checks that a result does not show the API key.
func withoutKey(t *testing.T, r result) result {
	t.Helper()
	if strings.Contains(r.stdout+r.stderr, key) {
		t.Errorf("the key is shown: %+v", r)
	}
	return r
}

// setEnvironment sets the variables of the exporter, and unsets all others of its
// variables.
func setEnvironment(t *testing.T, environment []string) {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "CHATWIZE_") {
			t.Setenv(name, "")
		}
	}
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nis missing in\n%s", want, text)
		}
	}
}

// startAPI starts an API below a path, with a shop of 1000 sessions and a desk that
// is not found. It returns its URL.
func startAPI(t *testing.T, shopFault func(time.Time) simulator.Fault) string {
	t.Helper()
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
		{
			UUID:     shop,
			Sessions: simulator.Uniform(1000, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Hour),
			Fault:    shopFault,
		},
		{UUID: desk, Fault: func(time.Time) simulator.Fault { return simulator.Fault{Status: http.StatusNotFound} }},
	}}
	server := httptest.NewServer(http.StripPrefix("/brand", account))
	t.Cleanup(server.Close)
	return server.URL + "/brand"
}

// handlerOf returns the handler of accounts that are not of a file.
func handlerOf(t testing.TB, options web.Options, logger log.Logger, configs ...accounts.Config) http.Handler {
	t.Helper()
	manager := accounts.NewManager(func(context.Context) ([]accounts.Config, error) { return configs, nil }, logger)
	if err := manager.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	handler, err := newHandler(manager, false, options, logger)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}
