//go:build unix

package accounts_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
)

// An authority's file that becomes a pipe fails fetches, until it is a file again.
func TestAuthorityBecomesPipe(t *testing.T) {
	folder := t.TempDir()
	file := write(t, folder, "ca.pem", certificate)
	c := config(t, "acme", "https://127.0.0.1:1")
	c.TLS = accounts.TLS{CAFile: file}
	account, err := accounts.New(c, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(want string) {
		t.Helper()
		result := account.Source.FetchAll(t.Context(), []client.Chatbot{{UUID: shopUUID}})[0]
		if result.Err == nil || !strings.Contains(result.Err.Error(), want) {
			t.Errorf("got %v, want %s", result.Err, want)
		}
	}
	fetch("connection refused")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	fetch("a file for TLS cannot be read: not a regular file of up to 16 MiB")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	write(t, folder, "ca.pem", certificate)
	fetch("connection refused")
}

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
