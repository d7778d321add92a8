package e2e_test

import (
	"fmt"
	"iter"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// watch is an account, the exporters that export it, and a Prometheus that scrapes these.
type watch struct {
	*server
	chatbots  []*watchedChatbot
	exporters []*process
}

// watchedChatbot is a chatbot that can be made to fail.
type watchedChatbot struct {
	simulator.Chatbot
	fails atomic.Bool
}

type watchOptions struct {
	replicas int
	// past is how far back Prometheus knows the chatbots, by backfill.
	past  time.Duration
	rules string
	// fail are the indices of the chatbots that fail after some scrapes.
	fail []int
}

// formerName is what the second replica still calls a chatbot.
func formerName(name string) string { return "Former " + name }

func newWatch(t *testing.T, chatbots []simulator.Chatbot, options watchOptions) *watch {
	t.Helper()
	w := &watch{}
	account := &simulator.Account{Key: key}
	for _, c := range chatbots {
		watched := &watchedChatbot{Chatbot: c}
		w.chatbots = append(w.chatbots, watched)
		fault := c.Fault
		c.Fault = func(now time.Time) simulator.Fault {
			if watched.fails.Load() {
				return simulator.Fault{Status: 500}
			}
			if fault != nil {
				return fault(now)
			}
			return simulator.Fault{}
		}
		account.Chatbots = append(account.Chatbots, c)
	}
	api := httptest.NewServer(account)
	t.Cleanup(api.Close)

	var addresses []string
	for i := range options.replicas {
		arguments := []string{"--chatwize.url=" + api.URL}
		if i == 1 {
			for _, c := range chatbots {
				arguments = append(arguments, "--chatwize.chatbot="+c.UUID+"="+formerName(c.Name))
			}
		}
		e := start(t, []string{"CHATWIZE_TOKEN=" + key}, exporter, "127.0.0.1:0", arguments...)
		w.exporters = append(w.exporters, e)
		addresses = append(addresses, e.address)
	}
	data := t.TempDir()
	if options.past > 0 {
		path := filepath.Join(t.TempDir(), "history.om")
		write := exec.CommandContext(t.Context(), exporter, "backfill", "--chatwize.url="+api.URL,
			"--label=job="+job, "--label=instance="+addresses[0], "--output="+path, "--log.level=warn",
			fmt.Sprintf("--start=%d", time.Now().Add(-options.past).Unix()))
		write.Env = []string{"CHATWIZE_TOKEN=" + key}
		if output, err := write.CombinedOutput(); err != nil {
			t.Fatalf("backfill: %v\n%s", err, output)
		}
		importBlocks(t, path, data, "200h")
	}
	if len(addresses) == 0 {
		addresses = []string{"127.0.0.1:1"} // where nothing listens
	}
	w.server = startPrometheus(t, data, options.rules, addresses...)
	eventually(t, "the exporters are scraped", func() error {
		scraped, err := w.instant(t.Context(), `count_over_time(up[1m])`, time.Now())
		for _, series := range scraped {
			if series.Value < 3 {
				return fmt.Errorf("only %v times", series.Value)
			}
		}
		if err == nil && len(scraped) != len(addresses) {
			err = fmt.Errorf("only %v", scraped)
		}
		return err
	})
	if len(options.fail) == 0 {
		return w
	}
	for _, i := range options.fail {
		w.chatbots[i].fails.Store(true)
	}
	eventually(t, "some chatbots fail", func() error {
		up, err := w.instant(t.Context(), `sum(chatwize_up)`, time.Now())
		if want := options.replicas * (len(chatbots) - len(options.fail)); err == nil && int(up[0].Value) != want {
			err = fmt.Errorf("up are %v, want %d", up, want)
		}
		return err
	})
	return w
}

// everything is the view of all there is.
func (w *watch) everything(t *testing.T, b board, span time.Duration, to time.Time) view {
	t.Helper()
	v := everything(span, to)
	w.resolve(t, b, v)
	return v
}

// resolve sets the hidden variables.
func (w *watch) resolve(t *testing.T, b board, v view) {
	t.Helper()
	var twins []string
	for _, o := range v.options(t, w.server, b.variable(t, "twins")) {
		twins = append(twins, o.value)
	}
	v.choose("twins", twins...)
	var slots []string
	for _, o := range v.options(t, w.server, b.variable(t, "slots")) {
		slots = append(slots, o.value)
	}
	v.variables["slots"] = strings.Join(slots, "|") // ${slots:pipe}
}

func (b board) variable(t *testing.T, name string) lintVariable {
	t.Helper()
	for _, v := range b.Templating.List {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("there is no variable %s", name)
	return lintVariable{}
}

// demoChatbots are those of the demo.
func demoChatbots() []simulator.Chatbot { return simulator.Demo(key, time.Now(), 0).Chatbots }

// manyChatbots have eight weeks of sessions. Among their names are equal ones, and those
// with characters that are special in queries, JSON or regular expressions. The first
// has had no session for two days, the second no lead for three.
func manyChatbots(n int) []simulator.Chatbot {
	now := time.Now()
	names := []string{"Old site", "Broken form", "Shop", "Shop", `Say "hi"`, `C:\chat`, `a{b="c"} 1 2`, "Members’ desk"}
	var chatbots []simulator.Chatbot
	for i := range n {
		name := fmt.Sprintf("Chatbot %02d", i)
		if i < len(names) {
			name = names[i]
		}
		arrivals := simulator.Arrivals{
			Seed: uint64(i), Start: now.AddDate(0, 0, -56), PerHour: daily(float64(4 + 3*(i%5))), Lead: 0.2, Verified: 0.1,
		}
		sessions := arrivals.Sessions
		switch i {
		case 0:
			all := sessions
			sessions = func(at time.Time) iter.Seq[simulator.Session] { return all(earlier(at, now.AddDate(0, 0, -2))) }
		case 1:
			arrivals.LeadsEnd = now.AddDate(0, 0, -3)
			sessions = arrivals.Sessions
		}
		// Their order is not that of the names.
		chatbots = append(chatbots, simulator.Chatbot{
			UUID: fmt.Sprintf("%08x%024x", uint32(i+1)*2654435761, i), Name: name, Sessions: sessions,
		})
	}
	return chatbots
}

// count counts the sessions that were created in a span, with the leads that they have
// today: so do the exporter's numbers of the past.
func (c *watchedChatbot) count(from, to time.Time) numbers {
	var n numbers
	for s := range c.Sessions(time.Now()) {
		if s.Created.After(to) {
			break
		}
		n.created = s.Created
		if !s.Created.After(from) {
			continue
		}
		n.sessions++
		if s.Lead {
			n.leads++
		}
		if s.Verified {
			n.verified++
		}
	}
	return n
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
