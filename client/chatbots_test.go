package client_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

const otherChatbot = "7F5E5376-DBF0-45CD-8C72-C60F428653D2"

// list returns the parts of a response.
func list(response *client.ChatbotsResponse, err error) (chatbots []client.Chatbot, skipped int, _ error) {
	if err != nil {
		return nil, 0, err
	}
	return response.Chatbots, response.Skipped, nil
}

func TestChatbots(t *testing.T) {
	tests := []struct {
		name, body string
		want       []client.Chatbot
		skipped    int
	}{
		{name: "none", body: " [ ] "},
		{
			name: "as documented",
			body: `[{"uuid":"` + chatbot + `","name":"Shop","created_at":"2025-07-16T07:00:00Z","meta":{"uuid":"x","rate_limit":[1]}},` +
				`{"name":"Members’ desk 🛎️","uuid":"` + otherChatbot + `"}]`,
			want: []client.Chatbot{{UUID: chatbot, Name: "Shop"}, {UUID: otherChatbot, Name: "Members’ desk 🛎️"}},
		},
		{
			name: "no name, or none that is text", body: `[{"uuid":"` + chatbot + `"},{"uuid":"` + otherChatbot + `","name":17}]`,
			want: []client.Chatbot{{UUID: chatbot}, {UUID: otherChatbot}},
		},
		{name: "a name that is not UTF-8", body: `[{"uuid":"` + chatbot + "\",\"name\":\"\xff\\ud800\"}]",
			want: []client.Chatbot{{UUID: chatbot, Name: "\ufffd\ufffd"}}},
		{name: "control characters in a name", body: `[{"uuid":"` + chatbot + `","name":" a\u0000b\nc\u001b[31m\u0085 "}]`,
			want: []client.Chatbot{{UUID: chatbot, Name: "a\ufffdb\ufffdc\ufffd[31m"}}},
		{name: "a long name", body: `[{"uuid":"` + chatbot + `","name":"` + strings.Repeat("é", 1<<17) + `"}]`,
			want: []client.Chatbot{{UUID: chatbot, Name: strings.Repeat("é", 128)}}},
		{
			name: "no usable UUID", skipped: 8,
			body: `[{"name":"a"},{"uuid":null},{"uuid":17},{"uuid":"` + chatbot[1:] + `"},null,"` + chatbot + `",[],{"UUID":"` + chatbot + `"},{"uuid":"` + otherChatbot + `"}]`,
			want: []client.Chatbot{{UUID: otherChatbot}},
		},
		{
			name: "twice, in another spelling", skipped: 1,
			body: `[{"uuid":"` + otherChatbot + `","name":"first"},{"uuid":"7f5e5376dbf045cd8c72c60f428653d2","name":"second"}]`,
			want: []client.Chatbot{{UUID: otherChatbot, Name: "first"}},
		},
		{name: "a large entry", body: `[{"uuid":"` + chatbot + `","x":"` + strings.Repeat("x", 1<<19) + `"}]`, want: []client.Chatbot{{UUID: chatbot}}},
		{
			name: "many large entries", skipped: 3, want: []client.Chatbot{{UUID: chatbot}},
			body: `[` + strings.Repeat(`{"x":"`+strings.Repeat("x", 1<<19)+`"},`, 3) + `{"uuid":"` + chatbot + `"}]`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, skipped, err := list(newClient(t, serveBody(t, test.body)).Chatbots(t.Context()))
			if err != nil || !slices.Equal(got, test.want) || skipped != test.skipped {
				t.Errorf("got %v, %d skipped, %v; want %v and %d", got, skipped, err, test.want, test.skipped)
			}
		})
	}
}

func TestChatbotsRequest(t *testing.T) {
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{{UUID: chatbot, Name: "Shop"}}}
	var got *http.Request
	c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		account.ServeHTTP(w, r)
	}))
	chatbots, _, err := list(c.Chatbots(t.Context()))
	if want := []client.Chatbot{{UUID: chatbot, Name: "Shop"}}; err != nil || !slices.Equal(chatbots, want) {
		t.Errorf("got %v, %v", chatbots, err)
	}
	if got.Method != http.MethodGet || !strings.HasSuffix(got.URL.Path, "/api/v1/chatbots") || got.URL.RawQuery != "" {
		t.Errorf("asked for %s %s", got.Method, got.URL)
	}
}

// A failed list of chatbots is told by what is wrong, never quoted, and leaves nothing
// behind. Only one that ends too early may be whole the next time.
func TestChatbotsFailures(t *testing.T) {
	const entry = `{"uuid":"` + chatbot + `","name":"secret"}`
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, `,{"uuid":"%032x"}`, i)
	}
	const (
		syntax    = "invalid JSON"
		truncated = "the body ends before the array does"
		notList   = "not a JSON array"
		trailing  = "more data after the array"
		tooLarge  = "a chatbot of more than 1048576 or a list of more than 16777216 bytes"
	)
	tests := []struct {
		name, body string
		says       string
	}{
		{"empty", "", truncated},
		{"white space", "  ", truncated},
		{"not an array", entry, notList},
		{"null", "null", notList},
		{"not JSON", "secret", syntax},
		{"no UUID at all", `[{"id":1,"name":"secret"},{"name":"secret"}]`, "a list of chatbots without UUIDs"},
		{"HTML", "<html>secret", "an HTML page instead of JSON"},
		{"cut off behind the bracket", "[", truncated},
		{"cut off", "[" + entry + ",", truncated},
		{"cut off behind an entry", "[" + entry, truncated},
		{"cut off in an entry", "[" + entry + `,{"name":"secret`, truncated},
		{"one comma more", "[" + entry + ",]", syntax},
		{"a comma missing", "[" + entry + entry + "]", syntax},
		{"data behind it", "[" + entry + `] secret`, trailing},
		{"another list behind it", "[" + entry + `][]`, trailing},
		{"chatbots too many", "[" + entry + many.String() + "]", "a list of more than 10000 chatbots"},
		{"an entry too large", "[" + entry + `,{"name":"` + strings.Repeat("secret", 1<<18) + `"}]`, tooLarge},
		{"a list too large", "[" + entry + strings.Repeat(`,{"name":"`+strings.Repeat("secret", 1<<14)+`"}`, 200) + "]", tooLarge},
		{"white space too much", "[" + entry + "]" + strings.Repeat(" ", 2<<20), tooLarge},
		{"white space too much behind a large list", "[" + entry + strings.Repeat(`,{"name":"`+strings.Repeat("x", 1<<19)+`"}`, 31) + "]" + strings.Repeat(" ", 3<<18), tooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, skipped, err := list(newClientWith(t, "http://api.example", roundTripper(test.body)).Chatbots(t.Context()))
			failure := failure(t, err)
			if failure.Reason != client.InvalidResponse || failure.Status != http.StatusOK || len(got) > 0 || skipped > 0 {
				t.Errorf("got %v, %d skipped, %+v", got, skipped, failure)
			}
			if want := fmt.Sprintf("the response is not as documented: byte %d: %s", failure.Offset, test.says); err.Error() != want {
				t.Errorf("the error says %q, want %q", err, want)
			}
			if want := test.says == truncated && strings.TrimSpace(test.body) != ""; failure.Transient != want {
				t.Errorf("transient: %t, want %t", failure.Transient, want)
			}
		})
	}

	t.Run("status", func(t *testing.T) {
		got, skipped, err := list(newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
		})).Chatbots(t.Context()))
		if failure(t, err).Reason != client.Unauthorized || len(got) > 0 || skipped > 0 {
			t.Errorf("got %v, %d skipped, %v", got, skipped, err)
		}
	})
}

// A list that breaks off on the way is the network's fault, one whose compression
// is broken is not; an error tells where a list stops making sense.
func TestChatbotsBroken(t *testing.T) {
	const entry = `{"uuid":"` + chatbot + `"}`
	var zipped bytes.Buffer
	compressor := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(compressor, "["+entry+strings.Repeat(`,{"uuid":"`+chatbot+`"}`, 100)+"]")
	_ = compressor.Close()
	corrupt := bytes.Clone(zipped.Bytes())
	corrupt[len(corrupt)-8] ^= 1 // the checksum

	_, err := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "["+entry+",")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})).Chatbots(t.Context())
	if failure := failure(t, err); failure.Reason != client.Network || !failure.Transient {
		t.Errorf("broken off: got %+v", failure)
	}
	_, err = newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(corrupt)
	})).Chatbots(t.Context())
	if failure := failure(t, err); failure.Reason != client.InvalidResponse || !strings.Contains(err.Error(), "corrupt") {
		t.Errorf("corrupt: got %+v", failure)
	}
	_, err = newClient(t, serveBody(t, "["+entry+" x")).Chatbots(t.Context())
	if failure := failure(t, err); failure.Reason != client.InvalidResponse || failure.Offset < int64(len("["+entry)) {
		t.Errorf("not JSON: got %+v", failure)
	}
}
