package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const probeConfig = "../deploy/prometheus-probe.yml"

// TestSharding has two servers discover the chatbots and divide them by hashmod: each
// chatbot is scraped by exactly one.
func TestSharding(t *testing.T) {
	t.Parallel()
	account := newAccount(time.Now())
	exporter := start(t, []string{"CHATWIZE_TOKEN=" + key}, exporter, "127.0.0.1:0",
		"--chatwize.url="+account.serve(t), "--chatwize.probe-only")
	var servers [2]*server
	for i := range servers {
		servers[i] = startServer(t, t.TempDir(), shardConfig(t, exporter.address, len(servers), i))
	}
	eventually(t, "each chatbot is scraped by one server", func() error {
		scrapedBy := map[string]int{}
		for i, s := range servers {
			probes, err := s.instant(t.Context(), `up{chatbot!=""} == 1 and on (job, instance, chatbot) chatwize_up == 1 and on (job, instance, chatbot) chatwize_sessions > 0`, time.Now())
			if err != nil {
				return err
			}
			if len(probes) == 0 {
				return fmt.Errorf("server %d scrapes no chatbot", i)
			}
			for _, probe := range probes {
				scrapedBy[string(probe.Metric["chatbot"])]++
			}
			// The exporter's own metrics, by the same job.
			own, err := s.instant(t.Context(), `count by (job) (chatwize_exporter_build_info) and on (job) chatwize_discovery_up == 1`, time.Now())
			if err != nil {
				return err
			}
			if len(own) != 1 || own[0].Metric["job"] != job {
				return fmt.Errorf("server %d shows of exporters %v", i, own)
			}
		}
		for _, c := range account.chatbots() {
			if scrapedBy[c.uuid] != 1 {
				return fmt.Errorf("%d servers scrape %s", scrapedBy[c.uuid], c.uuid)
			}
		}
		if len(scrapedBy) != len(account.chatbots()) {
			return fmt.Errorf("scraped are %v", scrapedBy)
		}
		return nil
	})
	for i, s := range servers {
		// All that there ever was, not only what is there now.
		total, err := s.instant(t.Context(), `count(count by (chatbot) (last_over_time(chatwize_up[1h])))`, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if len(total) != 1 || int(total[0].Value) >= len(account.chatbots()) {
			t.Errorf("server %d has scraped %v of %d chatbots", i, total, len(account.chatbots()))
		}
	}
}

// shardConfig returns the bundled configuration of probes for one of several servers.
func shardConfig(t *testing.T, exporter string, servers, server int) object {
	t.Helper()
	config := readYAML(t, probeConfig)
	text, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	changes := strings.NewReplacer("localhost:10113", exporter, "modulus: 1\n", fmt.Sprintf("modulus: %d\n", servers),
		`regex: "0"`, fmt.Sprintf("regex: %q", fmt.Sprint(server)))
	changed := changes.Replace(string(text))
	config = object{}
	if err := yaml.Unmarshal([]byte(changed), &config); err != nil {
		t.Fatal(err)
	}
	global := config["global"].(object)
	global["scrape_interval"], global["scrape_timeout"] = scrapeInterval.String(), scrapeInterval.String()
	config["rule_files"] = []string{}
	config["scrape_configs"].([]any)[0].(object)["http_sd_configs"].([]any)[0].(object)["refresh_interval"] = "1s"
	return config
}
