package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// An answer that does not come whole is a failure that tells what happened, and whether
// it may go better at once, without the server's words.
func TestNetwork(t *testing.T) {
	const (
		head      = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
		brokeOff  = "talking to the API: the connection was closed"
		notHTTP   = "talking to the API: the answer is not HTTP"
		noURL     = "the API redirects to an invalid URL"
		truncated = "the response is not as documented: byte 4: the body ends before the array does"
	)
	tests := []struct {
		name, answer string
		want         client.Reason // none: a list
		transient    bool
		says         string
	}{
		{"closed at once", "", client.Network, true, brokeOff},
		{"not HTTP", "SSH-2.0-secret\r\n", client.Network, false, notHTTP},
		{"a header that is none", "HTTP/1.1 200 OK\r\nsecret\r\n\r\n", client.Network, false, notHTTP},
		{"headers of 60 KiB", head + "X: " + strings.Repeat("x", 60<<10) + "\r\nContent-Length: 4\r\n\r\n[{}]", "", false, ""},
		{"headers of 70 KiB", head + "X: " + strings.Repeat("x", 70<<10) + "\r\nContent-Length: 4\r\n\r\n[{}]", client.Network, false, "talking to the API: the headers of the response exceed 65536 bytes"},
		{"status 000", "HTTP/1.1 000 secret\r\nContent-Length: 2\r\n\r\n[]", client.Network, false, notHTTP},
		{"status 099", "HTTP/1.1 099 secret\r\nContent-Length: 2\r\n\r\n[]", client.Network, false, notHTTP},
		{"a redirect to no URL", "HTTP/1.1 302 Found\r\nLocation: http://%secret\r\nContent-Length: 0\r\n\r\n", client.UnexpectedStatus, false, noURL},
		{"cut off in the headers", head, client.Network, true, brokeOff},
		{"cut off before Content-Length", head + "Content-Length: 100\r\n\r\n[{},", client.Network, true, brokeOff},
		{"cut off between chunks", head + "Transfer-Encoding: chunked\r\n\r\n4\r\n[{},\r\n", client.Network, true, brokeOff},
		{"a chunk that is none", head + "Transfer-Encoding: chunked\r\n\r\n4\r\n[{},\r\nsecret\r\n", client.Network, true, notHTTP},
		{"whole list, cut off before Content-Length", head + "Content-Length: 100\r\n\r\n[{}]", client.Network, true, brokeOff},
		{"closed where that ends the body", head + "Connection: close\r\n\r\n[{},", client.InvalidResponse, true, truncated},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			base := serveConnections(t, func(conn net.Conn) {
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, test.answer)
			})
			got, err := sessions(t.Context(), newClient(t, "http://"+base))
			if test.want == "" {
				if err != nil || len(got) != 1 {
					t.Errorf("got %d sessions, %v", len(got), err)
				}
				return
			}
			if failure := failure(t, err); failure.Reason != test.want || failure.Transient != test.transient || err.Error() != test.says {
				t.Errorf("got %s (transient: %t): %v, want %s (transient: %t): %s", failure.Reason, failure.Transient, err, test.want, test.transient, test.says)
			}
		})
	}

	// The operating system's words for these differ.
	t.Run("connection refused", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
		_, err = sessions(t.Context(), newClient(t, "http://"+listener.Addr().String()))
		if failure := failure(t, err); failure.Reason != client.Network || failure.Transient || !strings.Contains(err.Error(), "refused") {
			t.Errorf("got %+v", failure)
		}
	})
	for name, answer := range map[string]string{
		"connection reset before the headers": "",
		"connection reset in the body":        head + "Content-Length: 100\r\n\r\n[{},",
	} {
		t.Run(name, func(t *testing.T) {
			base := serveConnections(t, func(conn net.Conn) {
				_, _ = conn.Read(make([]byte, 1)) // what else has come is what resets it
				_, _ = io.WriteString(conn, answer)
				_ = conn.(*net.TCPConn).SetLinger(0)
			})
			_, err := sessions(t.Context(), newClient(t, "http://"+base))
			if failure := failure(t, err); failure.Reason != client.Network || !failure.Transient {
				t.Errorf("got %+v", failure)
			}
		})
	}
}

// serveConnections accepts connections, hands them to answer and then closes them. It
// returns its address.
func serveConnections(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			answer(conn)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

// Why no encrypted connection came about is told without what the server's certificate
// says.
func TestTLS(t *testing.T) {
	start := func(certificates ...tls.Certificate) *httptest.Server {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.TLS = &tls.Config{Certificates: certificates}
		server.StartTLS()
		t.Cleanup(server.Close)
		return server
	}
	server := start()
	clientCertificate := start(newClientCertificate(t))
	tests := []struct {
		name, base string
		change     func(client.Transport)
		reason     client.Reason
		says       string
	}{
		{"an unknown authority", server.URL, func(t client.Transport) { t.TLSClientConfig.RootCAs = x509.NewCertPool() },
			client.Network, "talking to the API: its certificate is signed by an unknown authority"},
		{"another host", server.URL, func(t client.Transport) { t.TLSClientConfig.ServerName = "api.example" },
			client.Network, "talking to the API: its certificate is not valid: it is for another host"},
		{"an expired certificate", server.URL, func(t client.Transport) {
			t.TLSClientConfig.Time = func() time.Time { return server.Certificate().NotAfter.Add(time.Second) }
		}, client.Network, "talking to the API: its certificate is not valid: it has expired or is not valid yet"},
		{"a certificate of the future", server.URL, func(t client.Transport) {
			t.TLSClientConfig.Time = func() time.Time { return server.Certificate().NotBefore.Add(-time.Second) }
		}, client.Network, "talking to the API: its certificate is not valid: it has expired or is not valid yet"},
		{"a certificate for clients", "https://" + clientCertificate.Listener.Addr().String(), func(t client.Transport) {
			t.TLSClientConfig.RootCAs.AddCert(clientCertificate.TLS.Certificates[0].Leaf)
		}, client.Network, "talking to the API: its certificate is not valid"},
		{"not encrypted", strings.Replace(serveBody(t, "[]"), "http:", "https:", 1), func(client.Transport) {},
			client.Network, "talking to the API: http: server gave HTTP response to HTTPS client"},
		{"no answer", "https://" + serveConnections(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), func(t client.Transport) {
			t.TLSHandshakeTimeout = time.Millisecond
		}, client.Timeout, "connecting to the API: timed out"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			transport := trust(t, server)
			test.change(transport)
			_, err := sessions(t.Context(), newClientWith(t, test.base, transport))
			if failure := failure(t, err); failure.Reason != test.reason || failure.Transient || err.Error() != test.says {
				t.Errorf("got %s (transient: %t): %v, want %s: %s", failure.Reason, failure.Transient, err, test.reason, test.says)
			}
		})
	}
}

// newClientCertificate returns a certificate for 127.0.0.1 that is its own authority,
// for use by clients only.
func newClientCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}
}

// An HTTP/2 stream or connection that ends before its response does is a transient
// failure of the network. What the server says about it is not quoted.
func TestHTTP2Reset(t *testing.T) {
	const (
		headers = "\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88" // :status 200
		data    = "\x00\x00\x04\x00\x00\x00\x00\x00\x01[{},"
		reset   = "\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x02"                       // INTERNAL_ERROR
		goAway  = "\x00\x00\x0e\x07\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02secret" // likewise
	)
	tests := []struct {
		name, frames string
	}{
		{"a reset before the headers", reset},
		{"a reset in the body", headers + data + reset},
		{"the connection closed before the headers", goAway},
		{"the connection closed in the body", headers + data + goAway},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.EnableHTTP2 = true
			server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
				"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) { answerHTTP2(conn, test.frames) },
			}
			server.StartTLS()
			defer server.Close()
			_, err := sessions(t.Context(), newClientWith(t, server.URL, trust(t, server)))
			if failure := failure(t, err); failure.Reason != client.Network || !failure.Transient {
				t.Errorf("got %+v, want a transient failure of the network", failure)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error quotes the server: %v", err)
			}
		})
	}
}

// answerHTTP2 sends empty settings, and frames as the answer to the first request. Then
// it closes the connection.
func answerHTTP2(conn net.Conn, frames string) {
	const (
		preface  = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // the first that a client sends
		settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	)
	defer conn.Close()
	_, _ = io.WriteString(conn, settings)
	_, _ = io.CopyN(io.Discard, conn, int64(len(preface)))
	header := make([]byte, 9) // length, type, flags, stream
	for header[3] != 1 {      // HEADERS
		if _, err := io.ReadFull(conn, header); err != nil {
			return
		}
		length := int64(header[0])<<16 | int64(header[1])<<8 | int64(header[2])
		_, _ = io.CopyN(io.Discard, conn, length)
	}
	_, _ = io.WriteString(conn, frames)
}
