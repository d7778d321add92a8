//go:build unix

package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// When a file cannot be written to its end or put in its place, the program fails and
// names the flag of the file. An old file stays whole, and nothing else is left.
func TestBackfillCannotWrite(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	becomeFolder := func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }
	tests := map[string]struct {
		limit     string                  // of files, in KiB or half of them
		meanwhile func(path string) error // happens while the sessions are read
		want      string
		folder    bool // what is there at the end: a folder, or else the old file
	}{
		"no room left":             {"128", func(string) error { return nil }, "file too large", false},
		"the file became a folder": {"unlimited", becomeFolder, "file exists", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "history.om")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
				{UUID: shop, Sessions: simulator.Uniform(1, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Hour)},
			}}
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := test.meanwhile(path); err != nil {
					t.Error(err)
				}
				account.ServeHTTP(w, r)
			}))
			defer api.Close()
			backfill := command(t, []string{"CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=" + api.URL}, "backfill", "--chatwize.chatbot="+shop,
				"--start=2026-01-01", "--end=2026-01-02", "--step=1m", "--output="+path) // 600 KiB
			backfill.Path = shell
			backfill.Args = append([]string{"sh", "-c", "ulimit -f " + test.limit + ` && exec "$0" "$@"`}, backfill.Args...)
			got := finish(t, backfill)
			want := "chatwize_exporter: error: backfill: --output: cannot be written: " + test.want +
				"; name a file in a folder that is there, yours and has room\n"
			if got.status != 1 || got.stdout != "" || got.stderr != want {
				t.Errorf("got %+v, want %s", got, want)
			}
			list, err := os.ReadDir(folder)
			if err != nil || len(list) != 1 || list[0].Name() != "history.om" || list[0].IsDir() != test.folder {
				t.Errorf("there are %v, %v", list, err)
			}
			if content, err := os.ReadFile(path); !test.folder && (err != nil || string(content) != "old") {
				t.Errorf("the old file is %q, %v", content, err)
			}
		})
	}
}
