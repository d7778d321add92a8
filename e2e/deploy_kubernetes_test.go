package e2e_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringalpha "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	yamlv3 "go.yaml.in/yaml/v3"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	podsecurityapi "k8s.io/pod-security-admission/api"
	podsecurity "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// manifests are what a kustomization or a chart makes.
type manifests struct {
	deployment     apps.Deployment
	service        core.Service
	serviceMonitor monitoring.ServiceMonitor
	scrapeConfig   monitoringalpha.ScrapeConfig
	rules          monitoring.PrometheusRule
	dashboard      core.ConfigMap
}

// add decodes a manifest strictly: a field that Kubernetes or the operator does not know fails
// the test.
func (m *manifests) add(t *testing.T, content []byte) meta.Object {
	t.Helper()
	var kind meta.TypeMeta
	if err := yaml.Unmarshal(content, &kind); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]meta.Object{
		"apps/v1 Deployment": &m.deployment,
		"v1 Service":         &m.service,
		"v1 ConfigMap":       &m.dashboard,
		"monitoring.coreos.com/v1 ServiceMonitor":     &m.serviceMonitor,
		"monitoring.coreos.com/v1 PrometheusRule":     &m.rules,
		"monitoring.coreos.com/v1alpha1 ScrapeConfig": &m.scrapeConfig,
	}
	object, ok := kinds[kind.APIVersion+" "+kind.Kind]
	if !ok {
		t.Fatalf("what is a %s?\n%s", kind.Kind, content)
	}
	decode(t, content, object)
	return object
}

// kustomize builds a kustomization of deploy/kubernetes.
func kustomize(t *testing.T, name string) (made manifests) {
	t.Helper()
	for _, content := range kustomized(t, name) {
		object := made.add(t, content)
		if object.GetNamespace() != "monitoring" || object.GetLabels()["release"] != "kube-prometheus-stack" {
			t.Errorf("%T %s is in the namespace %q and labelled %v", object, object.GetName(), object.GetNamespace(), object.GetLabels())
		}
	}
	return made
}

// kustomized returns the manifests of a kustomization of deploy/kubernetes.
func kustomized(t *testing.T, name string) (contents [][]byte) {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../deploy/kubernetes/"+name)
	if err != nil {
		t.Fatal(err)
	}
	for _, resource := range resources.Resources() {
		content, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, content)
	}
	return contents
}

// decode decodes YAML as Kubernetes does with --validate=strict.
func decode(t *testing.T, content []byte, object any) {
	t.Helper()
	content, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := json.UnmarshalStrict(content, object)
	if err := errors.Join(append(unknown, err)...); err != nil {
		t.Errorf("%T: %v", object, err)
	}
}

// checkPod checks that a pod may run under the policy restricted, and has a fixed image.
func checkPod(t *testing.T, pod core.PodTemplateSpec) {
	t.Helper()
	container := pod.Spec.Containers[0]
	evaluator, err := podsecurity.NewEvaluator(podsecurity.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := podsecurityapi.LevelVersion{Level: podsecurityapi.LevelRestricted, Version: podsecurityapi.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
		if !result.Allowed {
			t.Errorf("Kubernetes's policy «restricted» forbids the pod: %s (%s)", result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
	if !*container.SecurityContext.ReadOnlyRootFilesystem || *pod.Spec.AutomountServiceAccountToken {
		t.Error("the pod has more than it needs")
	}

	if _, tag, _ := strings.Cut(container.Image, ":"); tag == "" || tag == "latest" {
		t.Errorf("the image %s has no fixed version", container.Image)
	}
}

func TestKubernetesDeployment(t *testing.T) {
	t.Parallel()
	made := kustomize(t, "base")
	pod := made.deployment.Spec.Template
	checkPod(t, pod)
	container := pod.Spec.Containers[0]
	var secret core.Secret
	content, err := os.ReadFile("../deploy/kubernetes/base/secret.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	decode(t, content, &secret)
	if name := pod.Spec.Volumes[0].Secret.SecretName; name != secret.Name || secret.Namespace != made.deployment.Namespace {
		t.Errorf("the key is in %s/%s, and the secret is %s/%s", made.deployment.Namespace, name, secret.Namespace, secret.Name)
	}
	file, ok := strings.CutPrefix(container.Env[0].Value, container.VolumeMounts[0].MountPath+"/")
	if _, exists := secret.StringData[file]; !ok || !exists {
		t.Errorf("%s is %s, which the secret does not hold", container.Env[0].Name, container.Env[0].Value)
	}
}

// selectsObject reports whether a selector selects an object with labels.
func selectsObject(t *testing.T, selector *meta.LabelSelector, object map[string]string) bool {
	t.Helper()
	s, err := meta.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return !s.Empty() && s.Matches(k8slabels.Set(object))
}

// checkScrape checks the way of a scrape: monitor, service, pod.
func checkScrape(t *testing.T, made manifests) {
	t.Helper()
	pod := made.deployment.Spec.Template
	if !selectsObject(t, made.deployment.Spec.Selector, pod.Labels) || !selectsObject(t, &meta.LabelSelector{MatchLabels: made.service.Spec.Selector}, pod.Labels) ||
		!selectsObject(t, &made.serviceMonitor.Spec.Selector, made.service.Labels) {
		t.Errorf("monitor %v, service %v or deployment %v select nothing", made.serviceMonitor.Spec.Selector, made.service.Spec.Selector, made.deployment.Spec.Selector)
	}
	endpoint, port, containerPort := made.serviceMonitor.Spec.Endpoints[0], made.service.Spec.Ports[0], pod.Spec.Containers[0].Ports[0]
	if endpoint.Port != port.Name || port.TargetPort.StrVal != containerPort.Name || containerPort.ContainerPort != 10113 {
		t.Errorf("the monitor scrapes the port %s, the service takes %s to %s, and the pod has %s, %d",
			endpoint.Port, port.Name, port.TargetPort.StrVal, containerPort.Name, containerPort.ContainerPort)
	}
	scraped := relabelled(t, operatorConfigs(t, endpoint.RelabelConfigs), labels.FromStrings("__address__", "10.0.0.1:10113", "job", port.Name,
		"__meta_kubernetes_namespace", "a", "__meta_kubernetes_service_name", "b"))
	if scraped.Get("job") != job {
		t.Errorf("the job is %s, want %s", scraped.Get("job"), job)
	}
	// A rollout changes the address of the pod, and must not change the shard.
	if shard := scraped.Get("__tmp_hash"); shard != "a;b" {
		t.Errorf("the operator shards by %q, want the service", shard)
	}
}

func TestKubernetesScrape(t *testing.T) {
	t.Parallel()
	checkScrape(t, kustomize(t, "base"))
}

// Another exporter shares no name and no pod with the first, and has another secret.
func TestKubernetesAnother(t *testing.T) {
	t.Parallel()
	first, second := kustomize(t, "base"), kustomize(t, "another")
	checkScrape(t, second)
	checkApart(t, first, second)
	if second.rules.Name != "" || second.dashboard.Name != "" {
		t.Error("there are two of the rules or the dashboard")
	}
}

// checkApart checks that two exporters do not collide in a namespace.
func checkApart(t *testing.T, first, second manifests) {
	t.Helper()
	if first.deployment.Name == second.deployment.Name || first.service.Name == second.service.Name || first.serviceMonitor.Name == second.serviceMonitor.Name {
		t.Errorf("they share a name: %s and %s", first.deployment.Name, second.deployment.Name)
	}
	pod := first.deployment.Spec.Template
	if selectsObject(t, second.deployment.Spec.Selector, pod.Labels) || selectsObject(t, &meta.LabelSelector{MatchLabels: second.service.Spec.Selector}, pod.Labels) ||
		selectsObject(t, &second.serviceMonitor.Spec.Selector, first.service.Labels) {
		t.Error("the second selects what is of the first")
	}
	if pod.Spec.Volumes[0].Secret.SecretName == second.deployment.Spec.Template.Spec.Volumes[0].Secret.SecretName {
		t.Error("they share a key")
	}
}

// OpenShift chooses the user. All else is as in the base.
func TestKubernetesOpenShift(t *testing.T) {
	t.Parallel()
	base, made := kustomize(t, "base"), kustomize(t, "openshift")
	security := base.deployment.Spec.Template.Spec.SecurityContext
	security.RunAsUser, security.RunAsGroup, security.FSGroup = nil, nil, nil
	if !reflect.DeepEqual(made, base) {
		t.Errorf("the manifests differ:\n%+v\n%+v", made, base)
	}
}

// The accounts are in a ConfigMap, their keys in the secret, and the exporter finds both.
func TestKubernetesAccounts(t *testing.T) {
	t.Parallel()
	var deployment apps.Deployment
	var accounts core.ConfigMap
	for _, content := range kustomized(t, "accounts") {
		switch {
		case strings.Contains(string(content), "kind: Deployment"):
			decode(t, content, &deployment)
		case strings.Contains(string(content), "accounts.yml: |"):
			decode(t, content, &accounts)
		}
	}
	pod := deployment.Spec.Template.Spec
	environment, folders := map[string]string{}, map[string]string{}
	for _, variable := range pod.Containers[0].Env {
		environment[variable.Name] = variable.Value
	}
	for _, mount := range pod.Containers[0].VolumeMounts {
		folders[mount.Name] = mount.MountPath
	}
	for _, volume := range pod.Volumes {
		if volume.ConfigMap != nil && volume.ConfigMap.Name != accounts.Name {
			t.Errorf("the volume is %s, the ConfigMap %s", volume.ConfigMap.Name, accounts.Name)
		}
	}
	if _, given := environment["CHATWIZE_TOKEN_FILE"]; given || environment["CHATWIZE_CONFIG_FILE"] != folders["accounts"]+"/accounts.yml" {
		t.Errorf("the environment is %v, the folders are %v", environment, folders)
	}
	// The same file, with keys in another folder, is accepted.
	folder := t.TempDir()
	for _, name := range []string{"acme", "bolt"} {
		if err := os.WriteFile(filepath.Join(folder, name+".key"), []byte("key-of-"+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Count(accounts.Data["accounts.yml"], folders["key"]+"/") != 2 {
		t.Errorf("not all keys are in %s:\n%s", folders["key"], accounts.Data["accounts.yml"])
	}
	file := filepath.Join(folder, "accounts.yml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(accounts.Data["accounts.yml"], folders["key"], folder)), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(t.Context(), exporter, "--config.file="+file, "--config.check").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

func TestKubernetesProbe(t *testing.T) {
	t.Parallel()
	base, made := kustomize(t, "base"), kustomize(t, "probe")
	address := made.service.Name + "." + made.service.Namespace + ".svc:10113"

	scrape := made.scrapeConfig.Spec
	if want := "http://" + address + "/sd"; len(scrape.HTTPSDConfigs) != 1 || string(scrape.HTTPSDConfigs[0].URL) != want {
		t.Errorf("chatbots are discovered at %v, want %s", scrape.HTTPSDConfigs, want)
	}
	if *scrape.MetricsPath != "/probe" || *scrape.JobName != job {
		t.Errorf("the path is %s, the job %s", *scrape.MetricsPath, *scrape.JobName)
	}
	// The target is the one that prometheus-probe.yml makes, but for the address.
	job := readYAML(t, probeConfig)["scrape_configs"].([]any)[0].(object)
	if *scrape.HonorLabels != job["honor_labels"] {
		t.Errorf("labels are honoured: %t, want %t", *scrape.HonorLabels, job["honor_labels"])
	}
	var bundled []*relabel.Config
	content, err := yaml.Marshal(job["relabel_configs"])
	if err != nil {
		t.Fatal(err)
	}
	if err := yamlv3.Unmarshal(bytes.ReplaceAll(content, []byte("localhost:10113"), []byte(address)), &bundled); err != nil {
		t.Fatal(err)
	}
	const chatbot = "7f5e5376dbf045cd8c72c60f428653d1"
	discovered := labels.FromStrings("__address__", chatbot, "__meta_chatwize_chatbot_name", "Shop")
	target := relabelled(t, operatorConfigs(t, scrape.RelabelConfigs), discovered)
	if shard := target.Get("__tmp_hash"); shard != chatbot {
		t.Errorf("the operator shards by %q, want the chatbot", shard)
	}
	if want := relabelled(t, bundled, discovered); !labels.Equal(visible(target), visible(want)) {
		t.Errorf("the target is %s, want %s", target, want)
	}

	// All else is as in the base, but for one variable.
	container := &made.deployment.Spec.Template.Spec.Containers[0]
	probeOnly := core.EnvVar{Name: "CHATWIZE_PROBE_ONLY", Value: "true"}
	var others []core.EnvVar
	for _, variable := range container.Env {
		if variable != probeOnly {
			others = append(others, variable)
		}
	}
	if len(others) != len(container.Env)-1 {
		t.Errorf("%v is not among %v", probeOnly, container.Env)
	}
	container.Env, made.scrapeConfig = others, base.scrapeConfig
	if !reflect.DeepEqual(made, base) {
		t.Errorf("the manifests differ:\n%+v\n%+v", made, base)
	}
}

// Rules and dashboard are those of their directories: else run make manifests.
func TestKubernetesGenerated(t *testing.T) {
	t.Parallel()
	checkFiles(t, kustomize(t, "base"))
}

// checkFiles checks that rules and dashboard are those of their directories.
func checkFiles(t *testing.T, made manifests) {
	t.Helper()
	dashboard, err := os.ReadFile("../dashboards/chatwize.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(made.dashboard.Data) != 1 || made.dashboard.Data["chatwize.json"] != string(dashboard) {
		t.Error("the dashboard is not that of dashboards/")
	}
	if made.dashboard.Labels["grafana_dashboard"] != "1" {
		t.Errorf("Grafana's sidecar passes over the labels %v", made.dashboard.Labels)
	}
	// Flux fails to substitute what Grafana's variables are.
	if made.dashboard.Annotations["kustomize.toolkit.fluxcd.io/substitute"] != "disabled" {
		t.Errorf("Flux changes the dashboard with the annotations %v", made.dashboard.Annotations)
	}

	content, err := os.ReadFile(bundledRules)
	if err != nil {
		t.Fatal(err)
	}
	var rules monitoring.PrometheusRuleSpec
	decode(t, content, &rules)
	if len(rules.Groups) == 0 || !reflect.DeepEqual(made.rules.Spec, rules) {
		t.Error("the rules are not those of alerts/")
	}
}

// relabelled returns what Prometheus makes of a target.
func relabelled(t *testing.T, configs []*relabel.Config, target labels.Labels) labels.Labels {
	t.Helper()
	builder := labels.NewBuilder(target)
	for _, config := range configs {
		config.NameValidationScheme = model.UTF8Validation
		if !relabel.ProcessBuilder(builder, config) {
			t.Fatalf("%+v drops %s", config, target)
		}
	}
	return builder.Labels()
}

// visible returns a target without what only later relabelling could see.
func visible(target labels.Labels) labels.Labels {
	builder := labels.NewBuilder(target)
	target.Range(func(label labels.Label) {
		if strings.HasPrefix(label.Name, model.MetaLabelPrefix) || strings.HasPrefix(label.Name, model.TmpLabelPrefix) {
			builder.Del(label.Name)
		}
	})
	return builder.Labels()
}

// operatorConfigs returns what the operator makes of its relabellings.
func operatorConfigs(t *testing.T, configs []monitoring.RelabelConfig) []*relabel.Config {
	t.Helper()
	var made []*relabel.Config
	for _, config := range configs {
		if config.Action != "" || config.Regex != "" || config.Separator != nil || config.Modulus != 0 {
			t.Fatalf("this test does not know all of %+v", config)
		}
		step := relabel.DefaultRelabelConfig
		step.TargetLabel = config.TargetLabel
		if config.Replacement != nil {
			step.Replacement = *config.Replacement
		}
		for _, source := range config.SourceLabels {
			step.SourceLabels = append(step.SourceLabels, model.LabelName(source))
		}
		made = append(made, &step)
	}
	return made
}
