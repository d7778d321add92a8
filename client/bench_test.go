package client_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"context"
	"net/url"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// BenchmarkDecode holds the decoder against encoding/json over 200,000 sessions
// that are in memory.
func BenchmarkDecode(b *testing.B) {
	const n = 200_000
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
		{UUID: chatbot, Sessions: simulator.Uniform(n, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Minute)},
	}}
	request := httptest.NewRequest(http.MethodGet, "/api/v1/chatbot/"+chatbot+"/sessions", nil)
	request.Header.Set("Authorization", "Bearer "+key)
	response := httptest.NewRecorder()
	account.ServeHTTP(response, request)
	list := response.Body.Bytes()

	b.Run("encoding_json", func(b *testing.B) {
		b.SetBytes(int64(len(list)))
		b.ReportAllocs()
		for b.Loop() {
			var sessions []struct {
				UUID       string    `json:"uuid"`
				CreatedAt  time.Time `json:"created_at"`
				ModifiedAt time.Time `json:"modified_at"`
				Meta       struct {
					User     json.RawMessage `json:"user"`
					AuthData json.RawMessage `json:"auth_data"`
				} `json:"meta"`
			}
			if err := json.Unmarshal(list, &sessions); err != nil || len(sessions) != n {
				b.Fatal(len(sessions), err)
			}
		}
	})
	b.Run("client", func(b *testing.B) {
		c := client.New(client.Config{
			URL:       &url.URL{Scheme: "http", Host: "api.example"},
			Key:       func(context.Context) (string, error) { return key, nil },
			Transport: roundTripper(list),
		})
		b.SetBytes(int64(len(list)))
		b.ReportAllocs()
		for b.Loop() {
			sessions := 0
			for _, err := range fetch(b.Context(), c, client.SessionsOptions{}) {
				if err != nil {
					b.Fatal(err)
				}
				sessions++
			}
			if sessions != n {
				b.Fatal(sessions)
			}
		}
	})
}
