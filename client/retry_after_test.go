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
}

func (l limited) RoundTrip(*http.Request) (*http.Response, error) {
	response := &http.Response{StatusCode: l.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}
	if l.retryAfter != "" {
		response.Header.Set("Retry-After", l.retryAfter)
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

func TestRetryAfter(t *testing.T) {
	const (
		none = -1 // no time is given
		past = -2 // one that is over already
	)
	tests := []struct {
		status     int
		retryAfter string
		want       time.Duration
		transient  bool
	}{
		{429, "", 30 * time.Second, false},
		{429, "7", 7 * time.Second, false},
		{429, " 7 ", 7 * time.Second, false},
		{429, "0", 0, false},
		{429, "12", 12 * time.Second, false},
		{429, "899", 899 * time.Second, false},
		{429, "900", 15 * time.Minute, false},
		{429, "901", 15 * time.Minute, false},
		{429, "99999999999999999999999999", 15 * time.Minute, false},
		{429, "Sat, 01 Jan 2000 00:01:30 GMT", 90 * time.Second, false},
		{429, "Saturday, 01-Jan-00 00:01:30 GMT", 90 * time.Second, false},
		{429, "Sat Jan  1 00:01:30 2000", 90 * time.Second, false},
		{429, "Sun, 02 Jan 2000 00:00:00 GMT", 15 * time.Minute, false},
		{429, "Fri, 31 Dec 1999 00:00:00 GMT", past, false},
		{429, "-7", 30 * time.Second, false},
		{429, "1.5", 30 * time.Second, false},
		{429, "soon", 30 * time.Second, false},
		{503, "", none, true},
		{503, "7", 7 * time.Second, false},
		{503, "Sat, 01 Jan 2000 00:01:30 GMT", 90 * time.Second, false},
		{503, "soon", none, true},
		{502, "7", none, true},
		{504, "", none, true},
		{500, "7", none, false},
		{403, "7", none, false},
	}
	for _, test := range tests {
		t.Run(http.StatusText(test.status)+" "+test.retryAfter, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the clock stands at midnight
				got := limited{test.status, test.retryAfter}.fetch(t)
				if got.Transient != test.transient {
					t.Errorf("transient: %t, want %t", got.Transient, test.transient)
				}
				switch wait := time.Until(got.RetryAt); {
				case test.want == none && !got.RetryAt.IsZero(),
					test.want == past && wait >= 0,
					test.want >= 0 && wait != test.want:
					t.Errorf("got %v (in %v), want in %v", got.RetryAt, wait, test.want)
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
		before := time.Now()
		limit := limited{429, value}.fetch(t)
		latest := time.Now().Add(15 * time.Minute)
		if limit.Reason != client.RateLimited || limit.RetryAt.After(latest) {
			t.Errorf("%q: %+v", value, limit)
		}
		if unavailable := (limited{503, value}).fetch(t); unavailable.Transient != unavailable.RetryAt.IsZero() {
			t.Errorf("%q: %+v", value, unavailable)
		}
		if date, err := http.ParseTime(strings.TrimSpace(value)); err != nil && limit.RetryAt.Before(before) {
			t.Errorf("%q is no date, but %v is past", value, limit.RetryAt)
		} else if err == nil && date.Before(before) != limit.RetryAt.Before(before) {
			t.Errorf("%q became %v", value, limit.RetryAt)
		}
	})
}
