package fetch

import (
	"errors"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Error is a fetch that failed on this side (no request was sent, or whoever waited for
// it left before it ended), or a failed request that began a pause. Other failed
// requests are [*client.Error].
type Error struct {
	// Reason is why the fetch failed.
	Reason client.Reason
	// PausedUntil is the end of the pause that kept the request from being sent, or
	// that it began; zero if there is none.
	PausedUntil time.Time
	// Err is the cause.
	Err error
}

// Error returns the text of the cause.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns why a fetch failed with err. It is empty if err is nil.
func ReasonOf(err error) client.Reason {
	var local *Error
	var failure *client.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &local):
		return local.Reason
	case errors.As(err, &failure):
		return failure.Reason
	}
	return client.Network
}

// PausedUntil returns the end of the pause that a failed fetch met or began. It is zero
// if there is none.
func PausedUntil(err error) time.Time {
	var local *Error
	if errors.As(err, &local) {
		return local.PausedUntil
	}
	return time.Time{}
}

// isPaused reports whether a fetch was not tried because of a pause.
func isPaused(err error) bool { return errors.Is(err, errPaused) }

// StatusOf returns the HTTP status code of a failed request, 0 if there was no
// response.
func StatusOf(err error) int {
	var failure *client.Error
	if errors.As(err, &failure) {
		return failure.Status
	}
	return 0
}
