package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// runMain makes the test binary the exporter itself.
const runMain = "EXPORTER_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	shop = "7f5e5376dbf045cd8c72c60f428653d1"
	desk = "7F5E5376-DBF0-45CD-8C72-C60F428653D2"
	key  = "Key-0815-must-not-be-seen"
)
