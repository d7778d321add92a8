package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/yannh/kubeconform/pkg/validator"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	helmlint "helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const chartDirectory = "../deploy/helm/chatwize-exporter"

// rendered returns the manifests of a release of the chart, with values in YAML.
func rendered(t *testing.T, release, values string) (contents [][]byte) {
	t.Helper()
	contents, err := render(t, release, values)
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

// render returns what the chart makes of values, or why it refuses them.
func render(t *testing.T, release, values string) (contents [][]byte, err error) {
	t.Helper()
	chart, err := loader.Load(chartDirectory)
	if err != nil {
		t.Fatal(err)
	}
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: "a"}
	all, err := chartutil.ToRenderValues(chart, given, options, chartutil.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	for name, content := range files {
		if strings.HasSuffix(name, ".yaml") && strings.TrimSpace(content) != "" {
			contents = append(contents, []byte(content))
		}
	}
	return contents, nil
}

func helm(t *testing.T, release, values string) (made manifests) {
	t.Helper()
	for _, content := range rendered(t, release, values) {
		if object := made.add(t, content); object.GetNamespace() != "a" || object.GetLabels()["app.kubernetes.io/instance"] != release {
			t.Errorf("%T %s is in the namespace %q and labelled %v", object, object.GetName(), object.GetNamespace(), object.GetLabels())
		}
	}
	return made
}

func openShiftValues(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(chartDirectory + "/values-openshift.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestHelmLint(t *testing.T) {
	t.Parallel()
	result := helmlint.All(chartDirectory, nil, "a", true)
	if result.HighestSeverity > support.InfoSev {
		t.Error(result.Messages)
	}
}

// The chart makes what the kustomization makes.
func TestHelm(t *testing.T) {
	t.Parallel()
	made, base := helm(t, "chatwize-exporter", ""), kustomize(t, "base")
	checkPod(t, made.deployment.Spec.Template)
	checkScrape(t, made)
	checkFiles(t, made)
	pod, want := made.deployment.Spec.Template.Spec, base.deployment.Spec.Template.Spec
	if made.deployment.Name != base.deployment.Name || made.service.Name != base.service.Name {
		t.Errorf("the names are %s and %s", made.deployment.Name, made.service.Name)
	}
	pod.Containers[0].ImagePullPolicy, pod.Containers[0].Args = "", nil // serve is the default
	if got, want := yamlOf(t, pod), yamlOf(t, want); got != want {
		t.Errorf("the pod is\n%s\nwant\n%s", got, want)
	}
}

func yamlOf(t *testing.T, object any) string {
	t.Helper()
	content, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestHelmValues(t *testing.T) {
	t.Parallel()
	another := helm(t, "another", "prometheusRule: {enabled: false}\ndashboard: {enabled: false}\n")
	checkScrape(t, another)
	checkApart(t, helm(t, "chatwize-exporter", ""), another)
	if another.rules.Name != "" || another.dashboard.Name != "" {
		t.Error("rules and dashboard cannot be left out")
	}

	openShift := helm(t, "x", openShiftValues(t)).deployment.Spec.Template
	if s := openShift.Spec.SecurityContext; s.RunAsUser != nil || s.RunAsGroup != nil || s.FSGroup != nil || !*s.RunAsNonRoot {
		t.Errorf("on OpenShift: %+v", s)
	}
	checkPod(t, openShift)

	demo := helm(t, "x", "demo: true\n").deployment.Spec.Template.Spec
	if optional := demo.Volumes[0].Secret.Optional; optional == nil || !*optional || demo.Containers[0].Args[0] != "demo" {
		t.Errorf("the demo is %+v", demo)
	}

	accounts := helm(t, "x", "accounts: true\n").deployment.Spec.Template.Spec.Containers[0]
	if v := accounts.Env[0]; v.Name != "CHATWIZE_CONFIG_FILE" || v.Value != accounts.VolumeMounts[0].MountPath+"/accounts.yml" ||
		slices.ContainsFunc(accounts.Env, func(v core.EnvVar) bool { return v.Name == "CHATWIZE_TOKEN_FILE" }) {
		t.Errorf("several accounts: the environment is %v", accounts.Env)
	}

	for _, values := range []string{"accounts: true\nurl: https://app.gpt-trainer.com", "accounts: true\nchatbots: [a]"} {
		if _, err := render(t, "x", values); err == nil || !strings.Contains(err.Error(), "remove the values url and chatbots, or accounts") {
			t.Errorf("%s: got %v", values, err)
		}
	}

	set := helm(t, "x", `
url: https://app.gpt-trainer.com
chatbots: [a=Shop, b]
env: [{name: CHATWIZE_CACHE_TTL, value: 50s}]
existingSecret: key
webConfigSecret: web
serviceMonitor: {scheme: https, labels: {release: prometheus}, basicAuth: {username: {name: web, key: user}}}
`)
	container := set.deployment.Spec.Template.Spec.Containers[0]
	variables := map[string]string{}
	for _, variable := range container.Env {
		variables[variable.Name] = variable.Value
	}
	if variables["CHATWIZE_URL"] != "https://app.gpt-trainer.com" || variables["CHATWIZE_CHATBOTS"] != "a=Shop\nb" || variables["CHATWIZE_CACHE_TTL"] != "50s" {
		t.Errorf("the environment is %v", variables)
	}
	// The kubelet cannot log in.
	if p := container.LivenessProbe; p.HTTPGet != nil || strings.Join(p.Exec.Command, " ") != "/bin/chatwize_exporter healthcheck" {
		t.Errorf("the probe is %+v", p)
	}
	mounts := map[string]string{}
	for _, mount := range container.VolumeMounts {
		mounts[mount.Name] = mount.MountPath
	}
	secrets := map[string]string{}
	for _, volume := range set.deployment.Spec.Template.Spec.Volumes {
		secrets[volume.Secret.SecretName] = mounts[volume.Name]
	}
	if variables["CHATWIZE_TOKEN_FILE"] != secrets["key"]+"/chatwize.key" || variables["CHATWIZE_WEB_CONFIG_FILE"] != secrets["web"]+"/web.yml" {
		t.Errorf("the environment is %v, the secrets are at %v", variables, secrets)
	}
	monitor := set.serviceMonitor
	if endpoint := monitor.Spec.Endpoints[0]; endpoint.Scheme.String() != "https" || endpoint.BasicAuth.Username.Key != "user" || monitor.Labels["release"] != "prometheus" {
		t.Errorf("the monitor is %+v", monitor)
	}
}

// kubernetes is the module with Kubernetes's API, of the version of k8s.io/api.
const kubernetes = "k8s.io/kubernetes@v1.37.2"

// Kubernetes accepts all manifests. Those of the operator are checked where they are decoded.
func TestKubernetesSchemas(t *testing.T) {
	t.Parallel()
	schemas := kubernetesSchemas(t, "Deployment", "Service", "ConfigMap")
	kubeconform, err := validator.New([]string{schemas + "/{{.ResourceKind}}.json"}, validator.Opts{
		Strict: true, SkipKinds: map[string]struct{}{"ServiceMonitor": {}, "PrometheusRule": {}, "ScrapeConfig": {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	valid := func(content []byte) (valid int, problems []error) {
		for _, result := range kubeconform.Validate("", io.NopCloser(bytes.NewReader(content))) {
			switch result.Status {
			case validator.Valid:
				valid++
			case validator.Invalid, validator.Error:
				problems = append(problems, result.Err)
			}
		}
		return valid, problems
	}
	all := map[string][][]byte{
		"chart": rendered(t, "x", ""), "chart for OpenShift": rendered(t, "x", openShiftValues(t)),
		"chart with TLS": rendered(t, "x", "webConfigSecret: web\n"), "chart of the demo": rendered(t, "x", "demo: true\n"),
		"chart of several accounts": rendered(t, "x", "accounts: true\n"),
	}
	for _, name := range []string{"base", "probe", "another", "openshift", "accounts"} {
		all[name] = kustomized(t, name)
	}
	for name, contents := range all {
		checked := 0
		for _, content := range contents {
			n, problems := valid(content)
			if checked += n; problems != nil {
				t.Errorf("%s: %v\n%s", name, problems, content)
			}
		}
		if checked < 2 {
			t.Errorf("%s: only %d manifests are checked", name, checked)
		}
	}
	for _, wrong := range []string{"spec: {replicas: one}", "spec: {selector: {}, template: {spec: {containers: [{}]}}}", "spek: {}"} {
		if _, problems := valid([]byte("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n" + wrong)); problems == nil {
			t.Errorf("nothing is wrong with %s", wrong)
		}
	}
}

// kubernetesSchemas writes the JSON schemas of some kinds to a folder.
func kubernetesSchemas(t *testing.T, kinds ...string) (folder string) {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", kubernetes).Output()
	if err != nil {
		t.Fatal(err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(output, &module); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(module.Dir, "api/openapi-spec/swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	var openAPI struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal(content, &openAPI); err != nil {
		t.Fatal(err)
	}
	for _, definition := range openAPI.Definitions {
		if _, open := definition["additionalProperties"]; definition["properties"] != nil && !open {
			definition["additionalProperties"] = false
		}
	}
	// OpenAPI 2 cannot say that there are two types.
	openAPI.Definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["type"] = []string{"integer", "string"}
	folder = t.TempDir()
	for _, kind := range kinds {
		name := "io.k8s.api.core.v1." + kind
		if kind == "Deployment" {
			name = "io.k8s.api.apps.v1." + kind
		}
		schema, err := json.Marshal(map[string]any{"$ref": "#/definitions/" + name, "definitions": openAPI.Definitions})
		if err != nil {
			t.Fatal(err)
		}
		// kubeconform writes kinds in lower case.
		if err := os.WriteFile(filepath.Join(folder, strings.ToLower(kind)+".json"), schema, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
