package e2e_test

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPromtool(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"config": {"check", "config", "--lint=all", "--lint-fatal", bundledConfig},
		"probes": {"check", "config", "--lint=all", "--lint-fatal", probeConfig},
		"rules":  {"check", "rules", "--lint=all", "--lint-fatal", bundledRules},
	}
	files, err := filepath.Glob("../alerts/*_test.yml")
	if err != nil || len(files) == 0 {
		t.Errorf("the rules have no tests: %v", err)
	}
	for _, file := range files {
		tests[filepath.Base(file)] = []string{"test", "rules", file}
	}
	for name, arguments := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkWithPromtool(t, "", arguments...)
		})
	}
	t.Run("metrics", func(t *testing.T) {
		t.Parallel()
		checkWithPromtool(t, metricsPage(t), "check", "metrics")
	})
}

func checkWithPromtool(t *testing.T, input string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), promtool, arguments...)
	command.Stdin = strings.NewReader(input)
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
}

// metricsPage returns the page of an exporter that has a chatbot that is up and
// one that is down.
func metricsPage(t *testing.T) string {
	t.Helper()
	s := &stage{account: newAccount(time.Now())}
	s.account.desk.fails(http.StatusNotFound)
	s.apiURL = s.account.serve(t)
	s.startExporter(t, 0)
	page := s.page(t, 0)
	for _, line := range []string{
		`chatwize_up{chatbot="` + s.account.shop.uuid + `"} 1`,
		`chatwize_up{chatbot="` + s.account.desk.uuid + `"} 0`,
	} {
		if !strings.Contains(page, line+"\n") {
			t.Fatalf("%s is missing in\n%s", line, page)
		}
	}
	return page
}
