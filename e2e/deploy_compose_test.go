package e2e_test

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// compose returns the project of the compose file, as docker compose would
// understand it with these variables.
func compose(t *testing.T, environment ...string) *types.Project {
	t.Helper()
	return composeOf(t, []string{"../deploy/compose/compose.yaml"}, environment...)
}

func composeOf(t *testing.T, files []string, environment ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions(files, cli.WithEnv(environment))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// Two simulated accounts instead of one; all else is the same.
func TestComposeSeveralAccounts(t *testing.T) {
	t.Parallel()
	one := compose(t)
	several := composeOf(t, []string{"../deploy/compose/compose.yaml", "../deploy/compose/accounts.yaml"})
	if got := []string(several.Services["exporter"].Command); !slices.Equal(got, []string{"demo", "--accounts=2"}) {
		t.Errorf("the command is %q", got)
	}
	exporter := several.Services["exporter"]
	exporter.Command = one.Services["exporter"].Command
	several.Services["exporter"] = exporter
	if !reflect.DeepEqual(several.Services, one.Services) {
		t.Error("other settings differ, too")
	}
}

func TestComposeAccounts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		environment   []string
		command       string
		key, chatbots string
		url           string
	}{
		"simulated": {
			command: "demo", key: os.DevNull,
		},
		"real": {
			environment: []string{"CHATWIZE_COMMAND=serve", "CHATWIZE_KEY_FILE=/etc/chatwize.key"},
			command:     "serve", key: "/etc/chatwize.key",
		},
		"a sister brand": {
			environment: []string{"CHATWIZE_COMMAND=serve", "CHATWIZE_KEY_FILE=/etc/chatwize.key", "CHATWIZE_URL=https://app.gpt-trainer.com"},
			command:     "serve", key: "/etc/chatwize.key", url: "https://app.gpt-trainer.com",
		},
		"real, some chatbots": {
			environment: []string{"CHATWIZE_COMMAND=serve", "CHATWIZE_KEY_FILE=/etc/chatwize.key", "CHATWIZE_CHATBOTS=a=Shop,b"},
			command:     "serve", key: "/etc/chatwize.key", chatbots: "a=Shop,b",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			project := compose(t, test.environment...)
			service := project.Services["exporter"]
			if len(service.Command) != 1 || service.Command[0] != test.command {
				t.Errorf("the command is %q, want %q", service.Command, test.command)
			}
			if chatbots := *service.Environment["CHATWIZE_CHATBOTS"]; chatbots != test.chatbots {
				t.Errorf("the chatbots are %q, want %q", chatbots, test.chatbots)
			}
			if url := *service.Environment["CHATWIZE_URL"]; url != test.url {
				t.Errorf("the URL is %q, want %q", url, test.url)
			}
			secret := service.Secrets[0].Source
			if file := project.Secrets[secret].File; file != test.key {
				t.Errorf("the key file is %q, want %q", file, test.key)
			}
			if path := *service.Environment["CHATWIZE_TOKEN_FILE"]; path != "/run/secrets/"+secret {
				t.Errorf("the exporter reads its key from %s, but the secret is called %s", path, secret)
			}
		})
	}
}

func TestComposeFiles(t *testing.T) {
	t.Parallel()
	project := compose(t)
	for name, service := range project.Services {
		switch {
		case service.Build != nil:
			if _, err := os.Stat(filepath.Join(service.Build.Context, service.Build.Dockerfile)); err != nil {
				t.Errorf("%s cannot be built: %v", name, err)
			}
		case !strings.Contains(service.Image, ":") || strings.HasSuffix(service.Image, ":latest"):
			t.Errorf("the image of %s, %s, has no fixed version", name, service.Image)
		}
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			// Docker would make a directory of what is missing.
			if info, err := os.Stat(volume.Source); err != nil || !info.Mode().IsRegular() {
				t.Errorf("%s mounts %s, which is no file: %v", name, volume.Source, err)
			}
		}
	}
}

// mounted returns where a file is that a service of the project has at a path.
func mounted(t *testing.T, service types.ServiceConfig, path string) string {
	t.Helper()
	for _, volume := range service.Volumes {
		if volume.Target == path {
			return volume.Source
		}
	}
	t.Fatalf("%s has no %s", service.Name, path)
	return ""
}

// checkAddress complains unless a service of the project listens at an address.
func checkAddress(t *testing.T, project *types.Project, address string) {
	t.Helper()
	host, port, _ := strings.Cut(address, ":")
	ports := project.Services[host].Ports
	if len(ports) != 1 || fmt.Sprint(ports[0].Target) != port {
		t.Errorf("nothing listens at %s: services are %v", address, slices.Collect(maps.Keys(project.Services)))
	}
}

func TestComposePrometheus(t *testing.T) {
	t.Parallel()
	project := compose(t)
	service := project.Services["prometheus"]

	// The files, laid out as in the container.
	root := t.TempDir()
	for _, volume := range service.Volumes {
		if volume.Type == types.VolumeTypeBind {
			copyFile(t, volume.Source, filepath.Join(root, volume.Target))
		}
	}
	var path string
	for _, argument := range service.Command {
		if value, ok := strings.CutPrefix(argument, "--config.file="); ok {
			path = value
		}
	}
	checkWithPromtool(t, "", "check", "config", "--lint=all", "--lint-fatal", filepath.Join(root, path))

	// They are those of deploy/prometheus.yml, but for the target.
	config, bundled := readYAML(t, mounted(t, service, path)), readYAML(t, bundledConfig)
	target := config["scrape_configs"].([]any)[0].(object)["static_configs"].([]any)[0].(object)["targets"].([]any)
	checkAddress(t, project, target[0].(string))
	target[0] = "localhost:10113"
	if !reflect.DeepEqual(config, bundled) {
		t.Errorf("the configuration\n%v\ndiffers from that of deploy/prometheus.yml\n%v", config, bundled)
	}
}

func TestComposeGrafana(t *testing.T) {
	t.Parallel()
	project := compose(t)
	service := project.Services["grafana"]

	home := *service.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	dashboard := mounted(t, service, home)
	if want, _ := filepath.Abs("../dashboards/chatwize.json"); dashboard != want {
		t.Errorf("the home dashboard is %s, want %s", dashboard, want)
	}
	providers := readYAML(t, mounted(t, service, "/etc/grafana/provisioning/dashboards/chatwize.yml"))["providers"].([]any)
	if path := providers[0].(object)["options"].(object)["path"]; path != filepath.Dir(home) {
		t.Errorf("dashboards are provided from %s, and not from where %s is", path, home)
	}

	datasources := readYAML(t, mounted(t, service, "/etc/grafana/provisioning/datasources/chatwize.yml"))["datasources"].([]any)
	datasource := datasources[0].(object)
	if datasource["isDefault"] != true {
		t.Error("Prometheus is not the default datasource, so that the dashboard may choose another")
	}
	address, err := url.Parse(datasource["url"].(string))
	if err != nil {
		t.Fatal(err)
	}
	checkAddress(t, project, address.Host)
	scrape := readYAML(t, bundledConfig)["scrape_configs"].([]any)[0].(object)
	if interval := datasource["jsonData"].(object)["timeInterval"]; interval != scrape["scrape_interval"] {
		t.Errorf("Grafana is told that the scrape interval is %v, and it is %v", interval, scrape["scrape_interval"])
	}
}
