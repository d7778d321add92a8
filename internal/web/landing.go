package web

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/prometheus/common/version"
)

//go:embed landing.html
var landingTemplate string

// landingLink is a link on the landing page.
type landingLink struct{ Address, Text, Description string }

// newLandingPage returns the page that links to the others. Its links are relative, so
// that they also work behind a proxy that adds a path prefix. named is whether accounts have
// names.
func newLandingPage(options Options, named bool) (http.Handler, error) {
	page, err := template.New("").Parse(landingTemplate)
	if err != nil {
		return nil, err
	}
	metrics := "of all chatbots and of the exporter"
	if options.ProbeOnly {
		metrics = "of the exporter"
	}
	probe := "metrics of one chatbot, whose UUID is the parameter target"
	if named {
		probe = "metrics of one account, whose name is the parameter account, or of one chatbot, whose UUID is the parameter target"
	}
	content := struct {
		Version string
		Links   []landingLink
	}{version.Info(), []landingLink{
		{relative(options.TelemetryPath), "Metrics", metrics},
		{relative(discoveryPath), "Service discovery", "all chatbots, for http_sd_configs of Prometheus"},
		{relative(probePath), "Probe", probe},
		{relative(healthyPath), "Healthy", "whether the process serves"},
		{relative(readyPath), "Ready", "whether the process serves"},
	}}
	recorded := &response{header: http.Header{"Content-Type": {"text/html; charset=UTF-8"}}, status: http.StatusOK, body: new(bytes.Buffer)}
	if err := page.Execute(recorded, content); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { recorded.send(w) }), nil
}

// relative returns the address of a path, relative to the landing page.
func relative(path string) string {
	return (&url.URL{Path: strings.TrimPrefix(path, "/")}).String()
}
