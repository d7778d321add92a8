package accounts_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
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
