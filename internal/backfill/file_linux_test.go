package backfill_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/chatwize-exporter/chatwize_exporter/internal/backfill"
)

// descriptor returns the file descriptor of the file that is being written beside path.
func descriptor(t *testing.T, path string) int {
	t.Helper()
	const open = "/proc/self/fd"
	list, err := os.ReadDir(open)
	if err != nil {
		t.Skip(err)
	}
	for _, entry := range list {
		if target, err := os.Readlink(filepath.Join(open, entry.Name())); err == nil && filepath.Dir(target) == filepath.Dir(path) && strings.HasSuffix(target, ".tmp") {
			fd, err := strconv.Atoi(entry.Name())
			if err != nil {
				t.Fatal(err)
			}
			return fd
		}
	}
	t.Fatal("no file is being written")
	return 0
}

// A disk that is full ends writing. When the disk says so only as the file is synced
// or closed, the file is not kept either.
func TestDiskFails(t *testing.T) {
	tests := map[string]struct {
		fails func(t *testing.T, file *backfill.File, descriptor int, failing func())
		keep  string // the error
	}{
		"full, at once": {func(t *testing.T, file *backfill.File, descriptor int, failing func()) {
			replace(t, "/dev/full", descriptor)
			n, err := file.Write([]byte("new"))
			if n != 0 || !errors.Is(err, syscall.ENOSPC) || err.Error() != syscall.ENOSPC.Error() {
				t.Errorf("wrote %d bytes, %v", n, err)
			}
			failing()
		}, "invalid argument"},
		"full, when synced": {func(t *testing.T, _ *backfill.File, descriptor int, failing func()) {
			replace(t, "/dev/null", descriptor) // which cannot be synced
			failing()
		}, "invalid argument"},
		"full, when closed": {func(t *testing.T, _ *backfill.File, descriptor int, failing func()) {
			withoutClose(t, descriptor, failing)
		}, "input/output error"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "history.om")
			file := newFile(t, path)
			defer file.Discard()
			if _, err := io.WriteString(file, "new"); err != nil {
				t.Fatal(err)
			}
			test.fails(t, file, descriptor(t, path), func() {
				if err := notKept(t, file, folder, map[string]string{"history.om": "old"}); err.Error() != test.keep {
					t.Errorf("got %v, want %s", err, test.keep)
				}
			})
		})
	}
}

// replace makes a file descriptor one of a device.
func replace(t *testing.T, device string, descriptor int) {
	t.Helper()
	file, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer file.Close()
	if err := syscall.Dup3(int(file.Fd()), descriptor, syscall.O_CLOEXEC); err != nil {
		t.Skip(err)
	}
}

// withoutClose calls do where closing a file descriptor fails as on a disk with a
// fault: in a thread of its own, with a filter on its system calls.
func withoutClose(t *testing.T, descriptor int, do func()) {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the filter is for machines with the low half of a number first")
	}
	const (
		noNewPrivileges, setFilter, modeFilter = 38, 22, 2
		number, argument                       = 0, 16 // where a filter finds them; of the argument the low half
		allow, fail                            = 0x7fff0000, 0x00050000
		load, equal, answer                    = syscall.BPF_LD | syscall.BPF_W | syscall.BPF_ABS, syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, syscall.BPF_RET | syscall.BPF_K
	)
	filter := []syscall.SockFilter{
		{Code: load, K: number},
		{Code: equal, K: syscall.SYS_CLOSE, Jf: 3},
		{Code: load, K: argument},
		{Code: equal, K: uint32(descriptor), Jf: 1},
		{Code: answer, K: fail | uint32(syscall.EIO)},
		{Code: answer, K: allow},
	}
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	var err syscall.Errno
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Not unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		_, _, err = syscall.Syscall6(syscall.SYS_PRCTL, noNewPrivileges, 1, 0, 0, 0, 0)
		if err == 0 {
			_, _, err = syscall.Syscall(syscall.SYS_PRCTL, setFilter, modeFilter, uintptr(unsafe.Pointer(&program)))
		}
		if err == 0 {
			do()
		}
	}()
	if <-done; err != 0 {
		t.Skip(err)
	}
	if err := syscall.Close(descriptor); err != nil {
		t.Error(err)
	}
}

// A file that no other can replace is an error before anything is written. Each test runs
// in a process, with rights of its own.
func TestUnreplaceable(t *testing.T) {
	const path = "BACKFILL_TEST_UNREPLACEABLE"
	if name := os.Getenv(path); name != "" {
		file, err := backfill.Create(name)
		if err == nil {
			file.Discard()
		}
		fmt.Printf("Create: %v\n", err)
		return
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		script string // runs "$0" where the file $1 cannot be replaced
		want   string
	}{
		// From the same file system.
		"mount point": {`unshare --map-root-user --mount sh -c 'echo x > "$1.host" && mount --bind "$1.host" "$1" || exit 7; exec "$0" -test.run=TestUnreplaceable' "$0" "$1"`,
			"is a mount point, which cannot be replaced (mount its folder instead)"},
		"in a sticky folder": {`chmod 1777 . && chmod 755 .. && chmod 666 "$1" && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$0" -test.run=TestUnreplaceable || exit 7`,
			"operation not permitted"},
		"immutable":        {`chattr +i "$1" || exit 7; "$0" -test.run=TestUnreplaceable; chattr -i "$1"`, "operation not permitted"},
		"read-only folder": {`unshare --map-root-user --mount sh -c 'mount --bind . . && mount -o remount,bind,ro . && cd "$PWD" || exit 7; exec "$0" -test.run=TestUnreplaceable' "$0" "$1"`, "read-only file system"},
		"none (it can be)": {`exec "$0" -test.run=TestUnreplaceable`, "<nil>"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			file := filepath.Join(folder, "history.om")
			if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			command := exec.CommandContext(t.Context(), "sh", "-c", test.script, executable, file)
			command.Dir = folder
			command.Env = append(os.Environ(), path+"="+file, "GORACE=atexit_sleep_ms=0")
			out, err := command.CombinedOutput()
			if code := command.ProcessState.ExitCode(); code == 7 || code == 127 || strings.Contains(string(out), "unshare failed") {
				t.Skipf("not possible here: %s", out)
			}
			if err != nil || !strings.Contains(string(out), "Create: "+test.want+"\n") {
				t.Errorf("got %v: %s, want %s", err, out, test.want)
			}
			if left, _ := filepath.Glob(filepath.Join(folder, "*.tmp")); len(left) > 0 {
				t.Errorf("there are %q", left)
			}
		})
	}
}
