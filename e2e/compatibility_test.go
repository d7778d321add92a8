package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// TestOldestPrometheus loads what is deployed as Prometheus 2.42 does.
func TestOldestPrometheus(t *testing.T) {
	t.Parallel()
	command := filepath.Join(t.TempDir(), "oldest")
	if _, err := goCommand("-C", "oldest", "build", "-o", command, "."); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(t.Context(), command, bundledConfig, probeConfig).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, output)
	}
}

// TestVictoriaMetrics lets VictoriaMetrics scrape an exporter and vmalert evaluate the rules. The
// alerts on sessions fire with the first evaluation, others as the exporter ends. VictoriaMetrics
// answers the dashboard's queries.
func TestVictoriaMetrics(t *testing.T) {
	t.Parallel()
	s := &stage{account: newAccount(time.Now())}
	s.apiURL = s.account.serve(t)
	s.startExporter(t, 0)
	exporter := s.exporters[0].address

	config := scrapeConfig(t, bundledRules, []string{exporter})
	path := filepath.Join(t.TempDir(), "prometheus.yml")
	writeYAML(t, path, config)
	// By default, both leave out the last 30 seconds.
	storage := startTool(t, "victoria-metrics", "-storageDataPath="+t.TempDir(), "-search.latencyOffset=1s",
		"-promscrape.config="+path, "-promscrape.config.strictParse=false")
	alerts := startTool(t, "vmalert", "-rule="+shortenedRules(t), "-datasource.url="+storage, "-remoteWrite.url="+storage,
		"-remoteRead.url="+storage, "-notifier.blackhole", "-rule.evalDelay=1s")

	client := func(address string) v1.API {
		c, err := api.NewClient(api.Config{Address: address})
		if err != nil {
			t.Fatal(err)
		}
		return v1.NewAPI(c)
	}
	s.server = &server{API: client(alerts)}
	a := s.account
	lasting := []firing{
		{alert: "ChatwizeNoNewSession", chatbot: a.vanished, says: "no new session for "},
		{alert: "ChatwizeLeadsStopped", chatbot: a.mute, says: "lead form"},
		{alert: "ChatwizeVerificationsStopped", chatbot: a.mute, says: "signing of identities"},
	}
	s.waitForFiring(t, lasting...)
	a.desk.fails(http.StatusInternalServerError)
	s.waitForFiring(t, append(lasting, firing{alert: "ChatwizeChatbotDown", chatbot: a.desk, says: "server_error"})...)
	a.desk.fails(0)
	s.waitForFiring(t, lasting...)

	vm := &server{API: client(storage)}
	b := readBoard(t)
	for _, span := range []time.Duration{time.Hour, 7 * day} {
		v := everything(span, time.Now())
		for _, p := range b.panels() {
			for _, target := range p.Targets {
				if _, err := v.ask(t, vm, p, target); err != nil {
					t.Errorf("%s: %v", p.Title, err)
				}
			}
		}
	}
	up, err := vm.instant(t.Context(), `sum(chatwize_up)`, time.Now())
	if err != nil || len(up) != 1 || int(up[0].Value) != len(a.chatbots()) {
		t.Errorf("up are %v, %v", up, err)
	}

	s.exporters[0].kill()
	s.waitForFiring(t, append(slices.Clone(lasting), firing{alert: "ChatwizeExporterGone", instance: exporter, says: "could not be scraped"})...)
}

// startTool starts a tool of VictoriaMetrics, which is in a module of its own, and returns its
// address. It is killed at the end of the test.
func startTool(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	binary, err := goCommand("-C", "victoriametrics", "tool", "-n", name)
	if err != nil {
		t.Fatal(err)
	}
	// It does not tell which port it chose.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), binary, append(arguments, "-httpListenAddr="+address)...)
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = log.Close()
		if t.Failed() {
			content, _ := os.ReadFile(log.Name())
			t.Logf("the end of the log of %s:\n%s", name, content[max(0, len(content)-5000):])
		}
	})
	url := "http://" + address
	eventually(t, name+" answers", func() error {
		response, err := http.Get(url + "/health")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		return nil
	})
	return url
}
