package accounts

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
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
func newTransport(ctx context.Context, c Config) (http.RoundTripper, error) {
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
	files := newTLSFiles(c.TLS, cmp.Or(c.Reads, new(Reads)))
	tlsConfig, err := files.config(ctx)
	if err != nil {
		return nil, err
	}
	if files.none() {
		return build(tlsConfig)
	}
	reloading, err := config.NewTLSRoundTripperWithContext(ctx, tlsConfig, files.readers(), build)
	if err != nil {
		return nil, errTLS
	}
	return reloading, nil
}

// errTLS is in place of errors of the TLS settings that quote them.
var errTLS = errors.New("its certificates or its key cannot be used; write them as in the configuration of Prometheus")

// tlsFiles are TLS settings with readers of their files. The library reads the files with
// those of its own, which go on if a file system hangs.
type tlsFiles struct {
	settings      TLS
	ca, cert, key *tlsFile // nil if there is no such file
}

func newTLSFiles(settings TLS, reads *Reads) tlsFiles {
	return tlsFiles{settings, newTLSFile(settings.CAFile, reads), newTLSFile(settings.CertFile, reads), newTLSFile(settings.KeyFile, reads)}
}

// none reports whether there are no files.
func (f tlsFiles) none() bool { return f.ca == nil && f.cert == nil && f.key == nil }

// readers returns the readers of what the files or the settings hold.
func (f tlsFiles) readers() config.TLSRoundTripperSettings {
	reader := func(file *tlsFile, text string) config.SecretReader {
		switch {
		case file != nil:
			return file
		case text != "":
			return config.NewInlineSecret(text)
		}
		return nil
	}
	return config.TLSRoundTripperSettings{
		CA: reader(f.ca, f.settings.CA), Cert: reader(f.cert, f.settings.Cert), Key: reader(f.key, string(f.settings.Key)),
	}
}

// config returns the configuration of TLS with the content of the files. It reads those of a
// client certificate again for each connection. Its errors quote nothing but names of fields.
func (f tlsFiles) config(ctx context.Context) (*tls.Config, error) {
	if err := f.settings.Validate(); err != nil {
		return nil, err
	}
	inline := f.settings
	inline.CAFile, inline.CertFile, inline.KeyFile = "", "", ""
	for _, read := range []struct {
		field string
		file  *tlsFile
		set   func(string)
	}{
		{"ca_file", f.ca, func(text string) { inline.CA = text }},
		{"cert_file", f.cert, func(text string) { inline.Cert = text }},
		{"key_file", f.key, func(text string) { inline.Key = config.Secret(text) }},
	} {
		if read.file == nil {
			continue
		}
		content, err := read.file.read(ctx)
		if err != nil {
			return nil, fieldProblem(read.field, cannotRead(err))
		}
		read.set(content)
	}
	tlsConfig, err := config.NewTLSConfig(&inline)
	if err != nil {
		return nil, errTLS
	}
	if readers := f.readers(); readers.Cert != nil && readers.Key != nil {
		tlsConfig.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return clientCertificate(request.Context(), readers)
		}
	}
	return tlsConfig, nil
}

// clientCertificate reads the certificate of this side.
func clientCertificate(ctx context.Context, readers config.TLSRoundTripperSettings) (*tls.Certificate, error) {
	certificate, err := readers.Cert.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	key, err := readers.Key.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		return nil, errTLS
	}
	return &pair, nil
}

// tlsFile is a [config.SecretReader] of a file of TLS.
type tlsFile struct {
	read func(context.Context) (string, error)
}

// newTLSFile returns the reader of a file, nil for no file.
func newTLSFile(path string, reads *Reads) *tlsFile {
	if path == "" {
		return nil
	}
	return &tlsFile{reads.file(path)}
}

// Fetch reads the file, until ctx ends. Its error is a [*fs.PathError] without the path.
func (f *tlsFile) Fetch(ctx context.Context) (string, error) {
	content, err := f.read(ctx)
	if err != nil {
		if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
			err = pathError.Err
		}
		return "", &fs.PathError{Op: "read", Path: "a file for TLS", Err: err}
	}
	return content, nil
}

// Description returns what an error calls the file.
func (*tlsFile) Description() string { return "a file for TLS" }

// Immutable reports false: the file may change.
func (*tlsFile) Immutable() bool { return false }

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
