// Package healthcheck asks a running exporter whether it serves.
package healthcheck

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	path = "/-/healthy"
	// timeout is less than the usual time between two checks, and than Docker allows one.
	timeout = 5 * time.Second
)

// Command is the command healthcheck with its flags.
type Command struct {
	// URL is where the exporter is; see [CheckURL]. Empty: [BaseURL] has to find it.
	URL string
}

// CheckURL returns an error if text is not where an exporter can be.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return errors.New("is not an http or https URL; write it like http://localhost:10113")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return errors.New("must not have a query or a fragment; write it like http://localhost:10113")
	}
	return nil
}

// BaseURL returns where an exporter is that listens on an address of --web.listen-address.
// Its errors do not quote the address, which may be an API key in the wrong place.
func BaseURL(listen string, useTLS bool) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil { // vsock
		return "", errors.New("there is no TCP address to ask; give --url")
	}
	number, err := net.LookupPort("tcp", port) // it may be the name of a service
	if err != nil || number == 0 {
		return "", errors.New("the port is not known; give --url")
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.Unmap().IsUnspecified() {
		host = "localhost"
	}
	base := url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(number))}
	if useTLS {
		base.Scheme = "https"
	}
	return base.String(), nil
}

// Run asks the exporter at the URL. It returns an error if the exporter is not healthy. The
// error does not quote the URL.
func (c Command) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	address := strings.TrimSuffix(strings.TrimRight(c.URL, "/"), path) + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("the URL is invalid")
	}
	var wantsCertificate atomic.Bool
	transport := &http.Transport{ // without the proxy of the environment
		DisableKeepAlives: true,
		DialContext:       dial,
		TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true,             // the name in it is hardly localhost
			MinVersion:         tls.VersionTLS10, // a web configuration may allow no other
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				wantsCertificate.Store(true)
				return &tls.Certificate{}, nil
			},
		},
	}
	response, err := transport.RoundTrip(request) // follows no redirect
	var operation *net.OpError
	switch {
	case err == nil:
		_ = response.Body.Close()
		if response.StatusCode >= http.StatusInternalServerError {
			return fmt.Errorf("the exporter answered %d %s", response.StatusCode, http.StatusText(response.StatusCode))
		}
		return nil
	case wantsCertificate.Load() && errors.As(err, &operation) && operation.Op == "remote error":
		return nil // an exporter that serves, but not without a certificate
	}
	return fmt.Errorf("the exporter does not answer: %s", problem(err))
}

// dial connects to an address. It does not look localhost up: an image may have no /etc/hosts.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != "localhost" {
		return dialer.DialContext(ctx, network, address)
	}
	connection, err := dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		if overIPv6, second := dialer.DialContext(ctx, network, net.JoinHostPort("::1", port)); second == nil {
			return overIPv6, nil
		}
	}
	return connection, err
}

// problem returns what an error of the network says, without names of hosts.
func problem(err error) string {
	var (
		network net.Error
		unknown *net.DNSError
		call    *os.SyscallError
	)
	switch {
	case errors.As(err, &unknown):
		return "the host is not known"
	case errors.As(err, &network) && network.Timeout():
		return fmt.Sprintf("it took more than %s", timeout)
	case errors.As(err, &call):
		return call.Error()
	}
	return "the connection failed, or the answer is not HTTP"
}
