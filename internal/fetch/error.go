package fetch

import (
	"errors"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Error is a fetch that failed on this side: no request was sent, or whoever waited
// for it left before it ended. Failed requests are [*client.Error].
type Error struct {
	// Reason is why the fetch failed.
	Reason client.Reason
	// PausedUntil is the end of the pause that kept the request from being sent,
	// zero if it was not a pause.
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

// PausedUntil returns before when, according to err, no request is sent for the
// account. It is zero if there is no pause.
func PausedUntil(err error) time.Time {
	var local *Error
	var failure *client.Error
	switch {
	case errors.As(err, &local):
		return local.PausedUntil
	case errors.As(err, &failure):
		return failure.RetryAt
	}
	return time.Time{}
}

// isPaused reports whether a fetch was not tried because of a pause.
func isPaused(err error) bool {
	var local *Error
	return errors.As(err, &local) && !local.PausedUntil.IsZero()
}

// StatusOf returns the HTTP status code of a failed request, 0 if there was no
// response.
func StatusOf(err error) int {
	var failure *client.Error
	if errors.As(err, &failure) {
		return failure.Status
	}
	return 0
}
