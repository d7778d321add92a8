package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

func TestRequest(t *testing.T) {
	var got *http.Request
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = io.WriteString(w, "[]")
	})
	since := time.Date(2025, 7, 16, 9, 0, 0, 123456789, time.FixedZone("", 2*60*60))
	for _, err := range fetch(t.Context(), newClient(t, base+"/brand/"), client.SessionsOptions{Since: since}) {
		t.Fatal(err)
	}
	want := "GET /brand/api/v1/chatbot/" + chatbot + "/sessions?start_timestamp=2025-07-16T07%3A00%3A00.123Z"
	if line := got.Method + " " + got.RequestURI; line != want {
		t.Errorf("sent %s, want %s", line, want)
	}
	for name, want := range map[string]string{
		"Authorization":   "Bearer " + key,
		"User-Agent":      "chatwize_exporter/1.2.3",
		"Accept-Encoding": "gzip",
		"Accept":          "application/json",
		"Cache-Control":   "no-cache",
	} {
		if got := got.Header.Get(name); got != want {
			t.Errorf("sent %s: %s, want %s", name, got, want)
		}
	}

	if _, err := sessions(t.Context(), newClient(t, base)); err != nil {
		t.Fatal(err)
	}
	if got.URL.RawQuery != "" {
		t.Errorf("without a since, sent the query %s", got.URL.RawQuery)
	}
}

func TestKeyCannotBeRead(t *testing.T) {
	requests := 0
	base, err := url.Parse(serve(t, func(http.ResponseWriter, *http.Request) { requests++ }))
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(client.Config{
		URL: base,
		Key: func(context.Context) (string, error) { return "", errors.New("no such file") },
	})
	_, err = sessions(t.Context(), c)
	if failure(t, err).Reason != client.Unauthorized || requests != 0 {
		t.Errorf("got %v after %d requests", err, requests)
	}
}
