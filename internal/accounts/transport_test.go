package accounts

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/common/config"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// An account's own TLS and proxy change nothing else of the transport.
func TestTransportKeepsLimits(t *testing.T) {
	proxy, err := url.Parse("http://proxy.example:3128")
	if err != nil {
		t.Fatal(err)
	}
	own := Config{
		URL: &url.URL{}, KeyFile: "acme.key", Concurrency: 7, TLS: TLS{ServerName: "x"},
		Proxy: &Proxy{ProxyURL: config.URL{URL: proxy}, ProxyConnectHeader: config.ProxyHeader{"X-Tenant": {"acme"}}},
	}
	transport, err := newTransport(t.Context(), own)
	if err != nil {
		t.Fatal(err)
	}
	got, want := transport.(client.Transport), client.NewTransport(7)
	request := httptest.NewRequest(http.MethodGet, "https://api.example", nil)
	if through, err := got.Proxy(request); err != nil || through.Host != proxy.Host || got.ProxyConnectHeader.Get("X-Tenant") != "acme" || got.TLSClientConfig.ServerName != "x" {
		t.Errorf("the proxy is %v, %v", through, err)
	}
	if got.MaxIdleConns != want.MaxIdleConns || got.MaxIdleConnsPerHost != 7 || got.IdleConnTimeout != want.IdleConnTimeout ||
		got.MaxResponseHeaderBytes != want.MaxResponseHeaderBytes || !reflect.DeepEqual(got.HTTP2, want.HTTP2) ||
		got.ForceAttemptHTTP2 != want.ForceAttemptHTTP2 || got.OnProxyConnectResponse == nil {
		t.Errorf("got %+v, want %+v", got.Transport, want.Transport)
	}
	reloaded := own
	reloaded.Proxy = &Proxy{ProxyURL: own.Proxy.ProxyURL, ProxyConnectHeader: own.Proxy.ProxyConnectHeader}
	if !own.sameOrigin(reloaded) {
		t.Error("a proxy that was used is not that of the same file")
	}
}

// The proxies of the environment are used unless the file names one, or none.
func TestProxyOfEnvironment(t *testing.T) {
	for name, test := range map[string]struct {
		proxy           *Proxy
		fromEnvironment bool
	}{"nothing is given": {nil, true}, "an empty one": {&Proxy{}, false}} {
		transport, err := newTransport(t.Context(), Config{Concurrency: 1, Proxy: test.proxy})
		if err != nil {
			t.Fatal(err)
		}
		proxy := transport.(client.Transport).Proxy
		if got := reflect.ValueOf(proxy).Pointer() == reflect.ValueOf(http.ProxyFromEnvironment).Pointer(); got != test.fromEnvironment {
			t.Errorf("%s: from the environment: %t", name, got)
		}
	}
}

// A private authority is trusted by HTTP/2, also after its file changed. Without its file the
// fetch fails, and says so.
func TestAuthority(t *testing.T) {
	newServer := func() *httptest.Server {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 {
				t.Errorf("got %s", r.Proto)
			}
			_, _ = io.WriteString(w, "[{}]")
		}))
		server.EnableHTTP2 = true
		server.StartTLS()
		t.Cleanup(server.Close)
		return server
	}
	server := newServer()
	file := filepath.Join(t.TempDir(), "ca.pem")
	write := func(certificate []byte) {
		t.Helper()
		if err := os.WriteFile(file, certificate, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	right := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	write([]byte(wrongAuthority))
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	account, err := New(Config{
		URL: address, Key: InlineKey("key-0815"), Concurrency: 1, Timeout: 10 * time.Second, TLS: TLS{CAFile: file},
	}, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer account.state.remove()
	fetch := func(want string) {
		t.Helper()
		got := "it works"
		if result := account.Source.FetchAll(t.Context(), []client.Chatbot{{UUID: "7f5e5376dbf045cd8c72c60f428653d1"}})[0]; result.Err != nil {
			got = result.Err.Error()
		}
		if !strings.Contains(got, want) || strings.Contains(got, file) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	fetch("unknown authority")
	write(right)
	fetch("it works")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	fetch("a file for TLS cannot be read: ")
	write(right)
	fetch("it works")
}

// The certificate of this side is that of its files, also after they changed.
func TestClientCertificate(t *testing.T) {
	var shown atomic.Pointer[string]
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Store(&r.TLS.PeerCertificates[0].Subject.CommonName)
		_, _ = io.WriteString(w, "[{}]")
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	folder := t.TempDir()
	certificateFile, keyFile := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	write := func(name string) {
		t.Helper()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
		certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for file, block := range map[string]*pem.Block{certificateFile: {Type: "CERTIFICATE", Bytes: certificate}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
			if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("first")
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	account, err := New(Config{
		URL: address, Key: InlineKey("key-0815"), Concurrency: 1, Timeout: 10 * time.Second,
		TLS: TLS{CertFile: certificateFile, KeyFile: keyFile, InsecureSkipVerify: true},
	}, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer account.state.remove()
	for _, name := range []string{"first", "second"} {
		write(name)
		result := account.Source.FetchAll(t.Context(), []client.Chatbot{{UUID: "7f5e5376dbf045cd8c72c60f428653d1"}})[0]
		if result.Err != nil || *shown.Load() != name {
			t.Errorf("got %v, want %s; %v", shown.Load(), name, result.Err)
		}
	}
	if err := os.WriteFile(keyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newTLSFiles(account.config.TLS, new(Reads)).config(t.Context()); !errors.Is(err, errTLS) {
		t.Errorf("got %v", err)
	}
}

// A file of TLS whose file system hangs ends with the fetch, and not with the transport. The
// error says what hung.
func TestTLSFileHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var works atomic.Bool
		file := &tlsFile{new(Reads).bounded("ca.pem", func() (string, error) {
			if !works.Load() {
				time.Sleep(time.Hour)
			}
			return wrongAuthority, nil
		})}
		reloading, err := config.NewTLSRoundTripperWithContext(t.Context(), &tls.Config{}, config.TLSRoundTripperSettings{CA: file},
			func(*tls.Config) (http.RoundTripper, error) { return noTransport{}, nil })
		if err != nil { // after an hour
			t.Fatal(err)
		}
		api := client.New(client.Config{URL: &url.URL{Scheme: "https", Host: "api.example"}, Key: InlineKey("key-0815"), Transport: reloading})
		fetch := func() (took time.Duration, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			begun := time.Now()
			_, err = api.Chatbots(ctx)
			return time.Since(begun), err
		}
		for range 20 {
			if took, err := fetch(); took != 5*time.Second || fetchReason(err) != client.Timeout || !errors.Is(err, client.ErrTLSFile) {
				t.Errorf("got %v after %v", err, took)
			}
		}
		works.Store(true)
		time.Sleep(time.Hour) // until the reads that hang have ended
		if took, err := fetch(); took != 0 || !strings.Contains(err.Error(), "not HTTP") {
			t.Errorf("got %v after %v", err, took)
		}
	})
}

// noTransport fails each request.
type noTransport struct{}

func (noTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, client.ErrNotHTTP }

func fetchReason(err error) client.Reason {
	var failure *client.Error
	errors.As(err, &failure)
	return failure.Reason
}

// wrongAuthority is a certificate of another authority than those of httptest.
const wrongAuthority = `-----BEGIN CERTIFICATE-----
MIIBbzCCARWgAwIBAgIUO3FAbRO67fu0j4O69yby8QCo4jwwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAgFw0yNjExMjYyMjA4MjRaGA8yMTI2MTEwMjIyMDgyNFow
DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABA78i2OTvrf8
kB24fTdSOCH/V0NLk6VbR9ccdiH0CmEGgLmdD6W9EkoSEOkoX//f1SM9paiEHxp0
UOGGLdZMfX6jUzBRMB0GA1UdDgQWBBTAHgI3sEjDHODdUJx2XnkWaRfFpjAfBgNV
HSMEGDAWgBTAHgI3sEjDHODdUJx2XnkWaRfFpjAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0gAMEUCIQCeHVAl5v4eVezzjDQce5X6p+WQZzSmeGxeMew0AaQ3
AgIgc/0OND7yr9cm2zqlQzmf9+0ROP/Ft97KWog/mByFA3Y=
-----END CERTIFICATE-----
`
