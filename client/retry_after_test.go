package client_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// limited answers every request with a status and a Retry-After header.
type limited struct {
	status     int
	retryAfter string
	date       string // the clock of the API; empty: no header
}

func (l limited) RoundTrip(*http.Request) (*http.Response, error) {
	response := &http.Response{StatusCode: l.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}
	if l.retryAfter != "" {
		response.Header.Set("Retry-After", l.retryAfter)
	}
	if l.date != "" {
		response.Header.Set("Date", l.date)
	}
	return response, nil
}

// fetch returns the error that the client makes of it.
func (l limited) fetch(t *testing.T) *client.Error {
	t.Helper()
	_, err := sessions(t.Context(), client.New(client.Config{
		URL:       &url.URL{Scheme: "http", Host: "api.example"},
		Key:       func(context.Context) (string, error) { return key, nil },
		Transport: l,
	}))
	return failure(t, err)
}

// A pause is a duration, from the clock of the API if it tells its time.
func TestRetryAfter(t *testing.T) {
	const today, ahead = "Sat, 01 Jan 2000 00:00:00 GMT", "Sat, 08 Jan 2000 00:00:00 GMT"
	tests := []struct {
		status           int
		retryAfter, date string
		want             time.Duration
		transient        bool
	}{
		{429, "", "", 30 * time.Second, false},
		{429, "7", "", 7 * time.Second, false},
		{429, " 7 ", "", 7 * time.Second, false},
		{429, "0", "", 0, false},
		{429, "12", ahead, 12 * time.Second, false},
		{429, "899", "", 899 * time.Second, false},
		{429, "900", "", 15 * time.Minute, false},
		{429, "901", "", 15 * time.Minute, false},
		{429, "99999999999999999999999999", "", 15 * time.Minute, false},
		{429, "Sat, 01 Jan 2000 00:01:30 GMT", "", 90 * time.Second, false},
		{429, "Sat, 01 Jan 2000 00:01:30 GMT", "yesterday", 90 * time.Second, false},
		{429, "Sat, 01 Jan 2000 00:01:30 GMT", today, 90 * time.Second, false},
		{429, "Sat, 01 Jan 2000 00:01:30 GMT", ahead, 0, false},
		{429, "Sat, 08 Jan 2000 00:01:30 GMT", ahead, 90 * time.Second, false},
		{429, "Saturday, 01-Jan-00 00:01:30 GMT", "", 90 * time.Second, false},
		{429, "Sat Jan  1 00:01:30 2000", "", 90 * time.Second, false},
		{429, "Sun, 02 Jan 2000 00:00:00 GMT", "", 15 * time.Minute, false},
		{429, "Fri, 31 Dec 1999 00:00:00 GMT", "", 0, false},
		{429, "-7", "", 30 * time.Second, false},
		{429, "1.5", "", 30 * time.Second, false},
		{429, "soon", "", 30 * time.Second, false},
		{503, "", "", 0, true},
		{503, "0", "", 0, true},
		{503, "7", "", 7 * time.Second, false},
		{503, "Sat, 01 Jan 2000 00:01:30 GMT", "", 90 * time.Second, false},
		{503, "Sat, 08 Jan 2000 00:01:30 GMT", ahead, 90 * time.Second, false},
		{503, "Sat, 01 Jan 2000 00:01:30 GMT", ahead, 0, true},
		{503, "soon", "", 0, true},
		{502, "7", "", 0, true},
		{504, "", "", 0, true},
		{500, "7", "", 0, false},
		{403, "7", "", 0, false},
	}
	for _, test := range tests {
		t.Run(http.StatusText(test.status)+" "+test.retryAfter+" "+test.date, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the clock stands at midnight
				got := limited{test.status, test.retryAfter, test.date}.fetch(t)
				if got.Transient != test.transient || got.RetryAfter != test.want {
					t.Errorf("got %v, transient: %t, want %v, %t", got.RetryAfter, got.Transient, test.want, test.transient)
				}
			})
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"", "0", "7", "007", "+7", "4294967296", "18446744073709551616", "Sat, 01 Jan 2000 00:01:30 GMT", "Sat, 01 Jan 9999 00:01:30 GMT"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		const longest = 15 * time.Minute
		limit := limited{status: 429, retryAfter: value}.fetch(t)
		if limit.Reason != client.RateLimited || limit.RetryAfter < 0 || limit.RetryAfter > longest {
			t.Errorf("%q: %+v", value, limit)
		}
		if unavailable := (limited{status: 503, retryAfter: value}).fetch(t); unavailable.Transient != (unavailable.RetryAfter == 0) {
			t.Errorf("%q: %+v", value, unavailable)
		}
		if date, err := http.ParseTime(strings.TrimSpace(value)); err == nil && date.Before(time.Now()) != (limit.RetryAfter == 0) {
			t.Errorf("%q became %v", value, limit.RetryAfter)
		}
	})
}
