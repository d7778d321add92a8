package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeFiles writes files into a folder.
func writeFiles(t *testing.T, folder string, contents map[string]string) {
	t.Helper()
	for name, content := range contents {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A web configuration that cannot be used is an error at start, in one line that quotes
// no value of it.
func TestWrongWebConfig(t *testing.T) {
	folder := t.TempDir()
	certificate, privateKey := selfSigned(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey := pemOf(t, tls.Certificate{PrivateKey: other})
	missing := "cannot be read: " + readError(t, filepath.Join(folder, "missing"))
	writeFiles(t, folder, map[string]string{"cert.pem": certificate, "key.pem": privateKey, "other.pem": otherKey, "empty.pem": ""})
	const pair = "tls_server_config: {cert_file: cert.pem, key_file: key.pem, "
	tests := map[string]struct{ content, want string }{
		"of another program":  {"global: {}\nscrape_configs: []\n", "line 1 has an unknown field global, line 2 has an unknown field scrape_configs"},
		"the key":             {key + "\n", "line 1 has a value of the wrong type (check the indentation, and the space after the colon)"},
		"a short key":         {"Abc\n", "line 1 has a value of the wrong type (check the indentation, and the space after the colon)"},
		"the key as a field":  {key + ": x\n", "line 1 has an unknown field"},
		"the key, deeper":     {"tls_server_config:\n  " + key + ": x\n", "line 2 has an unknown field"},
		"the key as a value":  {"tls_server_config: " + key + "\n", "line 1 has a value of the wrong type (check the indentation, and the space after the colon)"},
		"the key as a list":   {"http_server_config: [" + key + "]\n", "line 1 has a value of the wrong type (check the indentation, and the space after the colon)"},
		"the key as a number": {"rate_limit: {burst: " + key + "}\n", "line 1 has a value of the wrong type (check the indentation, and the space after the colon)"},
		"given twice":         {"basic_auth_users:\n  " + key + ": a\n  " + key + ": b\n", "line 3 has a field that was given before"},
		"no YAML":             {"a: b: " + key + "\n", "is not YAML"},
		"no YAML, further":    {"tls_server_config:\n  - " + key + "\n  x: [\n", "line 2 cannot be understood (check the indentation of this line and those around it; YAML has no tabs)"},
		"an alias":            {"*" + key + "\n", "is not YAML"},
		"a control character": {key + "\x01\n", "is not YAML"},
		"no hash":             {"basic_auth_users: {prometheus: " + key + "}\n", "a password in basic_auth_users is not a bcrypt hash"},
		"a hash cut short":    {"basic_auth_users: {prometheus: $2a$10$" + key + "}\n", "a password in basic_auth_users is not a bcrypt hash"},
		"no cost":             {"basic_auth_users: {prometheus: $2a$" + key + strings.Repeat("x", 60) + "}\n", "is not a web configuration"},
		"a header":            {"http_server_config: {headers: {" + key + ": x}}\n", "it has an HTTP header that cannot be configured"},
		"a header's value":    {"http_server_config: {headers: {X-Frame-Options: " + key + "}}\n", `invalid value for X-Frame-Options. Expected one of: ["deny" "sameorigin"]`},
		"no certificate":      {"tls_server_config: {key_file: " + key + "}\n", "missing one of cert or cert_file"},
		"no private key":      {"tls_server_config: {cert_file: " + key + "}\n", "missing one of key or key_file"},
		"another's cert":      {"tls_server_config: {cert_file: " + key + ", key_file: x}\n", "its cert_file " + missing},
		"another's key":       {"tls_server_config: {cert_file: cert.pem, key_file: " + key + "}\n", "its key_file " + missing},
		"another key":         {"tls_server_config: {cert_file: cert.pem, key_file: other.pem}\n", "its certificate and key cannot be used: tls: private key type does not match public key type"},
		"empty certificate":   {"tls_server_config: {cert_file: empty.pem, key_file: key.pem}\n", "its certificate and key cannot be used: tls: failed to find any PEM data in certificate input"},
		"the key as PEM":      {"tls_server_config: {cert_file: cert.pem, key: " + key + "}\n", "its certificate and key cannot be used: tls: failed to find any PEM data in key input"},
		"a missing CA":        {pair + "client_auth_type: RequireAndVerifyClientCert, client_ca_file: " + key + "}\n", "it, or a file that it names, " + missing},
		"an unused CA":        {pair + "client_ca: " + key + "}\n", "client CA's have been configured without a Client Auth Policy"},
		"a client auth type":  {pair + "client_auth_type: " + key + "}\n", "invalid ClientAuth"},
		"a cipher":            {pair + "cipher_suites: [" + key + "]}\n", "unknown cipher"},
		"a curve":             {pair + "curve_preferences: [" + key + "]}\n", "unknown curve"},
		"a version":           {pair + "min_version: " + key + "}\n", "unknown TLS version"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(folder, "web.yml")
			writeFiles(t, folder, map[string]string{"web.yml": test.content})
			got := execute(t, nil, "demo", "--web.config.file="+file)
			wantOneLine(t, got, test.want)
			wantNothingOf(t, got.stderr, key, test.want)
		})
	}
	t.Run("missing", func(t *testing.T) {
		got := execute(t, nil, "demo", "--web.config.file="+filepath.Join(folder, key))
		wantOneLine(t, got, "the file "+missing)
		wantNothingOf(t, got.stderr, key, "")
	})
	t.Run("a folder", func(t *testing.T) {
		wantOneLine(t, execute(t, nil, "demo", "--web.config.file="+folder), "the file cannot be read: "+readError(t, folder))
	})
}

// The API key in a header would be sent to every client.
func TestKeyInHeader(t *testing.T) {
	folder := t.TempDir()
	writeFiles(t, folder, map[string]string{"web.yml": "http_server_config: {headers: {Content-Security-Policy: " + key + "}}\n"})
	got := execute(t, []string{"CHATWIZE_TOKEN=" + key}, "--config.check", "--web.config.file="+filepath.Join(folder, "web.yml"))
	wantOneLine(t, got, "it has the API key in an HTTP header, which every client would get")
}

// readError returns why a file cannot be read, as this system says it.
func readError(t *testing.T, file string) string {
	t.Helper()
	_, err := os.ReadFile(file)
	var pathError *fs.PathError
	if !errors.As(err, &pathError) {
		t.Fatal(err)
	}
	return pathError.Err.Error()
}

func wantOneLine(t *testing.T, got result, problem string) {
	t.Helper()
	if want := "chatwize_exporter: error: --web.config.file (CHATWIZE_WEB_CONFIG_FILE): " + problem + "; fix that file or remove the setting\n"; got != (result{"", want, 1}) {
		t.Errorf("got %+v, want %s", got, want)
	}
}

// wantNothingOf checks that text holds no four characters of secret that allowed has not.
func wantNothingOf(t *testing.T, text, secret, allowed string) {
	t.Helper()
	for i := range len(secret) - 3 {
		part := secret[i : i+4]
		if strings.Trim(part, "0123456789") == "" {
			continue // a time or a port may have the same digits
		}
		if strings.Contains(text, part) && !strings.Contains(allowed, part) {
			t.Errorf("%q of the key is in %s", part, text)
		}
	}
}

// A web configuration that lets everyone read is warned of.
func TestOpenWebConfig(t *testing.T) {
	folder := t.TempDir()
	certificate, privateKey := selfSigned(t)
	writeFiles(t, folder, map[string]string{"cert.pem": certificate, "key.pem": privateKey})
	const (
		none  = ` msg="The web configuration has no users and no TLS: everyone who can connect can read the metrics" hint="write basic_auth_users or tls_server_config into the file"`
		empty = ` msg="The name of the web configuration file is empty: everyone who can connect can read the metrics" hint="name a file, or do not set it"`
	)
	tests := map[string]struct {
		content   string
		arguments []string
		want      string
	}{
		"empty":          {"", nil, none},
		"a comment":      {"# later\n", nil, none},
		"no user":        {"basic_auth_users:\ntls_server_config: {}\n", nil, none},
		"something else": {"http_server_config: {http2: true}\n", nil, none},
		"a user":         {"basic_auth_users: {prometheus: $2a$04$5ohdgefSj7eyPqtYEK.p6.FMilz0iQwlC4ES3A7ktfUGLyQ60BlmO}\n", nil, ""},
		"TLS":            {"tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n", nil, ""},
		"an empty name":  {"", []string{"--web.config.file="}, empty},
		"no name":        {"", []string{}, ""},
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			writeFiles(t, folder, map[string]string{"web.yml": test.content})
			arguments := []string{"--web.config.file=" + filepath.Join(folder, "web.yml")}
			if test.arguments != nil {
				arguments = test.arguments
			}
			got := executeUntil(ended, t, nil, append([]string{"demo", "--web.listen-address=127.0.0.1:0"}, arguments...)...)
			want := 0
			if test.want != "" {
				want = 1
			}
			if got.status != 0 || strings.Count(got.stderr, "level=warn") != want || !strings.Contains(got.stderr, test.want) {
				t.Errorf("got %+v, want %s", got, test.want)
			}
		})
	}
}

// A web configuration that becomes wrong while it is in use is logged without its values.
func TestWebConfigBecomesWrong(t *testing.T) {
	folder := t.TempDir()
	certificate, privateKey := selfSigned(t)
	writeFiles(t, folder, map[string]string{"cert.pem": certificate, "key.pem": privateKey,
		"plain.yml": "http_server_config: {http2: true}\n", "tls.yml": "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"})
	plain := start(t, nil, "demo", "--web.config.file="+filepath.Join(folder, "plain.yml"))
	overTLS := start(t, nil, "demo", "--web.config.file="+filepath.Join(folder, "tls.yml"))
	plain.log.waitFor(t, "TLS is disabled")
	overTLS.log.waitFor(t, "TLS is enabled")
	writeFiles(t, folder, map[string]string{"plain.yml": key + "\n", "tls.yml": key + "\n"})
	defer http.DefaultClient.CloseIdleConnections()

	response, err := http.Get(plain.url + "/metrics")
	if err != nil || response.StatusCode != http.StatusInternalServerError {
		t.Fatal(response, err)
	}
	_ = response.Body.Close()
	plain.log.waitFor(t, `level=error `, `msg="Unable to parse configuration" err="line 1 has a value of the wrong type (check the indentation, and the space after the colon)"`)

	if connection, err := tls.Dial("tcp", strings.TrimPrefix(overTLS.url, "http://"), &tls.Config{InsecureSkipVerify: true}); err == nil {
		_ = connection.Close()
		t.Error("there is TLS")
	}
	overTLS.log.waitFor(t, `level=warn `, `msg="http: TLS handshake error from 127.0.0.1:`, `: the web configuration: line 1 has a value of the wrong type (check the indentation, and the space after the colon)"`)
	wantNothingOf(t, plain.log.String()+overTLS.log.String(), key, "")
}

// selfSigned returns a certificate and its private key in PEM.
func selfSigned(t *testing.T) (certificate, privateKey string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	return pemOf(t, server.TLS.Certificates[0])
}

// pemOf returns a certificate, if there is one, and its private key in PEM.
func pemOf(t *testing.T, pair tls.Certificate) (certificate, privateKey string) {
	t.Helper()
	bytes, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, der := range pair.Certificate {
		certificate += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return certificate, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes}))
}
