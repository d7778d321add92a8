package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	chatbot = "7f5e5376dbf045cd8c72c60f428653d1"
	key     = "key-0815"
)

// newClient returns a client of the API at base.
func newClient(t testing.TB, base string) *client.Client {
	t.Helper()
	transport := client.NewTransport(4)
	t.Cleanup(transport.CloseIdleConnections)
	return newClientWith(t, base, transport)
}

// newClientWith returns a client of the API at base that sends requests with transport.
func newClientWith(t testing.TB, base string, transport http.RoundTripper) *client.Client {
	t.Helper()
	baseURL, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return client.New(client.Config{
		URL:       baseURL,
		Key:       func(context.Context) (string, error) { return key, nil },
		UserAgent: "chatwize_exporter/1.2.3",
		Transport: transport,
	})
}

// trust returns a transport that trusts the certificate of server.
func trust(t testing.TB, server *httptest.Server) client.Transport {
	t.Helper()
	authorities := x509.NewCertPool()
	authorities.AddCert(server.Certificate())
	transport := client.NewTransport(4)
	t.Cleanup(transport.CloseIdleConnections)
	transport.TLSClientConfig = &tls.Config{RootCAs: authorities}
	return transport
}

// serve starts a server and returns its URL.
func serve(t testing.TB, handler http.HandlerFunc) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// serveBody returns the URL of a server that answers everything with body.
func serveBody(t testing.TB, body string) string {
	return serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
}

// fetch yields the sessions of a response, or the error of the request.
func fetch(ctx context.Context, c *client.Client, options client.SessionsOptions) iter.Seq2[client.Session, error] {
	return func(yield func(client.Session, error) bool) {
		response, err := c.Sessions(ctx, chatbot, options)
		if err != nil {
			yield(client.Session{}, err)
			return
		}
		response.Sessions(yield)
	}
}

// sessions returns what the client yields.
func sessions(ctx context.Context, c *client.Client) ([]client.Session, error) {
	var list []client.Session
	for session, err := range fetch(ctx, c, client.SessionsOptions{}) {
		if err != nil {
			return list, err
		}
		list = append(list, session)
	}
	return list, nil
}

// failure returns the client.Error that err is.
func failure(t *testing.T, err error) *client.Error {
	t.Helper()
	var failure *client.Error
	if !errors.As(err, &failure) {
		t.Fatalf("got error %v, want a *client.Error", err)
	}
	return failure
}
