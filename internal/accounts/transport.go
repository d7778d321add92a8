package accounts

import (
	"crypto/tls"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/common/config"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Proxy are the settings of a proxy, as in the configuration of Prometheus.
type Proxy = config.ProxyConfig

// TLS are the settings of TLS, as in the configuration of Prometheus.
type TLS = config.TLSConfig

// newTransport returns a transport with the TLS and proxy of an account. It reads the files
// of TLS again when they change.
func newTransport(c Config) (http.RoundTripper, error) {
	proxy := http.ProxyFromEnvironment
	header := http.Header(nil)
	if c.Proxy != nil {
		own := *c.Proxy // Proxy keeps its result in it
		proxy, header = own.Proxy(), own.GetProxyConnectHeader()
	}
	build := func(tlsConfig *tls.Config) (http.RoundTripper, error) {
		transport := client.NewTransport(c.Concurrency)
		transport.Proxy, transport.ProxyConnectHeader = proxy, header
		transport.TLSClientConfig = tlsConfig
		return transport, nil
	}
	if c.TLS == (TLS{}) {
		return build(nil)
	}
	tlsConfig, err := config.NewTLSConfig(&c.TLS)
	if err != nil {
		return nil, errTLS
	}
	if c.TLS.CAFile == "" && c.TLS.CertFile == "" && c.TLS.KeyFile == "" {
		return build(tlsConfig)
	}
	reloading, err := config.NewTLSRoundTripper(tlsConfig, config.TLSRoundTripperSettings{
		CA:   secretReader(c.TLS.CA, c.TLS.CAFile),
		Cert: secretReader(c.TLS.Cert, c.TLS.CertFile),
		Key:  secretReader(string(c.TLS.Key), c.TLS.KeyFile),
	}, build)
	if err != nil {
		return nil, errTLS
	}
	return reloading, nil
}

// errTLS is in place of errors of the TLS settings that quote them.
var errTLS = errors.New("its certificates or its key cannot be used; write them as in the configuration of Prometheus")

// secretReader returns a reader of a text or of a file, nil without either.
func secretReader(text, file string) config.SecretReader {
	switch {
	case text != "":
		return config.NewInlineSecret(text)
	case file != "":
		return config.NewFileSecret(file)
	}
	return nil
}

// transport sends requests through another transport, which can be replaced.
type transport struct {
	current atomic.Pointer[http.RoundTripper]
}

func newReplaceable(first http.RoundTripper) *transport {
	t := &transport{}
	t.current.Store(&first)
	return t
}

// RoundTrip sends a request.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	used := t.current.Load()
	response, err := (*used).RoundTrip(request)
	if t.current.Load() != used {
		closeIdle(*used) // it has been replaced meanwhile
	}
	return response, err
}

// replace makes further requests use next. Connections of the transport before are closed
// when no request uses them.
func (t *transport) replace(next http.RoundTripper) { closeIdle(*t.current.Swap(&next)) }

// close makes further requests fail. Connections are closed when no request uses them.
func (t *transport) close() { t.replace(closed{}) }

// closed is the transport of an account that was removed.
type closed struct{}

func (closed) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("the account was removed")
}

func closeIdle(t http.RoundTripper) {
	if closer, ok := t.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}
