package main

import (
	"regexp"
	"strings"
	"testing"
)

// The demo needs no settings, and ignores the chatbots and the key that are set.
func TestDemo(t *testing.T) {
	e := start(t, []string{"CHATWIZE_CHATBOTS=" + shop, "CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=http://api.example"}, "demo")
	page := e.get(t, "/metrics")
	contains(t, page, `name="Shop"} 1`, `name="Product launch"} 1`, `name="Members’ desk"} 1`)
	if sessions := regexp.MustCompile(`(?m)^chatwize_sessions\{.*\} [1-9]`).FindAllString(page, -1); len(sessions) != 3 {
		t.Errorf("got the sessions of %d chatbots, want 3", len(sessions))
	}
	if status := e.stop(); status != 0 || strings.Contains(e.log.String(), "unencrypted") {
		t.Errorf("exit status %d, logged %s", status, e.log)
	}
}
