package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// healthcheck finds the exporter by the environment of the exporter, also with TLS, users and
// client certificates. It needs no key.
func TestHealthcheck(t *testing.T) {
	folder := t.TempDir()
	certificate, privateKey := selfSigned(t)
	const pair = "tls_server_config: {cert_file: cert.pem, key_file: key.pem"
	writeFiles(t, folder, map[string]string{"cert.pem": certificate, "key.pem": privateKey,
		"users.yml":  "basic_auth_users: {prometheus: $2a$04$5ohdgefSj7eyPqtYEK.p6.FMilz0iQwlC4ES3A7ktfUGLyQ60BlmO}\n" + pair + "}\n",
		"client.yml": pair + ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: cert.pem}\n",
	})
	for _, file := range []string{"", "users.yml", "client.yml"} {
		t.Run(file, func(t *testing.T) {
			var webConfig []string
			if file != "" {
				webConfig = []string{"CHATWIZE_WEB_CONFIG_FILE=" + filepath.Join(folder, file)}
			}
			e := start(t, webConfig, "demo")
			environment := append([]string{"CHATWIZE_URL=http://api.example", "CHATWIZE_WEB_LISTEN_ADDRESS=" + strings.TrimPrefix(e.url, "http://")}, webConfig...)
			if got := execute(t, environment, "healthcheck"); got != (result{}) {
				t.Errorf("got %+v", got)
			}
			e.stop()
			got := execute(t, environment, "healthcheck")
			if got.status != 1 || !strings.HasPrefix(got.stderr, "chatwize_exporter: error: healthcheck: the exporter does not answer: connect") {
				t.Errorf("after its end: got %+v", got)
			}
		})
	}
	for argument, want := range map[string]string{
		"--web.listen-address=vsock://:1": "there is no TCP address to ask; give --url",
		"--web.systemd-socket":            "systemd has the address; give --url",
		"--web.config.file=missing.yml":   "--web.config.file (CHATWIZE_WEB_CONFIG_FILE): the file cannot be read",
	} {
		got := execute(t, nil, "healthcheck", argument)
		if got.status != 1 || !strings.HasPrefix(got.stderr, "chatwize_exporter: error: healthcheck: "+want) {
			t.Errorf("%s: got %+v", argument, got)
		}
	}
}
