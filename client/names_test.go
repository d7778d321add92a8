package client_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// An error of the network does not quote names of hosts, which may be an API key in the
// wrong place.
func TestErrorsQuoteNoNames(t *testing.T) {
	const name = "misplaced-key-0815"
	closed := serveConnections(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 3)) // SOCKS's greeting: closed with it unread, the connection is reset
	})
	unknown := func(_ context.Context, network, address string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(address)
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: host, Server: "127.0.0.53:53", IsNotFound: true}}
	}
	fails := func(err error) func(context.Context, string, string) (net.Conn, error) {
		return func(_ context.Context, network, _ string) (net.Conn, error) {
			zoned := &net.TCPAddr{IP: net.IPv6loopback, Port: 1, Zone: name}
			return nil, &net.OpError{Op: "dial", Net: network, Source: &net.UnixAddr{Name: name}, Addr: zoned, Err: err}
		}
	}
	connects := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", closed)
	}
	for title, test := range map[string]struct {
		base, proxy string
		dial        func(context.Context, string, string) (net.Conn, error)
		says        string
	}{
		"unknown host":      {"https://" + name, "", unknown, "talking to the API: dial tcp: looking up the host: no such host"},
		"unknown proxy":     {"https://x", "http://" + name, unknown, "talking to the API: proxyconnect tcp: dial tcp: looking up the host: no such host"},
		"password of proxy": {"https://x", "http://x:" + name + "@x:1", unknown, "talking to the API: proxyconnect tcp: dial tcp: looking up the host: no such host"},
		"SOCKS proxy":       {"https://" + name, "socks5://" + name, connects, "talking to the API: socks connect tcp: it failed"},
		"refused":           {"https://" + name, "", fails(syscall.ECONNREFUSED), "talking to the API: dial tcp [::1]:1: " + syscall.ECONNREFUSED.Error()},
		"invalid address":   {"https://x", "", fails(&net.AddrError{Err: "x", Addr: name}), "talking to the API: dial tcp [::1]:1: it failed"},
	} {
		t.Run(title, func(t *testing.T) {
			transport := client.NewTransport(1)
			transport.DialContext = test.dial
			transport.Proxy = nil
			if test.proxy != "" {
				proxy, err := url.Parse(test.proxy)
				if err != nil {
					t.Fatal(err)
				}
				transport.Proxy = http.ProxyURL(proxy)
			}
			_, err := sessions(t.Context(), newClientWith(t, test.base, transport))
			if got := failure(t, err).Error(); strings.Contains(got, name) || got != test.says {
				t.Errorf("got %s, want %s", got, test.says)
			}
		})
	}
	t.Run("invalid proxy", func(t *testing.T) {
		transport := client.NewTransport(1)
		// httpproxy, which reads the environment once a process, fails like this.
		transport.Proxy = func(*http.Request) (*url.URL, error) {
			return nil, fmt.Errorf("invalid proxy address %q", name)
		}
		_, err := sessions(t.Context(), newClientWith(t, "https://x", transport))
		if got, want := failure(t, err).Error(), "the address of the proxy in the environment is not a URL"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}
