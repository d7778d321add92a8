package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Reason is why a fetch failed: one of [Reasons].
type Reason string

// The reasons for which a fetch fails.
const (
	Unauthorized     Reason = "unauthorized"      // 401, 403, or no key to send
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
	// RetryAt is before when the API wants no further request for the account, zero
	// if it did not say.
	RetryAt time.Time
	// Err is the cause, without any content of the response. It is nil if Status
	// says it all.
	Err error
}

// Error returns a text without any content of the response but its status.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return fmt.Sprintf("the API answered %d %s", e.Status, http.StatusText(e.Status))
	case e.Reason == InvalidResponse:
		return fmt.Sprintf("the response is not as documented: byte %d: %v", e.Offset, e.Err)
	default:
		return e.Err.Error()
	}
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// RefusesQuery reports whether the API refused the query of a request: 400 or 422.
func (e *Error) RefusesQuery() bool {
	return e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity
}

// statusError returns the Error for a response with a status other than 200.
func statusError(response *http.Response) *Error {
	status := response.StatusCode
	e := &Error{Reason: UnexpectedStatus, Status: status}
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.Reason = Unauthorized
	case status == http.StatusNotFound:
		e.Reason = NotFound
	case status == http.StatusTooManyRequests:
		e.Reason = RateLimited
		e.RetryAt, _ = retryAt(response.Header, time.Now())
	case status == http.StatusServiceUnavailable:
		e.Reason = ServerError
		var said bool
		if e.RetryAt, said = retryAt(response.Header, time.Now()); !said {
			e.RetryAt, e.Transient = time.Time{}, true
		}
	case status >= 500 && status <= 599:
		e.Reason = ServerError
		e.Transient = status == http.StatusBadGateway || status == http.StatusGatewayTimeout
	}
	return e
}

const (
	// defaultRetryAfter is the pause after a 429 without a readable Retry-After.
	defaultRetryAfter = 30 * time.Second
	// maxRetryAfter is the longest pause; a longer Retry-After is cut to it.
	maxRetryAfter = 15 * time.Minute
)

// retryAt returns before when a response, received now, wants no further request.
// It reports whether the Retry-After header says so, as a date or in seconds
// (RFC 9110, section 10.2.3).
func retryAt(header http.Header, now time.Time) (at time.Time, said bool) {
	value := strings.TrimSpace(header.Get("Retry-After"))
	at = now.Add(defaultRetryAfter)
	if strings.Trim(value, "0123456789") == "" && value != "" {
		// On overflow, ParseUint returns the largest number, which is capped below.
		seconds, _ := strconv.ParseUint(value, 10, 32)
		at, said = now.Add(time.Duration(seconds)*time.Second), true
	} else if date, err := http.ParseTime(value); err == nil {
		at, said = date, true
	}
	if latest := now.Add(maxRetryAfter); at.After(latest) {
		at = latest
	}
	return at, said
}

var (
	errNotHTTP  = errors.New("the answer is not HTTP")
	errBroken   = errors.New("the connection was closed")
	errRedirect = errors.New("the API redirects to an invalid URL")
)

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
	)
	switch {
	case ctx.Err() != nil:
		return &Error{Reason: Timeout, Err: fmt.Errorf("waiting for the API: %w", context.Cause(ctx))}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Reason: Timeout, Err: errors.New("connecting to the API: timed out")}
	case errors.As(err, &operation):
		// A reset connection is transient, a failed connect is not.
		connected := operation.Op == "read" || operation.Op == "write"
		return &Error{Reason: Network, Transient: connected, Err: fmt.Errorf("talking to the API: %w", operation)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Reason: Network, Transient: true, Err: fmt.Errorf("talking to the API: %w", errBroken)}
	case errors.As(err, &proxy):
		return &Error{Reason: Network, Err: fmt.Errorf("connecting to the API: %w", proxy)}
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
	case strings.HasPrefix(text, "failed to parse Location header"):
		return &Error{Reason: UnexpectedStatus, Err: errRedirect}
	case strings.HasPrefix(text, "stream error: "), strings.HasPrefix(text, "http2: "):
		return &Error{Reason: Network, Transient: true, Err: fmt.Errorf("talking to the API: %w", errBroken)}
	default:
		return &Error{Reason: Network, Err: fmt.Errorf("talking to the API: %w", errNotHTTP)}
	}
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
		return errors.New("its certificate is signed by an unknown authority")
	case errors.As(err, &host):
		return errors.New("its certificate is for another host")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return errors.New("its certificate has expired or is not valid yet")
	default:
		return errors.New("its certificate is not valid")
	}
}
