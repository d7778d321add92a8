package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Reason is why a fetch failed: one of [Reasons].
type Reason string

// The reasons for which a fetch fails.
const (
	Unauthorized     Reason = "unauthorized"      // 401, 403, 422 to a request without query, or no key to send
	NotFound         Reason = "not_found"         // 404
	RateLimited      Reason = "rate_limited"      // 429
	ServerError      Reason = "server_error"      // 5xx
	UnexpectedStatus Reason = "unexpected_status" // any other status but 200 and 304
	Timeout          Reason = "timeout"           // the context ended before the response did
	Network          Reason = "network"           // no complete response, for any other cause
	InvalidResponse  Reason = "invalid_response"  // the response is not a list
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{
		Unauthorized, NotFound, RateLimited, ServerError,
		UnexpectedStatus, Timeout, Network, InvalidResponse,
	}
}

// Error is a failed request. Its text contains nothing of the response but the
// status and a position, so that it can be logged: responses hold personal data.
type Error struct {
	// Reason is why the request failed.
	Reason Reason
	// Status is the HTTP status code of the response, 0 if there was none.
	Status int
	// Offset is the position of the error of an InvalidResponse in the body, in bytes
	// after decompression.
	Offset int64
	// Transient reports whether the same request is likely to succeed a moment later.
	Transient bool
	// RetryAfter is how long to pause, counted from now: for the account after
	// RateLimited, for the same endpoint and chatbot after ServerError. It is 30 seconds
	// after RateLimited without a readable Retry-After. It is 0 if no pause is needed.
	RetryAfter time.Duration
	// Err is the cause, without any content of the response. It is nil if Status
	// says it all.
	Err error
}

// Error returns a text without any content of the response but its status.
func (e *Error) Error() string {
	switch {
	case errors.Is(e.Err, ErrProxy):
		return e.Err.Error()
	case e.Reason != InvalidResponse && e.Status != 0:
		text := fmt.Sprintf("the API answered %d %s", e.Status, http.StatusText(e.Status))
		if e.Err != nil {
			text += ": " + e.Err.Error()
		}
		return text
	case e.Reason == InvalidResponse:
		return fmt.Sprintf("the response is not as documented: byte %d: %v", e.Offset, e.Err)
	case e.Err == nil:
		return string(e.Reason)
	default:
		return e.Err.Error()
	}
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// Causes of failures that need different actions, for [errors.Is].
var (
	ErrNoKey         = errors.New("reading the API key")
	ErrHTML          = errors.New("an HTML page instead of JSON")
	ErrPage          = errors.New("only a page of the list: a Link header names the next one")
	ErrToHTTPS       = errors.New("it redirects to https")
	ErrElsewhere     = errors.New("it redirects to another host")
	ErrProxy         = errors.New("the proxy refused the request")
	ErrProxyPassword = errors.New("the proxy requires a user name and password")
	ErrTLSFile       = errors.New("a file for TLS cannot be read")
	ErrAuthority     = errors.New("its certificate is signed by an unknown authority")
	ErrCertificate   = errors.New("its certificate is not valid")
	ErrLargeHeaders  = fmt.Errorf("the headers of the response exceed %d bytes", maxHeaderSize)
	ErrNotHTTP       = errors.New("the answer is not HTTP")
	errBroken        = errors.New("the connection was closed")
	errRefusing      = fmt.Errorf("%d connections in a row refused the request", maxDials)
	errRedirect      = errors.New("the API redirects to an invalid URL")
	errProxyAddress  = errors.New("the address of the proxy in the environment is not a URL")
	errOperation     = errors.New("it failed")
)

// statusError returns the Error for a response to a request for a URL, with a status
// other than 200.
func statusError(response *http.Response, requested *url.URL) *Error {
	status := response.StatusCode
	e := &Error{Reason: UnexpectedStatus, Status: status}
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden,
		// The JWT library of the platform answers so to a key that it cannot decode.
		status == http.StatusUnprocessableEntity && requested.RawQuery == "":
		e.Reason = Unauthorized
	case status == http.StatusNotFound:
		e.Reason = NotFound
	case status == http.StatusProxyAuthRequired:
		e.Err = proxyError(status)
	case status == http.StatusTooManyRequests:
		e.Reason = RateLimited
		if wait, said := retryAfter(response.Header, time.Now()); said {
			e.RetryAfter = wait
		} else {
			e.RetryAfter = defaultRetryAfter
		}
	case status == http.StatusServiceUnavailable:
		e.Reason = ServerError
		e.RetryAfter, _ = retryAfter(response.Header, time.Now())
		e.Transient = e.RetryAfter == 0
	case status >= 500 && status <= 599:
		e.Reason = ServerError
		e.Transient = status == http.StatusBadGateway || status == http.StatusGatewayTimeout
	case status >= 300 && status <= 399:
		e.Err = redirectError(requested, response.Header)
	}
	return e
}

// redirectError returns where a redirect that is not followed leads, without quoting
// it; nil if it leads to the same host.
func redirectError(from *url.URL, header http.Header) error {
	location, err := from.Parse(header.Get("Location"))
	if err == nil && location.Scheme == "https" && from.Scheme == "http" && strings.EqualFold(location.Hostname(), from.Hostname()) {
		return ErrToHTTPS
	}
	if err == nil && !strings.EqualFold(location.Host, from.Host) {
		return ErrElsewhere
	}
	return nil
}

const (
	// defaultRetryAfter is the pause after a 429 without a readable Retry-After.
	defaultRetryAfter = 30 * time.Second
	// maxRetryAfter is the longest pause; a longer Retry-After is cut to it.
	maxRetryAfter = 15 * time.Minute
)

// retryAfter returns how long to pause after a response that came now. It reports whether
// the Retry-After header says so, in seconds or as a date (RFC 9110, section 10.2.3). A date
// counts from the Date of the response, so that a wrong local clock does not matter.
func retryAfter(header http.Header, now time.Time) (wait time.Duration, said bool) {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value != "" && strings.Trim(value, "0123456789") == "" {
		// On overflow, ParseUint returns the largest number.
		seconds, _ := strconv.ParseUint(value, 10, 32)
		wait = time.Duration(seconds) * time.Second
	} else {
		until, err := http.ParseTime(value)
		if err != nil {
			return 0, false
		}
		from, _ := date(header, now)
		wait = until.Sub(from)
	}
	return min(max(wait, 0), maxRetryAfter), true
}

// transportError returns the Error for an error of net/http, from sending a request
// or reading its response.
//
// net/http quotes what it cannot parse: a status line, a header, the target of a
// redirect. So only errors that originate on this side keep their text.
func transportError(ctx context.Context, err error) *Error {
	var (
		timeout     net.Error
		operation   *net.OpError
		certificate *tls.CertificateVerificationError
		proxy       proxyError
		file        *fs.PathError
	)
	switch {
	case errors.Is(err, errRefusing):
		return &Error{Reason: Network, Transient: true, Err: fmt.Errorf("talking to the API: %w", errRefusing)}
	case ctx.Err() != nil && errors.As(err, &file):
		return &Error{Reason: Timeout, Err: fmt.Errorf("%w: %w", ErrTLSFile, context.Cause(ctx))}
	case ctx.Err() != nil:
		return &Error{Reason: Timeout, Err: fmt.Errorf("waiting for the API: %w", context.Cause(ctx))}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Reason: Timeout, Err: errors.New("connecting to the API: timed out")}
	case errors.As(err, &operation):
		// A reset connection is transient, a failed connect is not.
		connected := operation.Op == "read" || operation.Op == "write"
		return &Error{Reason: Network, Transient: connected, Err: fmt.Errorf("talking to the API: %w", withoutNames(operation))}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Reason: Network, Transient: true, Err: fmt.Errorf("talking to the API: %w", errBroken)}
	case errors.As(err, &proxy):
		return &Error{Reason: Network, Err: fmt.Errorf("connecting to the API: %w", proxy)}
	case errors.As(err, &file):
		return &Error{Reason: Network, Err: fmt.Errorf("connecting to the API: %w: %w", ErrTLSFile, file.Err)}
	case errors.As(err, &certificate):
		return &Error{Reason: Network, Err: fmt.Errorf("talking to the API: %w", certificateError(certificate))}
	case errors.Is(err, http.ErrSchemeMismatch):
		return &Error{Reason: Network, Err: fmt.Errorf("talking to the API: %w", http.ErrSchemeMismatch)}
	}
	// The other errors have no type. Their text may quote the response.
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	switch text := err.Error(); {
	case strings.Contains(text, "response headers exceeded"), strings.Contains(text, "response header list larger"):
		return &Error{Reason: Network, Err: fmt.Errorf("talking to the API: %w", ErrLargeHeaders)}
	case strings.HasPrefix(text, "invalid proxy address"):
		return &Error{Reason: Network, Err: errProxyAddress}
	case strings.HasPrefix(text, "failed to parse Location header"):
		return &Error{Reason: UnexpectedStatus, Err: errRedirect}
	case strings.HasPrefix(text, "stream error: "), strings.HasPrefix(text, "http2: "):
		return &Error{Reason: Network, Transient: true, Err: fmt.Errorf("talking to the API: %w", errBroken)}
	default:
		return &Error{Reason: Network, Err: fmt.Errorf("talking to the API: %w", ErrNotHTTP)}
	}
}

// withoutNames returns an error of the network without names of hosts. A name in the
// address of the API or of a proxy may be an API key in the wrong place.
func withoutNames(operation *net.OpError) *net.OpError {
	shown := &net.OpError{
		Op: operation.Op, Net: operation.Net, Source: withoutName(operation.Source), Addr: withoutName(operation.Addr), Err: errOperation,
	}
	var (
		inner  *net.OpError
		lookup *net.DNSError
		call   *os.SyscallError
		number syscall.Errno
	)
	switch {
	case errors.As(operation.Err, &inner):
		shown.Err = withoutNames(inner)
	case errors.As(operation.Err, &lookup):
		shown.Err = fmt.Errorf("looking up the host: %s", lookup.Err)
	case errors.As(operation.Err, &call):
		shown.Err = call
	case errors.As(operation.Err, &number):
		shown.Err = number
	case operation.Op == "remote error", operation.Op == "local error": // alerts of TLS
		shown.Err = operation.Err
	}
	return shown
}

// withoutName returns an address if it consists of numbers only, otherwise nil.
func withoutName(address net.Addr) net.Addr {
	if tcp, ok := address.(*net.TCPAddr); ok && tcp != nil {
		return &net.TCPAddr{IP: tcp.IP, Port: tcp.Port}
	}
	return nil
}

// certificateError returns what is wrong with a certificate, without the names in it.
func certificateError(err error) error {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return ErrAuthority
	case errors.As(err, &host):
		return fmt.Errorf("%w: it is for another host", ErrCertificate)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w: it has expired or is not valid yet", ErrCertificate)
	default:
		return ErrCertificate
	}
}
