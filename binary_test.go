//go:build (memory || soak) && linux

package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// buildBinary builds the exporter, without the race detector, which would multiply its
// memory. It returns the path of the binary.
func buildBinary(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), program)
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}
