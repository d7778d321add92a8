package e2e_test

import (
	"bufio"
	"context"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// process is a running server that says in its log where it listens, as all that
// use exporter-toolkit do.
type process struct {
	address string
	command *exec.Cmd

	mutex sync.Mutex
	log   strings.Builder
	ended chan struct{} // closed when the log has ended
}

var listening = regexp.MustCompile(`msg="?Listening on"? .*?(127\.0\.0\.1:\d+)`)

// start starts a server, on a free port unless address has one, and waits until it
// listens. It is killed at the end of the test, and shortly before the deadline of
// all tests, because a test binary that runs into that leaves its children alone.
func start(t *testing.T, environment []string, binary, address string, arguments ...string) *process {
	t.Helper()
	ctx := context.Background()
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-5*time.Second))
		t.Cleanup(cancel)
	}
	command := exec.CommandContext(ctx, binary, append(arguments, "--web.listen-address="+address)...)
	// Not the caller's, which may hold the settings of a real exporter.
	command.Env = append([]string{}, environment...)
	p := &process{command: command, ended: make(chan struct{})}
	stderr, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			lines := strings.SplitAfter(p.logged(), "\n")
			t.Logf("the end of the log of %s:\n%s", binary, strings.Join(lines[max(0, len(lines)-20):], ""))
		}
	})
	listens := make(chan string, 1)
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mutex.Lock()
			p.log.WriteString(lines.Text() + "\n")
			p.mutex.Unlock()
			if found := listening.FindStringSubmatch(lines.Text()); found != nil {
				listens <- found[1]
			}
		}
	}()
	select {
	case p.address = <-listens:
	case <-p.ended:
		t.Fatal("it ended at once")
	case <-time.After(time.Minute):
		t.Fatal("it does not say where it listens")
	}
	return p
}

// kill ends the process as a crash would.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.ended
	_ = p.command.Wait()
}

func (p *process) logged() string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.log.String()
}

// eventually waits until problem returns none, and fails with the last one where
// that takes too long.
func eventually(t *testing.T, what string, problem func() error) {
	t.Helper()
	const patience = 2 * time.Minute
	start := time.Now()
	for {
		err := problem()
		if err == nil {
			return
		}
		if time.Since(start) > patience {
			t.Fatalf("%s: not after %v: %v", what, patience, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
