package main

import (
	"bytes"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// The demo needs no settings, and ignores the chatbots and the key that are set.
func TestDemo(t *testing.T) {
	e := start(t, []string{"CHATWIZE_CHATBOTS=" + shop, "CHATWIZE_TOKEN=" + key, "CHATWIZE_URL=http://api.example"}, "demo")
	page := e.get(t, "/metrics")
	contains(t, page, `name="Shop"} 1`, `name="Product launch"} 1`, `name="Members’ desk"} 1`, `name="Help centre"} 1`, `name="Landing page"} 1`)
	for metric, chatbot := range map[string]string{
		"chatwize_missing_sessions": simulator.DemoVanished, "chatwize_missing_sessions_with_lead": simulator.DemoWithoutLeads,
	} {
		if many := regexp.MustCompile(`(?m)^`+metric+`\{chatbot="(.*)"\} (?:[2-9].|\d{3,})(?:\.|$)`).FindAllStringSubmatch(page, -1); len(many) != 1 || many[0][1] != chatbot {
			t.Errorf("of %s, 20 or more are those of %q, want %s", metric, many, chatbot)
		}
	}
	if status := e.stop(); status != 0 || strings.Contains(e.log.String(), "unencrypted") {
		t.Errorf("exit status %d, logged %s", status, e.log)
	}
}

// At any hour of the week, many sessions and leads are missing where something is wrong, and
// few elsewhere.
func TestDemoMisses(t *testing.T) {
	for hour := time.Duration(0); hour < 7*24; hour += 23 {
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(hour * time.Hour)
		for _, chatbot := range simulator.Demo("key", start, 0).Chatbots {
			sum := tally.New(start)
			for s := range chatbot.Sessions(start) {
				sum.Add(client.Session{Created: s.Created, HasLead: s.Lead, IdentityVerified: s.Verified})
			}
			for kind, missing := range sum.At(start).Missing {
				wrong := chatbot.UUID == simulator.DemoVanished && tally.Kind(kind) == tally.AllSessions ||
					chatbot.UUID == simulator.DemoWithoutLeads && tally.Kind(kind) == tally.WithLead
				if !missing.Known || wrong && missing.Number < 100 || !wrong && missing.Number > 15 {
					t.Errorf("at hour %d, %s misses %+v of kind %d", hour, chatbot.Name, missing, kind)
				}
			}
		}
	}
}

// The first line of the log says where the page is.
func TestDemoPage(t *testing.T) {
	setEnvironment(t, nil)
	taken, err := net.Listen("tcp", "127.0.0.1:0") // it need not listen
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var log bytes.Buffer
	run(t.Context(), []string{"demo", "--web.listen-address=" + taken.Addr().String()}, io.Discard, &log)
	if first, _, _ := strings.Cut(log.String(), "\n"); !strings.Contains(first, " page=http://"+taken.Addr().String()+"/ ") {
		t.Errorf("got %s", log.String())
	}
}
