//go:build unix

package accounts_test

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
)

// A file that is a pipe or a device is refused at once: to read it could take for ever.
func TestNoFile(t *testing.T) {
	folder := t.TempDir()
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, folder, "acme.key", key)
	const notRegular = "cannot be read: not a regular file of up to 16 MiB"
	for _, file := range []string{pipe, "/dev/zero"} {
		authority := write(t, folder, "accounts.yml", "accounts: [{name: acme, token_file: acme.key, tls_config: {ca_file: "+file+"}}]")
		for want, read := range map[string]func() error{
			"is not a small regular file; name a file that holds the API key": func() error {
				_, err := accounts.FileKey(file)(t.Context())
				return err
			},
			file + ": " + notRegular + "; name a file with accounts": func() error {
				_, err := accounts.ReadFile(t.Context(), file, defaults(t))
				return err
			},
			authority + `: account "acme": tls_config: ca_file: ` + notRegular: func() error {
				_, err := accounts.ReadFile(t.Context(), authority, defaults(t))
				return err
			},
		} {
			failed := make(chan error, 1)
			go func() { failed <- read() }()
			select {
			case err := <-failed:
				if err == nil || err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s is being read; want %s", file, want)
			}
		}
	}
}
