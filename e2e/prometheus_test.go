package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

const (
	bundledConfig = "../deploy/prometheus.yml"
	bundledRules  = "../alerts/chatwize.rules.yml"
	// scrapeInterval is that of the test; it is long enough for a busy machine.
	scrapeInterval = 2 * time.Second
)

// server is a running Prometheus.
type server struct {
	v1.API
	process *process
}

// startPrometheus starts Prometheus on a data directory, with the bundled
// configuration, but for its targets, its intervals and where its rules are.
func startPrometheus(t *testing.T, data, rules string, targets ...string) *server {
	t.Helper()
	return startServer(t, data, scrapeConfig(t, rules, targets))
}

// startServer starts Prometheus on a data directory with a configuration.
func startServer(t *testing.T, data string, config object) *server {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prometheus.yml")
	writeYAML(t, path, config)
	p := start(t, nil, prometheus, "127.0.0.1:0",
		"--config.file="+path,
		"--storage.tsdb.path="+data,
		"--storage.tsdb.retention.time=100y",
		"--log.level=info",
	)
	client, err := api.NewClient(api.Config{Address: "http://" + p.address, Client: &http.Client{Timeout: 30 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	return &server{API: v1.NewAPI(client), process: p}
}

// scrapeConfig returns the bundled configuration, for a test.
func scrapeConfig(t *testing.T, rules string, targets []string) object {
	t.Helper()
	config := readYAML(t, bundledConfig)
	global := config["global"].(object)
	global["scrape_interval"] = scrapeInterval.String()
	global["evaluation_interval"] = "1s"
	absolute, err := filepath.Abs(rules)
	if err != nil {
		t.Fatal(err)
	}
	config["rule_files"] = []string{absolute}
	jobs := config["scrape_configs"].([]any)
	if len(jobs) != 1 {
		t.Fatalf("%s has %d jobs, want 1", bundledConfig, len(jobs))
	}
	scrape := jobs[0].(object)
	if scrape["job_name"] != job {
		t.Fatalf("%s scrapes the job %v, want %s", bundledConfig, scrape["job_name"], job)
	}
	scrape["scrape_interval"] = scrapeInterval.String()
	scrape["scrape_timeout"] = scrapeInterval.String()
	scrape["static_configs"] = []object{{"targets": targets}}
	return config
}

// object is a mapping of YAML.
type object = map[string]any

func readYAML(t *testing.T, path string) object {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var value object
	if err := yaml.Unmarshal(content, &value); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return value
}

func writeYAML(t *testing.T, path string, value any) {
	t.Helper()
	content, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// instant returns the result of a query at a time.
func (s *server) instant(ctx context.Context, query string, at time.Time) (model.Vector, error) {
	value, warnings, err := s.Query(ctx, query, at)
	if err != nil {
		return nil, fmt.Errorf("%s\n%w", query, err)
	}
	if len(warnings) > 0 {
		return nil, fmt.Errorf("%s\nwarns: %v", query, warnings)
	}
	switch result := value.(type) {
	case model.Vector:
		return result, nil
	case *model.Scalar:
		return model.Vector{{Metric: model.Metric{}, Value: result.Value, Timestamp: result.Timestamp}}, nil
	}
	return nil, fmt.Errorf("%s\nis a %v", query, value.Type())
}

// span returns the result of a query over a span. It starts at a multiple of step,
// as Grafana has it.
func (s *server) span(ctx context.Context, query string, from, to time.Time, step time.Duration) (model.Matrix, error) {
	value, warnings, err := s.QueryRange(ctx, query, v1.Range{Start: from.Truncate(step), End: to.Truncate(step), Step: step})
	if err != nil {
		return nil, fmt.Errorf("%s\n%w", query, err)
	}
	if len(warnings) > 0 {
		return nil, fmt.Errorf("%s\nwarns: %v", query, warnings)
	}
	return value.(model.Matrix), nil
}
