package client_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// An https API is reached by way of a proxy that connects to it. A proxy that refuses
// is a failure of the network, and the error names the proxy's status without its
// words. No proxy sees the API key.
func TestProxy(t *testing.T) {
	tests := []struct {
		status int
		want   string // in the error; empty: the list comes
	}{
		{http.StatusOK, ""},
		{http.StatusProxyAuthRequired, "proxy answered 407 Proxy Authentication Required"},
		{http.StatusForbidden, "proxy answered 403 Forbidden"},
		{http.StatusBadGateway, "proxy answered 502 Bad Gateway"},
		{http.StatusNoContent, "proxy answered 204 No Content"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.status), func(t *testing.T) {
			var asked []string // of the API
			api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Header.Get("Authorization"))
				_, _ = io.WriteString(w, "[{}]")
			}))
			defer api.Close()
			connects := 0
			proxy, err := url.Parse(serve(t, func(w http.ResponseWriter, r *http.Request) {
				connects++
				if target := api.Listener.Addr().String(); r.Method != http.MethodConnect || r.Host != target || r.Header.Get("Authorization") != "" {
					t.Errorf("the proxy got %s %s with %v", r.Method, r.Host, r.Header)
				}
				tunnel(t, w, api.Listener.Addr(), test.status)
			}))
			if err != nil {
				t.Fatal(err)
			}
			transport := trust(t, api)
			transport.Proxy = http.ProxyURL(proxy)
			got, err := sessions(t.Context(), newClientWith(t, api.URL, transport))
			if connects != 1 {
				t.Errorf("the proxy got %d requests, want 1", connects)
			}
			if test.want == "" {
				if err != nil || len(got) != 1 || len(asked) != 1 || asked[0] != "Bearer "+key {
					t.Errorf("got %d sessions, %v; the API got %q", len(got), err, asked)
				}
				return
			}
			if failure := failure(t, err); failure.Reason != client.Network || failure.Status != 0 || failure.Transient {
				t.Errorf("got %+v, want a lasting failure of the network", failure)
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("the error says %q, want %q in it", err, test.want)
			}
			if len(asked) > 0 {
				t.Errorf("the API got %q", asked)
			}
		})
	}
}

// tunnel answers a CONNECT request with a status. With status 200 it then passes on to
// target what comes, and back.
func tunnel(t *testing.T, w http.ResponseWriter, target net.Addr, status int) {
	near, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer near.Close()
	_, _ = fmt.Fprintf(near, "HTTP/1.1 %d secret\r\n\r\n", status)
	if status != http.StatusOK {
		return
	}
	far, err := net.Dial(target.Network(), target.String())
	if err != nil {
		t.Error(err)
		return
	}
	go func() {
		defer far.Close()
		_, _ = io.Copy(far, near)
	}()
	_, _ = io.Copy(near, far)
}
