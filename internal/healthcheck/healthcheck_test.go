package healthcheck_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/internal/healthcheck"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBaseURL(t *testing.T) {
	const (
		noTCP  = "there is no TCP address to ask; give --url"
		noPort = "the port is not known; give --url"
	)
	for listen, want := range map[string]string{
		":10113":                "http://localhost:10113",
		"0.0.0.0:1":             "http://localhost:1",
		"[::]:1":                "http://localhost:1",
		"[::ffff:0.0.0.0]:1":    "http://localhost:1",
		"127.0.0.2:1":           "http://127.0.0.2:1",
		"[::1]:1":               "http://[::1]:1",
		"[fe80::1%eth0]:1":      "http://[fe80::1%25eth0]:1",
		"exporter.example:http": "http://exporter.example:80",
		"vsock://:1":            noTCP,
		":0":                    noPort,
	} {
		got, err := healthcheck.BaseURL(listen, false)
		if err != nil {
			got = err.Error()
		} else if healthcheck.CheckURL(got) != nil {
			t.Errorf("%s is no URL", got)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", listen, got, want)
		}
	}
	if got, err := healthcheck.BaseURL(":1", true); got != "https://localhost:1" || err != nil {
		t.Errorf("with TLS: got %s, %v", got, err)
	}
}

func TestCheckURL(t *testing.T) {
	for _, wrong := range []string{"localhost:1", "ftp://localhost", "http://", "http://localhost?x=1", "http://localhost?", "http://localhost#x"} {
		if healthcheck.CheckURL(wrong) == nil {
			t.Errorf("%s is accepted", wrong)
		}
	}
}

func TestRun(t *testing.T) {
	status := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/-/healthy" && r.URL.Path != "/prefix/-/healthy" {
				status = http.StatusInternalServerError
			}
			w.Header().Set("Location", "http://127.0.0.1:1/") // for 302
			w.WriteHeader(status)
		}
	}
	withTLS := func(config *tls.Config) *httptest.Server {
		server := httptest.NewUnstartedServer(status(200))
		server.Config.ErrorLog = nil
		server.TLS = config
		server.StartTLS()
		return server
	}
	tests := map[string]struct {
		server *httptest.Server
		path   string // after the URL of the server
		want   string // the error
	}{
		"200":                   {server: httptest.NewServer(status(200))},
		"401":                   {server: httptest.NewServer(status(401))},
		"302":                   {server: httptest.NewServer(status(302))},
		"404":                   {server: httptest.NewServer(status(404))},
		"500":                   {server: httptest.NewServer(status(500)), want: "the exporter answered 500 Internal Server Error"},
		"503":                   {server: httptest.NewServer(status(503)), want: "the exporter answered 503 Service Unavailable"},
		"a slash":               {server: httptest.NewServer(status(200)), path: "/"},
		"the whole path":        {server: httptest.NewServer(status(200)), path: "/-/healthy"},
		"a prefix":              {server: httptest.NewServer(status(200)), path: "/prefix"},
		"TLS":                   {server: withTLS(nil)},
		"old TLS":               {server: withTLS(&tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})},
		"client certificate":    {server: withTLS(&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert})},
		"the same with TLS 1.2": {server: withTLS(&tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12})},
		"optional certificate":  {server: withTLS(&tls.Config{ClientAuth: tls.RequestClientCert})},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			defer test.server.Close()
			err := healthcheck.Command{URL: test.server.URL + test.path}.Run(t.Context())
			if got := errorText(err); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// localhost is this machine, over IPv4 or IPv6.
func TestRunLocalhost(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("not tried: %v", err) // there may be no IPv6
			continue
		}
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Listener.Close()
		server.Listener = listener
		server.Start()
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		if err := (healthcheck.Command{URL: "http://localhost:" + port}).Run(t.Context()); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		server.Close()
	}
}

// What does not answer is not healthy, and is not quoted.
func TestRunFails(t *testing.T) {
	noHTTP, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer noHTTP.Close()
	go func() {
		for {
			connection, err := noHTTP.Accept()
			if err != nil {
				return
			}
			connection.Write([]byte("Key-0815\n"))
			connection.Close()
		}
	}()
	for url, want := range map[string]string{
		"http://127.0.0.1:1":                "connect",
		"http://Key-0815.invalid":           "the host is not known",
		"http://" + noHTTP.Addr().String():  "the connection failed, or the answer is not HTTP",
		"https://" + noHTTP.Addr().String(): "the connection failed, or the answer is not HTTP",
	} {
		got := errorText(healthcheck.Command{URL: url}.Run(t.Context()))
		if !strings.HasPrefix(got, "the exporter does not answer: ") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
