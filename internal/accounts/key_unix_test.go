//go:build unix

package accounts_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
)

// A key file that is a pipe or a device is refused at once: to read it could take for
// ever.
func TestKeyFileIsNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "key")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{"pipe": pipe, "device": os.DevNull} {
		t.Run(name, func(t *testing.T) {
			failed := make(chan error, 1)
			go func() {
				_, err := accounts.FileKey(file)(t.Context())
				failed <- err
			}()
			select {
			case err := <-failed:
				if want := "is not a small regular file; name a file that holds the API key"; err == nil || err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
			case <-time.After(10 * time.Second):
				t.Error("it is being read")
				// Ends the reading, by a writer that comes and goes.
				if writer, err := os.OpenFile(file, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
					_ = writer.Close()
				}
			}
		})
	}
}
