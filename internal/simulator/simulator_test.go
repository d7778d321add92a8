package simulator_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	uuid = "7f5e5376dbf045cd8c72c60f428653d1"
	path = "/api/v1/chatbot/" + uuid + "/sessions"
)

var midnight = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// session is a session as the API documents it.
type session struct {
	UUID       string    `json:"uuid"`
	CreatedAt  time.Time `json:"created_at"`
	ModifiedAt time.Time `json:"modified_at"`
	Meta       struct {
		User     map[string]any `json:"user"`
		AuthData map[string]any `json:"auth_data"`
	} `json:"meta"`
}

// get sends a request to the account's server and returns the response.
func get(t *testing.T, account *simulator.Account, path string, header http.Header) *http.Response {
	t.Helper()
	server := httptest.NewServer(account)
	t.Cleanup(server.Close)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func bearer(key string) http.Header { return http.Header{"Authorization": {"Bearer " + key}} }

// list returns the sessions of an account's one chatbot.
func list(t *testing.T, account *simulator.Account, query string) []session {
	t.Helper()
	response := get(t, account, path+query, bearer(account.Key))
	if response.StatusCode != http.StatusOK {
		t.Fatalf("got %s", response.Status)
	}
	var sessions []session
	if err := json.NewDecoder(response.Body).Decode(&sessions); err != nil {
		t.Fatal(err)
	}
	return sessions
}

func uniform(n int) *simulator.Account {
	return &simulator.Account{Key: "key", Chatbots: []simulator.Chatbot{
		{UUID: uuid, Name: "Shop", Sessions: simulator.Uniform(n, midnight, time.Hour)},
	}}
}

func TestSessions(t *testing.T) {
	sessions := list(t, uniform(1000), "")
	if len(sessions) != 1000 {
		t.Fatalf("got %d sessions, want 1000", len(sessions))
	}
	uuids := map[string]bool{}
	for i, s := range sessions {
		uuids[s.UUID] = true
		if want := midnight.Add(time.Duration(i) * time.Hour); !s.CreatedAt.Equal(want) || s.ModifiedAt.Before(want) {
			t.Fatalf("session %d was created at %v and modified at %v, want %v", i, s.CreatedAt, s.ModifiedAt, want)
		}
		if lead, verified := len(s.Meta.User) > 0, len(s.Meta.AuthData) > 0; lead != (i%3 == 0) || verified != (i%7 == 0) {
			t.Fatalf("session %d: lead %t, verified %t", i, lead, verified)
		}
	}
	if len(uuids) != 1000 {
		t.Errorf("there are %d different UUIDs, want 1000", len(uuids))
	}
}

func TestTimestamps(t *testing.T) {
	at := func(hour int) string {
		return midnight.Add(time.Duration(hour) * time.Hour).Format("2006-01-02T15:04:05.000Z")
	}
	tests := map[string]int{
		"":                          10,
		"?start_timestamp=" + at(3): 7, // that one included
		"?end_timestamp=" + at(3):   4,
		"?start_timestamp=" + at(3) + "&end_timestamp=" + at(5):    3,
		"?start_timestamp=" + at(20):                               0,
		"?start_timestamp=" + at(-20) + "&end_timestamp=" + at(-1): 0,
	}
	for query, want := range tests {
		if got := list(t, uniform(10), query); len(got) != want {
			t.Errorf("%s: got %d sessions, want %d", query, len(got), want)
		}
	}
	ignoring := uniform(10)
	ignoring.IgnoreTimestamps = true
	if got := list(t, ignoring, "?start_timestamp="+at(3)); len(got) != 10 {
		t.Errorf("ignoring timestamps: got %d sessions, want 10", len(got))
	}
	if got := get(t, uniform(10), path+"?start_timestamp=yesterday", bearer("key")).StatusCode; got != http.StatusBadRequest {
		t.Errorf("a timestamp that is none: got %d, want 400", got)
	}
}

func TestStatus(t *testing.T) {
	fails := uniform(1)
	fails.Chatbots[0].Fault = func(time.Time) simulator.Fault {
		return simulator.Fault{Status: 429, Header: http.Header{"Retry-After": {"7"}}}
	}
	tests := []struct {
		name    string
		account *simulator.Account
		path    string
		header  http.Header
		want    int
	}{
		{"right", uniform(1), path, bearer("key"), 200},
		{"UUID in capitals", uniform(1), "/api/v1/chatbot/7F5E5376DBF045CD8C72C60F428653D1/sessions", bearer("key"), 200},
		{"wrong key", uniform(1), path, bearer("other"), 401},
		{"no key", uniform(1), path, http.Header{}, 401},
		{"unknown chatbot", uniform(1), "/api/v1/chatbot/0/sessions", bearer("key"), 404},
		{"unknown path", uniform(1), "/api/v2", bearer("key"), 404},
		{"fault", fails, path, bearer("key"), 429},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			response := get(t, test.account, test.path, test.header)
			if response.StatusCode != test.want {
				t.Errorf("got %s, want %d", response.Status, test.want)
			}
			if test.want == 429 && response.Header.Get("Retry-After") != "7" {
				t.Error("the fault's header is missing")
			}
		})
	}
}

func TestChatbots(t *testing.T) {
	var chatbots []struct{ UUID, Name string }
	if err := json.NewDecoder(get(t, uniform(1), "/api/v1/chatbots", bearer("key")).Body).Decode(&chatbots); err != nil {
		t.Fatal(err)
	}
	if len(chatbots) != 1 || chatbots[0].UUID != uuid || chatbots[0].Name != "Shop" {
		t.Errorf("got %v", chatbots)
	}
}

func TestGzip(t *testing.T) {
	account := uniform(10)
	account.Gzip = true
	header := bearer("key")
	header.Set("Accept-Encoding", "gzip")
	response := get(t, account, path, header)
	reader, err := gzip.NewReader(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var sessions []session
	if err := json.NewDecoder(reader).Decode(&sessions); err != nil || len(sessions) != 10 {
		t.Errorf("got %d sessions, %v", len(sessions), err)
	}
	if plain := get(t, account, path, bearer("key")); plain.Header.Get("Content-Encoding") != "" {
		t.Error("compressed for one who does not accept it")
	}
}

func TestBrokenBodies(t *testing.T) {
	with := func(fault simulator.Fault) *http.Response {
		account := uniform(1000)
		account.Chatbots[0].Fault = func(time.Time) simulator.Fault { return fault }
		return get(t, account, path, bearer("key"))
	}
	body, err := io.ReadAll(with(simulator.Fault{CutAfter: 50000}).Body)
	if len(body) != 50000 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: got %d bytes, %v", len(body), err)
	}
	body, err = io.ReadAll(with(simulator.Fault{Body: "<html>"}).Body)
	if string(body) != "<html>" || err != nil {
		t.Errorf("another body: got %q, %v", body, err)
	}
	endless := bufio.NewReader(with(simulator.Fault{Endless: true}).Body)
	if n, err := io.CopyN(io.Discard, endless, 5<<20); err != nil {
		t.Errorf("endless: ended after %d bytes: %v", n, err)
	}
}

// A growing account keeps the sessions it has had, gets new ones as its clock goes
// on, and a session's lead never goes away.
func TestDemo(t *testing.T) {
	account := simulator.Demo("key", midnight, 0)
	if len(account.Chatbots) != 5 {
		t.Fatalf("there are %d chatbots, want 5", len(account.Chatbots))
	}
	for _, chatbot := range account.Chatbots {
		t.Run(chatbot.Name, func(t *testing.T) {
			var before []simulator.Session
			leads, verified := 0, 0
			for session := range chatbot.Sessions(midnight) {
				before = append(before, session)
				if session.Created.After(midnight) || session.Modified.After(midnight) || session.Modified.Before(session.Created) {
					t.Fatalf("at midnight there is %+v", session)
				}
				if session.Lead {
					leads++
				}
				if session.Verified {
					verified++
				}
			}
			if len(before) < 1000 || leads == 0 || verified == 0 || leads == len(before) || verified == len(before) {
				t.Errorf("at the start there are %d sessions, %d leads, %d verified", len(before), leads, verified)
			}
			if age := midnight.Sub(before[0].Created); age < 45*24*time.Hour {
				t.Errorf("the first session is only %v old", age)
			}
			after := 0
			for session := range chatbot.Sessions(midnight.Add(24 * time.Hour)) {
				if after < len(before) {
					if old := before[after]; !session.Created.Equal(old.Created) || old.Lead && !session.Lead || old.Verified && !session.Verified {
						t.Fatalf("%+v became %+v", old, session)
					}
				}
				after++
			}
			if vanished := chatbot.UUID == simulator.DemoVanished; vanished && after != len(before) || !vanished && after < len(before)+50 {
				t.Errorf("in a day %d sessions became %d", len(before), after)
			}
		})
	}

	t.Run("it grows within seconds", func(t *testing.T) {
		count := func(now time.Time) (n int) {
			for _, chatbot := range account.Chatbots {
				for range chatbot.Sessions(now) {
					n++
				}
			}
			return n
		}
		for _, start := range []time.Duration{0, 6 * time.Hour, 12 * time.Hour, 18 * time.Hour} {
			if before, after := count(midnight.Add(start)), count(midnight.Add(start+time.Minute)); after < before+5 {
				t.Errorf("at %v %d sessions became %d in a minute", start, before, after)
			}
		}
	})

	t.Run("it fails now and then", func(t *testing.T) {
		failed := map[string]int{}
		for now := midnight; now.Before(midnight.Add(10 * time.Minute)); now = now.Add(5 * time.Second) {
			for _, chatbot := range account.Chatbots {
				if chatbot.Fault != nil && chatbot.Fault(now).Status == http.StatusInternalServerError {
					failed[chatbot.Name]++
				}
			}
		}
		if len(failed) != 1 || failed["Members’ desk"] != 8 {
			t.Errorf("of 120 fetches failed: %v", failed)
		}
	})
}

func BenchmarkSessions(b *testing.B) {
	const n = 100_000
	account := uniform(n)
	request := httptest.NewRequest(http.MethodGet, path, nil)
	request.Header = bearer("key")
	b.ReportAllocs()
	var length int
	for b.Loop() {
		response := httptest.NewRecorder()
		account.ServeHTTP(response, request)
		length = response.Body.Len()
	}
	b.SetBytes(int64(length))
	b.ReportMetric(float64(length)/n, "B/session")
}
