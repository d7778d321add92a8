package accounts_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/secret"
)

// A key that looks like a UUID is no chatbot, even if nobody knows the chatbots.
func TestKeyAsUUID(t *testing.T) {
	const key, uuid = "0123456789abcdef0123456789abcdef", "7f5e5376dbf045cd8c72c60f428653d1"
	account, err := accounts.New(accounts.Config{
		URL: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}, Key: accounts.InlineKey(key), Concurrency: 1, Timeout: time.Second,
	}, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		uuid string
		want fetch.Standing
	}{{uuid, fetch.Unverified}, {key, fetch.Unlisted}} {
		if chatbot, standing := account.Directory.Chatbot(t.Context(), test.uuid); standing != test.want {
			t.Errorf("got %+v, %d, want %d", chatbot, standing, test.want)
		}
	}
}

// A name that was cut within a key shows no part of it.
func TestKeyInCutName(t *testing.T) {
	const key = "Wrong-place-0815"
	cut := client.CleanName(strings.Repeat("x", client.MaxName-8) + key)
	var keys secret.Keys
	keys.Add(key)
	account, err := accounts.New(accounts.Config{
		URL: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}, Key: accounts.InlineKey(key), Keys: &keys, Concurrency: 1, Timeout: time.Second,
		Chatbots: []client.Chatbot{{UUID: "7f5e5376dbf045cd8c72c60f428653d1", Name: cut}, {UUID: "7f5e5376dbf045cd8c72c60f428653d2", Name: "Wrong"}},
	}, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	chatbots, err := account.Directory.Chatbots(t.Context())
	one, _ := account.Directory.Chatbot(t.Context(), chatbots[0].UUID)
	if want := strings.Repeat("x", client.MaxName-8) + "<key>"; err != nil || chatbots[0].Name != want || one.Name != want || chatbots[1].Name != "Wrong" {
		t.Errorf("got %+v, %+v, %v", chatbots, one, err)
	}
}
