package client_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// A response that is not a session list is told by what is wrong and by the byte where
// it stops being one, and never quoted. Only one that ends too early may be whole the
// next time.
func TestInvalidResponse(t *testing.T) {
	const (
		session   = `{"uuid":"a","created_at":"2025-07-16T07:00:00Z","modified_at":"2025-07-16T07:00:00Z"}`
		notList   = "not a JSON array"
		notObject = "an element of the array is not an object"
		syntax    = "invalid JSON"
		html      = "an HTML page instead of JSON"
		truncated = "the body ends before the array does"
		trailing  = "more data after the array"
		tooLarge  = "a session of more than 1048576 bytes"
	)
	many := "[" + session + strings.Repeat(","+session, 8000)
	deep := `[{"secret":` + strings.Repeat("[", 1000000)
	tests := []struct {
		name, body string
		sessions   int
		offset     int64
		says       string
	}{
		{"empty", "", 0, 0, truncated},
		{"white space", "  \n", 0, 3, truncated},
		{"null", "null", 0, 0, notList},
		{"object", `{"error":"secret"}`, 0, 0, notList},
		{"text", `"secret"`, 0, 0, notList},
		{"number", `17`, 0, 0, notList},
		{"a number behind white space", ` 17`, 0, 1, notList},
		{"HTML", "<html>secret</html>", 0, 0, html},
		{"HTML behind white space", " \n<!DOCTYPE html>secret", 0, 0, html},
		{"cut off behind the bracket", "[", 0, 1, truncated},
		{"cut off in the array", "[" + session + ",", 1, int64(len(session)) + 2, truncated},
		{"cut off in a session", "[" + session + `,{"secret":"`, 1, int64(len(session)) + 13, truncated},
		{"cut off far behind", many + ",", 8001, int64(8001*(len(session)+1)) + 1, truncated},
		{"data behind the array", "[" + session + `] {"secret":1}`, 1, int64(len(session)) + 3, trailing},
		{"data far behind the array", "[" + session + "]" + strings.Repeat(" ", 1<<20) + "secret", 1, int64(len(session)) + 2 + 1<<20, trailing},
		{"a list far behind the array", "[" + session + "]" + strings.Repeat(" ", 1<<20) + "[]", 1, int64(len(session)) + 2 + 1<<20, trailing},
		{"a bracket far behind the array", "[" + session + "]" + strings.Repeat(" ", 1<<20) + "]", 1, int64(len(session)) + 2 + 1<<20, trailing},
		{"an element far behind that is none", many + `,"secret"]`, 8001, int64(8001*(len(session)+1)) + 1, notObject},
		{"a syntax error far behind", many + `,{"secret":secret}]`, 8001, int64(8001*(len(session)+1)) + 11, syntax},
		{"data behind a long array", many + `] []`, 8001, int64(8001*(len(session)+1)) + 2, trailing},
		{"garbage behind the array", "[" + session + `]secret`, 1, int64(len(session)) + 2, trailing},
		{"a bracket too many", "[" + session + `]]`, 1, int64(len(session)) + 2, trailing},
		{"a comma missing", "[" + session + session + "]", 1, int64(len(session)) + 1, syntax},
		{"a comma too many", "[" + session + ",]", 1, int64(len(session)) + 2, syntax},
		{"an element null", "[" + session + ",null]", 1, int64(len(session)) + 2, notObject},
		{"an element a list", "[" + session + `,["secret"]]`, 1, int64(len(session)) + 2, notObject},
		{"an element text", `["secret"]`, 0, 1, notObject},
		{"a bare word", `[{"secret":secret}]`, 0, 11, syntax},
		{"a wrong bracket in meta", `[{"meta":{"secret":1]}]`, 0, 20, syntax},
		{"a bare word in meta", `[{"meta":{"user":secret}}]`, 0, 17, syntax},
		{"a control character", "[{\"secret\":\"\x01\"}]", 0, 12, syntax},
		{"a bad escape in a time", `[{"created_at":"secret\x"}]`, 0, 23, syntax},
		{"too deep", deep, 0, -1, syntax},
		{"a session too large", "[" + session + `,{"secret":"` + strings.Repeat("x", 2<<20) + `"}]`, 1, -1, tooLarge},
		{"a session of many members too large", "[" + session + `,{"secret":[` + strings.Repeat("1,", 1<<20) + `1]}]`, 1, -1, tooLarge},
		{"endless white space", "[" + session + strings.Repeat(" ", 3<<20) + "]", 1, -1, tooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := sessions(t.Context(), newClient(t, serveBody(t, test.body)))
			failure := failure(t, err)
			if failure.Reason != client.InvalidResponse || failure.Status != http.StatusOK || len(got) != test.sessions {
				t.Errorf("got %+v after %d sessions, want invalid_response after %d", failure, len(got), test.sessions)
			}
			if test.offset >= 0 && failure.Offset != test.offset {
				t.Errorf("got offset %d, want %d", failure.Offset, test.offset)
			}
			if want := fmt.Sprintf("the response is not as documented: byte %d: %s", failure.Offset, test.says); err.Error() != want {
				t.Errorf("the error says %q, want %q", err, want)
			}
			if want := test.says == truncated && test.body != ""; failure.Transient != want {
				t.Errorf("transient: %t, want %t", failure.Transient, want)
			}
		})
	}
}

// A session of up to 1 MiB is fine, however full the buffers are around it and however
// its first name is written.
func TestLargeSession(t *testing.T) {
	for _, name := range []string{`x`, `\u0078`, ``} {
		t.Run(name, func(t *testing.T) {
			frame := `{"` + name + `":"","uuid":"a","created_at":"2025-07-16T07:00:00Z","modified_at":"2025-07-16T07:00:00Z"}`
			large := strings.Replace(frame, `":"`, `":"`+strings.Repeat("x", 1<<20-len(frame)), 1)
			got, err := sessions(t.Context(), newClient(t, serveBody(t, "["+large+","+large+","+frame+"]")))
			if err != nil || len(got) != 3 {
				t.Errorf("got %d sessions, %v; want 3", len(got), err)
			}
			_, err = sessions(t.Context(), newClient(t, serveBody(t, "["+large[:len(large)-1]+" }]")))
			if failure(t, err).Reason != client.InvalidResponse {
				t.Errorf("a session of 1 MiB and a byte: %v", err)
			}
		})
	}
}

// Lists are of any length, also with white space before their first session and where
// no session has a name that begins it.
func TestOddLists(t *testing.T) {
	const size = 11 << 17 // more than the largest buffer
	filling := strings.Repeat("x", 100)
	for name, element := range map[string]string{
		"empty objects":      "{}" + strings.Repeat(" ", 10),
		"white space":        " {" + strings.ReplaceAll(filling, "x", " ") + "} ",
		"names with escapes": `{"\u0061":"` + filling + `"}`,
		"empty names":        `{"":"` + filling + `"}`,
		"names":              `{"a":"` + filling + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			list := "\n[ " + `{"a":1}` + strings.Repeat(","+element, size/len(element))
			n := strings.Count(list, "{")
			for _, end := range []string{"]", ",]", ",1]"} {
				got, err := sessions(t.Context(), newClient(t, serveBody(t, list+end)))
				if valid := end == "]"; (err == nil) != valid || len(got) != n {
					t.Errorf("ended by %q: got %d sessions, %v; want %d", end, len(got), err, n)
				}
				if err != nil && failure(t, err).Offset != int64(len(list+",")) {
					t.Errorf("ended by %q: got %v, want byte %d", end, err, len(list+","))
				}
			}
		})
	}
}

// Sessions come while the response is still being sent, and leaving their
// sequence ends the request.
func TestStreaming(t *testing.T) {
	account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
		{UUID: chatbot, Fault: func(time.Time) simulator.Fault { return simulator.Fault{Endless: true} }},
	}}
	ended := make(chan struct{})
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		account.ServeHTTP(w, r)
	})
	n := 0
	for _, err := range fetch(t.Context(), newClient(t, base), client.SessionsOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 10000 {
			break
		}
	}
	<-ended
}

// Nothing of one list gets into another of the same client: not into one that follows
// it, however each of them ends, and not into one that is read at the same time.
func TestListsAreIndependent(t *testing.T) {
	session := `{"uuid":"a","created_at":"2025-07-16T07:00:00Z","modified_at":"2025-07-16T07:00:00Z","meta":{"user":{"a":"` + strings.Repeat("x", 1000) + `"}}}`
	long := "[" + session + strings.Repeat(","+session, 999) + "]" // more than all buffers hold
	half := len("[" + session + strings.Repeat(","+session, 499))
	lists := []struct {
		name, body string
		sessions   int
		valid      bool
	}{
		{"a long list", long, 1000, true},
		{"an empty list", "[]", 0, true},
		{"a short list", "[{}]", 1, true},
		{"an empty body", "", 0, false},
		{"no list", "{", 0, false},
		// What is cut off of these is in the buffers of a long list.
		{"a bracket", long[:len("[")], 0, false},
		{"a list cut off behind a comma", long[:len("["+session+",")], 1, false},
		{"a list cut off in a session", long[:len("["+session+",{")], 1, false},
		{"a list cut off far behind", long[:half], 500, false},
	}
	body := make(chan string, 1)
	c := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, <-body) }))
	for _, list := range lists {
		check := func(t *testing.T) {
			body <- list.body
			got, err := sessions(t.Context(), c)
			if (err == nil) != list.valid || len(got) != list.sessions {
				t.Errorf("%s: got %d sessions, %v; want %d, valid: %t", list.name, len(got), err, list.sessions, list.valid)
			}
		}
		for _, before := range lists {
			t.Run(list.name+" after "+before.name, func(t *testing.T) {
				body <- before.body
				_, _ = sessions(t.Context(), c)
				check(t)
			})
		}
		t.Run(list.name+" after a long list that was left", func(t *testing.T) {
			body <- long
			for _, err := range fetch(t.Context(), c, client.SessionsOptions{}) {
				if err == nil {
					break
				}
			}
			check(t)
		})
		t.Run(list.name+" during a long list", func(t *testing.T) {
			body <- long
			n := 0
			for got, err := range fetch(t.Context(), c, client.SessionsOptions{}) {
				if err != nil || got.Malformed || !got.HasLead {
					t.Fatalf("session %d of the long list: %+v, %v", n, got, err)
				}
				if n++; n == 10 {
					check(t)
				}
			}
			if n != 1000 {
				t.Errorf("got %d sessions of the long list", n)
			}
		})
	}
}

// Lists that follow each other take the memory of one.
func TestMemoryIsReused(t *testing.T) {
	const lists = 200
	c := newClientWith(t, "http://api.example", roundTripper("[{}]"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range lists {
		if _, err := sessions(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	// Under the race detector a sync.Pool drops a quarter of what it gets.
	if each := (after.TotalAlloc - before.TotalAlloc) / lists; each > 3*bufferSize/2 {
		t.Errorf("each list took %d bytes more", each)
	}
}
