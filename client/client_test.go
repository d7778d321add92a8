package client_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	chatbot = "7f5e5376dbf045cd8c72c60f428653d1"
	key     = "key-0815"
)

// newClient returns a client of the API at base.
func newClient(t testing.TB, base string) *client.Client {
	t.Helper()
	baseURL, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	transport := client.NewTransport(4)
	t.Cleanup(transport.CloseIdleConnections)
	return client.New(client.Config{
		URL:       baseURL,
		Key:       func(context.Context) (string, error) { return key, nil },
		UserAgent: "chatwize_exporter/1.2.3",
		Transport: transport,
	})
}

// serve starts a server and returns its URL.
func serve(t testing.TB, handler http.HandlerFunc) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// serveBody returns the URL of a server that answers everything with body.
func serveBody(t testing.TB, body string) string {
	return serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
}

// sessions returns what the client yields.
func sessions(ctx context.Context, c *client.Client) ([]client.Session, error) {
	var list []client.Session
	for session, err := range c.Sessions(ctx, chatbot, time.Time{}, nil) {
		if err != nil {
			return list, err
		}
		list = append(list, session)
	}
	return list, nil
}

// failure returns the client.Error that err is.
func failure(t *testing.T, err error) *client.Error {
	t.Helper()
	var failure *client.Error
	if !errors.As(err, &failure) {
		t.Fatalf("got error %v, want a *client.Error", err)
	}
	return failure
}

func TestRequest(t *testing.T) {
	var got *http.Request
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = io.WriteString(w, "[]")
	})
	since := time.Date(2025, 7, 16, 9, 0, 0, 123456789, time.FixedZone("", 2*60*60))
	for _, err := range newClient(t, base+"/brand/").Sessions(t.Context(), chatbot, since, nil) {
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

func TestSession(t *testing.T) {
	at := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	whole := client.Session{Created: at("2025-07-16T07:00:00Z"), Modified: at("2025-07-16T07:05:00Z")}
	with := func(change func(*client.Session)) client.Session {
		s := whole
		change(&s)
		return s
	}
	lead := with(func(s *client.Session) { s.HasLead = true })
	verified := with(func(s *client.Session) { s.IdentityVerified = true })
	malformed := with(func(s *client.Session) { s.Malformed = true })
	uncreated := with(func(s *client.Session) { s.Created, s.Malformed = time.Time{}, true })
	const shape = `"uuid":"a","created_at":"2025-07-16T07:00:00Z","modified_at":"2025-07-16T07:05:00Z"`

	tests := []struct {
		name, json string
		want       client.Session
	}{
		{"as documented", `{` + shape + `}`, whole},
		{"meta null", `{` + shape + `,"meta":null}`, whole},
		{"meta empty", `{` + shape + `,"meta":{}}`, whole},
		{"user and auth_data null", `{` + shape + `,"meta":{"user":null,"auth_data":null}}`, whole},
		{"user and auth_data empty", `{` + shape + `,"meta":{"user":{ },"auth_data":{}}}`, whole},
		{"lead", `{` + shape + `,"meta":{"user":{"email":"a@b.example"}}}`, lead},
		{"lead with an empty answer", `{` + shape + `,"meta":{"user":{"":null}}}`, lead},
		{"verified identity", `{` + shape + `,"meta":{"auth_data":{"id":{"deep":[1,{}]}}}}`, verified},
		{"both", `{` + shape + `,"meta":{"auth_data":{"a":1},"user":{"b":[]}}}`,
			with(func(s *client.Session) { s.HasLead, s.IdentityVerified = true, true })},
		{"unknown members everywhere, any order",
			`{"x":[{"meta":{"user":{"a":1}}}],"meta":{"country":"DE","z":{"user":{"a":1}},"user":{"n":1}},"ip_address":"192.0.2.1",` + shape + `}`, lead},
		{"white space", "\n{ " + strings.ReplaceAll(shape, ":\"", " : \"") + " ,\t\"meta\" : { \"user\" :\r\n{ \"a\" : 1 } } } ", lead},
		{"names with escapes", `{` + strings.Replace(shape, "created_at", `cre\u0061ted_at`, 1) + `,"m\u0065ta":{"us\u0065r":{"a":1}}}`, lead},
		{"names are case-sensitive", `{` + shape + `,"Meta":{"user":{"a":1}}}`, whole},
		{"the last of duplicate names counts", `{` + shape + `,"meta":{"user":{"a":1}},"meta":{"user":{"a":1},"user":{}}}`, whole},
		{"text that is not UTF-8", `{` + shape + `,"meta":{"user":{"name":"` + "\xff\\ud800" + `"}}}`, lead},

		{"meta a list", `{` + shape + `,"meta":[{"user":{"a":1}}]}`, malformed},
		{"meta text", `{` + shape + `,"meta":"{}"}`, malformed},
		{"user a list", `{` + shape + `,"meta":{"user":["a"]}}`, malformed},
		{"user false", `{` + shape + `,"meta":{"user":false}}`, malformed},
		{"auth_data a number", `{` + shape + `,"meta":{"auth_data":7}}`, malformed},
		{"user wrong, auth_data right", `{` + shape + `,"meta":{"user":"x","auth_data":{"a":1}}}`,
			with(func(s *client.Session) { s.IdentityVerified, s.Malformed = true, true })},
		{"empty", `{}`, client.Session{Malformed: true}},
		{"uuid missing", `{` + strings.Replace(shape, "uuid", "id", 1) + `}`, malformed},
		{"uuid null", `{` + strings.Replace(shape, `"a"`, "null", 1) + `}`, malformed},
		{"uuid a number", `{` + strings.Replace(shape, `"a"`, "17", 1) + `}`, malformed},
		{"created_at missing", `{` + strings.Replace(shape, "created_at", "created", 1) + `}`, uncreated},
		{"created_at null", `{` + strings.Replace(shape, `"2025-07-16T07:00:00Z"`, "null", 1) + `}`, uncreated},
		{"created_at a number", `{` + strings.Replace(shape, `"2025-07-16T07:00:00Z"`, "1752649200", 1) + `}`, uncreated},
		{"modified_at unreadable", `{` + strings.Replace(shape, "2025-07-16T07:05:00Z", "string", 1) + `}`,
			with(func(s *client.Session) { s.Modified, s.Malformed = time.Time{}, true })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := sessions(t.Context(), newClient(t, serveBody(t, "["+test.json+","+test.json+"]")))
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 2 || got[0] != test.want || got[1] != test.want {
				t.Errorf("got %+v, want twice %+v", got, test.want)
			}
		})
	}
}

func TestTimestamp(t *testing.T) {
	seven := time.Date(2025, 7, 16, 7, 0, 0, 0, time.UTC)
	tests := []struct {
		text string
		want time.Time // zero: unreadable
	}{
		{"2025-07-16T07:00:00Z", seven},
		{"2025-07-16T07:00:00", seven},
		{"2025-07-16 07:00:00", seven},
		{"2025-07-16 07:00:00Z", seven},
		{"2025-07-16T07:00:00.000Z", seven},
		{"2025-07-16T07:00:00.5", seven.Add(500 * time.Millisecond)},
		{"2025-07-16T07:00:00.123456", seven.Add(123456 * time.Microsecond)},
		{"2025-07-16T07:00:00.123456789Z", seven.Add(123456789)},
		{"2025-07-16T09:00:00+02:00", seven},
		{"2025-07-16 09:00:00.25+0200", seven.Add(250 * time.Millisecond)},
		{"2025-07-16T09:00:00+02", seven},
		{"2025-07-16T01:30:00-05:30", seven},
		{"2025-07-16T07:00:00+00:00", seven},
		{"9999-12-31T23:59:59Z", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		{"2024-02-29T00:00:00Z", time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)},

		{"", time.Time{}},
		{"string", time.Time{}},
		{"0001-01-01T00:00:00Z", time.Time{}},
		{"0001-01-01T00:00:00+01:00", time.Time{}},
		{"9999-12-31T23:59:59-01:00", time.Time{}},
		{"2025-07-16", time.Time{}},
		{"2025-07-16T07:00", time.Time{}},
		{"2025-07-16T07:00:00.", time.Time{}},
		{"2025-07-16T07:00:00.1234567890Z", time.Time{}},
		{"2025-07-16T07:00:00ZZ", time.Time{}},
		{"2025-07-16T07:00:00+2", time.Time{}},
		{"2025-07-16T07:00:00+02:60", time.Time{}},
		{"2025-07-16T07:00:00+24:00", time.Time{}},
		{"2025-07-16T07:00:00+0a:00", time.Time{}},
		{"2025-07-16_07:00:00Z", time.Time{}},
		{"2025-13-01T00:00:00Z", time.Time{}},
		{"2025-02-29T00:00:00Z", time.Time{}},
		{"2025-07-16T24:00:00Z", time.Time{}},
		{"2025-07-16T7:00:00Z", time.Time{}},
		{"Wed, 16 Jul 2025 07:00:00 GMT", time.Time{}},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			body := fmt.Sprintf(`[{"uuid":"a","created_at":%q,"modified_at":"2025-07-16T07:00:00Z"}]`, test.text)
			got, err := sessions(t.Context(), newClient(t, serveBody(t, body)))
			if err != nil {
				t.Fatal(err)
			}
			if !got[0].Created.Equal(test.want) || got[0].Malformed != test.want.IsZero() {
				t.Errorf("got %v, malformed %t, want %v", got[0].Created, got[0].Malformed, test.want)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	tests := map[int]client.Reason{
		201: client.UnexpectedStatus, 204: client.UnexpectedStatus, 206: client.UnexpectedStatus,
		304: client.UnexpectedStatus, 400: client.UnexpectedStatus, 401: client.Unauthorized,
		403: client.Unauthorized, 404: client.NotFound, 405: client.UnexpectedStatus,
		410: client.UnexpectedStatus, 418: client.UnexpectedStatus, 422: client.UnexpectedStatus,
		429: client.RateLimited, 500: client.ServerError, 501: client.ServerError, 502: client.ServerError,
		503: client.ServerError, 504: client.ServerError, 599: client.ServerError, 600: client.UnexpectedStatus,
	}
	for status, want := range tests {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				if status >= 400 {
					_, _ = io.WriteString(w, `[{"secret":"of the body"}]`)
				}
			})
			got, err := sessions(t.Context(), newClient(t, base))
			failure := failure(t, err)
			if failure.Reason != want || failure.Status != status || len(got) != 0 {
				t.Errorf("got %+v after %d sessions, want reason %s", failure, len(got), want)
			}
			if text := err.Error(); !strings.Contains(text, fmt.Sprint(status)) || strings.Contains(text, "secret") {
				t.Errorf("the error says %q", text)
			}
		})
	}
}

// A response that is not a session list is told by the byte where it stops being
// one, and never quoted.
func TestInvalidResponse(t *testing.T) {
	const session = `{"uuid":"a","created_at":"2025-07-16T07:00:00Z","modified_at":"2025-07-16T07:00:00Z"}`
	deep := `[{"secret":` + strings.Repeat("[", 1000000)
	tests := []struct {
		name, body string
		sessions   int
		offset     int64
	}{
		{"empty", "", 0, 0},
		{"white space", "  \n", 0, -1},
		{"null", "null", 0, 0},
		{"object", `{"error":"secret"}`, 0, 0},
		{"text", `"secret"`, 0, 0},
		{"number", `17`, 0, 0},
		{"HTML", "<html>secret</html>", 0, 0},
		{"cut off in the array", "[" + session + ",", 1, -1},
		{"cut off in a session", "[" + session + `,{"secret":"`, 1, -1},
		{"data behind the array", "[" + session + `] {"secret":1}`, 1, int64(len(session)) + 3},
		{"data far behind the array", "[" + session + "]" + strings.Repeat(" ", 1<<20) + "secret", 1, int64(len(session)) + 2 + 1<<20},
		{"an element far behind that is none", "[" + session + strings.Repeat(","+session, 8000) + `,"secret"]`, 8001, int64(8001*(len(session)+1)) + 1},
		{"a syntax error far behind", "[" + session + strings.Repeat(","+session, 8000) + `,{"secret":secret}]`, 8001, int64(8001*(len(session)+1)) + 11},
		{"garbage behind the array", "[" + session + `]secret`, 1, int64(len(session)) + 2},
		{"a comma missing", "[" + session + session + "]", 1, int64(len(session)) + 1},
		{"a comma too many", "[" + session + ",]", 1, -1},
		{"an element null", "[" + session + ",null]", 1, -1},
		{"an element a list", "[" + session + `,["secret"]]`, 1, -1},
		{"an element text", `["secret"]`, 0, 1},
		{"a bare word", `[{"secret":secret}]`, 0, 11},
		{"a control character", "[{\"secret\":\"\x01\"}]", 0, -1},
		{"too deep", deep, 0, -1},
		{"a session too large", "[" + session + `,{"secret":"` + strings.Repeat("x", 2<<20) + `"}]`, 1, -1},
		{"a session of many members too large", "[" + session + `,{"secret":[` + strings.Repeat("1,", 1<<20) + `1]}]`, 1, -1},
		{"endless white space", "[" + session + strings.Repeat(" ", 3<<20) + "]", 1, -1},
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
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error quotes the body: %v", err)
			}
		})
	}
}

// A session of up to 1 MiB is fine, however full the buffers are around it.
func TestLargeSession(t *testing.T) {
	const frame = `{"uuid":"a","created_at":"2025-07-16T07:00:00Z","modified_at":"2025-07-16T07:00:00Z","x":""}`
	large := strings.Replace(frame, `"x":"`, `"x":"`+strings.Repeat("x", 1<<20-len(frame)), 1)
	got, err := sessions(t.Context(), newClient(t, serveBody(t, "["+large+","+large+","+frame+"]")))
	if err != nil || len(got) != 3 {
		t.Errorf("got %d sessions, %v; want 3", len(got), err)
	}
	_, err = sessions(t.Context(), newClient(t, serveBody(t, "["+large[:len(large)-1]+" }]")))
	if failure(t, err).Reason != client.InvalidResponse {
		t.Errorf("a session of 1 MiB and a byte: %v", err)
	}
}

// Lists are of any length, also where no session has a name that begins it.
func TestOddLists(t *testing.T) {
	const size = 11 << 17 // more than the largest buffer
	filling := strings.Repeat("x", 100)
	for name, element := range map[string]string{
		"empty objects":      "{}" + strings.Repeat(" ", 10),
		"white space":        " {" + strings.ReplaceAll(filling, "x", " ") + "} ",
		"names with escapes": `{"\u0061":"` + filling + `"}`,
		"empty names":        `{"":"` + filling + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			list := `[{"a":1}` + strings.Repeat(","+element, size/len(element))
			n := strings.Count(list, "{")
			for _, end := range []string{"]", ",]", ",1]"} {
				got, err := sessions(t.Context(), newClient(t, serveBody(t, list+end)))
				if valid := end == "]"; (err == nil) != valid || len(got) != n {
					t.Errorf("ended by %q: got %d sessions, %v; want %d", end, len(got), err, n)
				}
			}
		})
	}
}

func TestContentEncoding(t *testing.T) {
	var zipped bytes.Buffer
	compressor := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(compressor, `[{"uuid":"a"},{"uuid":"b"}]`)
	_ = compressor.Close()
	flipped := bytes.Clone(zipped.Bytes())
	flipped[len(flipped)-5] ^= 1

	tests := []struct {
		name, encoding string
		body           []byte
		want           client.Reason // none: two sessions
	}{
		{"gzip", "gzip", zipped.Bytes(), ""},
		{"gzip in capitals", "GZIP", zipped.Bytes(), ""},
		{"identity", "identity", []byte("[{},{}]"), ""},
		{"not gzip after all", "gzip", []byte("[{},{}]"), client.InvalidResponse},
		{"empty gzip", "gzip", nil, client.InvalidResponse},
		{"corrupt gzip", "gzip", flipped, client.InvalidResponse},
		{"gzip cut off", "gzip", zipped.Bytes()[:zipped.Len()-9], client.InvalidResponse},
		{"gzip with more behind it", "gzip", append(bytes.Clone(zipped.Bytes()), "more"...), client.InvalidResponse},
		{"an encoding not asked for", "br", []byte("[{},{}]"), client.InvalidResponse},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", test.encoding)
				_, _ = w.Write(test.body)
			})
			got, err := sessions(t.Context(), newClient(t, base))
			if test.want == "" {
				if err != nil || len(got) != 2 {
					t.Errorf("got %d sessions, %v; want 2", len(got), err)
				}
				return
			}
			if failure := failure(t, err); failure.Reason != test.want {
				t.Errorf("got %+v, want %s", failure, test.want)
			}
		})
	}
}

func TestRedirect(t *testing.T) {
	var stolen string
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		stolen = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, "[{}]")
	})
	tests := []struct {
		name, location string
		followed       bool
	}{
		{"the same origin", "/list", true},
		{"another port", elsewhere, false},
		{"another scheme", "https://{host}/list", false},
		{"another name for the host", "http://localhost:{port}/list", false},
		{"a loop", "/loop", false},
		{"nowhere", "", false},
	}
	for _, status := range []int{301, 302, 307, 308} {
		for _, test := range tests {
			t.Run(fmt.Sprint(status, " to ", test.name), func(t *testing.T) {
				requests := 0
				base := serve(t, func(w http.ResponseWriter, r *http.Request) {
					requests++
					if r.URL.Path == "/list" && r.Header.Get("Authorization") == "Bearer "+key {
						_, _ = io.WriteString(w, "[{}]")
						return
					}
					_, port, _ := net.SplitHostPort(r.Host)
					if test.location != "" {
						w.Header().Set("Location", strings.NewReplacer("{host}", r.Host, "{port}", port).Replace(test.location))
					}
					w.WriteHeader(status)
				})
				got, err := sessions(t.Context(), newClient(t, base))
				if test.followed {
					if err != nil || len(got) != 1 {
						t.Errorf("got %d sessions, %v; want the redirect followed", len(got), err)
					}
					return
				}
				if failure := failure(t, err); failure.Reason != client.UnexpectedStatus || failure.Status != status {
					t.Errorf("got %+v, want unexpected_status %d", failure, status)
				}
				if test.name == "a loop" && requests != 11 {
					t.Errorf("followed %d redirects, want 10", requests-1)
				}
			})
		}
	}
	if stolen != "" {
		t.Errorf("the key went elsewhere: %s", stolen)
	}
}

// redirects answers requests to api.example with a redirect and all others with an
// empty list, and remembers where those went with the key.
type redirects struct {
	location string
	strayed  []string
}

func (r *redirects) RoundTrip(request *http.Request) (*http.Response, error) {
	response := &http.Response{StatusCode: http.StatusOK, Request: request, Body: io.NopCloser(strings.NewReader("[]"))}
	if request.URL.String() == "https://api.example/api/v1/chatbot/"+chatbot+"/sessions" {
		response.StatusCode = http.StatusFound
		response.Header = http.Header{"Location": {r.location}}
	} else if request.Header.Get("Authorization") != "" {
		r.strayed = append(r.strayed, request.URL.String())
	}
	return response, nil
}

// The key stays within scheme, host and port, even where net/http would take it
// along: to a subdomain.
func TestOrigin(t *testing.T) {
	tests := map[string]bool{
		"https://api.example/x":      true,
		"https://api.example:443/x":  true,
		"/x":                         true,
		"https://evil.api.example/x": false,
		"https://api.example:444/x":  false,
		"http://api.example/x":       false,
		"http://api.example:443/x":   false,
		"//evil.example/x":           false,
	}
	for location, same := range tests {
		t.Run(location, func(t *testing.T) {
			transport := &redirects{location: location}
			_, err := sessions(t.Context(), client.New(client.Config{
				URL:       &url.URL{Scheme: "https", Host: "api.example"},
				Key:       func(context.Context) (string, error) { return key, nil },
				Transport: transport,
			}))
			if same != (err == nil) || same != (len(transport.strayed) == 1) {
				t.Errorf("got %v, the key went to %q; want the redirect followed: %t", err, transport.strayed, same)
			}
		})
	}
}

// A failure does not cost the connection.
func TestConnectionIsKept(t *testing.T) {
	connections := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"no such key"}`)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections++
		}
	}
	server.Start()
	defer server.Close()
	c := newClient(t, server.URL)
	for range 10 {
		_, err := sessions(t.Context(), c)
		if failure(t, err).Reason != client.Unauthorized {
			t.Error(err)
		}
	}
	if connections != 1 {
		t.Errorf("10 requests took %d connections", connections)
	}
}

func TestNetwork(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	tests := []struct {
		name, answer string
		want         client.Reason
	}{
		{"closed at once", "", client.Network},
		{"not HTTP", "SSH-2.0-secret\r\n", client.Network},
		{"a header that is none", "HTTP/1.1 200 OK\r\nsecret\r\n\r\n", client.Network},
		{"a redirect to no URL", "HTTP/1.1 302 Found\r\nLocation: http://%secret\r\nContent-Length: 0\r\n\r\n", client.UnexpectedStatus},
		{"cut off before Content-Length", head + "Content-Length: 100\r\n\r\n[{},", client.Network},
		{"cut off between chunks", head + "Transfer-Encoding: chunked\r\n\r\n4\r\n[{},\r\n", client.Network},
		{"whole list, cut off before Content-Length", head + "Content-Length: 100\r\n\r\n[{}]", client.Network},
		{"closed where that ends the body", head + "Connection: close\r\n\r\n[{},", client.InvalidResponse},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Read(make([]byte, 4096))
					_, _ = io.WriteString(conn, test.answer)
					_ = conn.Close()
				}
			}()
			_, err = sessions(t.Context(), newClient(t, "http://"+listener.Addr().String()))
			if failure := failure(t, err); failure.Reason != test.want {
				t.Errorf("got %+v, want %s", failure, test.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error quotes the response: %v", err)
			}
		})
	}

	t.Run("connection refused", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
		_, err = sessions(t.Context(), newClient(t, "http://"+listener.Addr().String()))
		if failure := failure(t, err); failure.Reason != client.Network || failure.Transient || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an unknown certificate", func(t *testing.T) {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		defer server.Close()
		_, err := sessions(t.Context(), newClient(t, server.URL))
		if failure := failure(t, err); failure.Reason != client.Network || failure.Transient || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("got %v", err)
		}
	})
}

func TestTimeout(t *testing.T) {
	tests := map[string]simulator.Fault{
		"no answer":       {Delay: time.Minute},
		"an endless list": {Endless: true},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			account := &simulator.Account{Key: key, Chatbots: []simulator.Chatbot{
				{UUID: chatbot, Fault: func(time.Time) simulator.Fault { return fault }},
			}}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := sessions(ctx, newClient(t, serve(t, account.ServeHTTP)))
			if failure(t, err).Reason != client.Timeout || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A list that has come, as far as the wire is concerned, ends with its context too.
func TestTimeoutOfWhatHasCome(t *testing.T) {
	var zipped bytes.Buffer
	compressor := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(compressor, "[{}"+strings.Repeat(",{}", 4<<20)+"]")
	_ = compressor.Close()
	c := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped.Bytes())
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, last = range c.Sessions(ctx, chatbot, time.Time{}, nil) {
		cancel()
	}
	if failure(t, last).Reason != client.Timeout || !errors.Is(last, context.Canceled) {
		t.Errorf("got %v", last)
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
	for _, err := range newClient(t, base).Sessions(t.Context(), chatbot, time.Time{}, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 10000 {
			break
		}
	}
	<-ended
}

// An error's status is told at once, though its body does not come.
func TestStalledErrorBody(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		w.WriteHeader(http.StatusUnauthorized)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := sessions(ctx, newClient(t, base))
	if failure(t, err).Reason != client.Unauthorized || ctx.Err() != nil {
		t.Errorf("got %v", err)
	}
}

// What HTTP/2 calls a reset is as transient as that of HTTP/1.
func TestHTTP2Reset(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("got %s", r.Proto)
		}
		if r.URL.Query().Has("start_timestamp") {
			_, _ = io.WriteString(w, "[{},")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(client.Config{
		URL:       base,
		Key:       func(context.Context) (string, error) { return key, nil },
		Transport: server.Client().Transport,
	})
	for name, since := range map[string]time.Time{"before the headers": {}, "in the body": time.Now()} {
		for _, err := range c.Sessions(t.Context(), chatbot, since, nil) {
			if failure := (*client.Error)(nil); errors.As(err, &failure) && (failure.Reason != client.Network || !failure.Transient) {
				t.Errorf("%s: got %+v, want a transient failure of the network", name, failure)
			}
		}
	}
}

// A list that has not changed is not read again.
func TestValidator(t *testing.T) {
	const etag, modified = `W/"a"`, "Wed, 16 Jul 2025 07:00:00 GMT"
	tests := map[string]http.Header{
		"ETag":          {"Etag": {etag}},
		"Last-Modified": {"Last-Modified": {modified}},
		"both":          {"Etag": {etag}, "Last-Modified": {modified}},
		"neither":       {},
	}
	for name, header := range tests {
		t.Run(name, func(t *testing.T) {
			body := "[{}]"
			var conditions []string
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				condition := r.Header.Get("If-None-Match") + r.Header.Get("If-Modified-Since")
				conditions = append(conditions, condition)
				for name, values := range header {
					w.Header()[name] = values
				}
				if condition != "" && body != "[{},{}]" {
					w.WriteHeader(http.StatusNotModified)
					return
				}
				_, _ = io.WriteString(w, body)
			})
			c := newClient(t, base)
			var known client.Validator
			fetch := func() (n int, err error) {
				for _, err := range c.Sessions(t.Context(), chatbot, time.Time{}, &known) {
					if err != nil {
						return n, err
					}
					n++
				}
				return n, nil
			}
			body = "[{},"
			if _, err := fetch(); err == nil || known != (client.Validator{}) {
				t.Errorf("a list that breaks off: got %v and %v", err, known)
			}
			body = "[{}]"
			if n, err := fetch(); n != 1 || err != nil {
				t.Errorf("got %d, %v", n, err)
			}
			n, err := fetch()
			if conditional := len(header) > 0; conditional != errors.Is(err, client.ErrNotModified) || !conditional && n != 1 {
				t.Errorf("not modified: got %d, %v", n, err)
			}
			body = "[{},{}]"
			if n, err := fetch(); n != 2 || err != nil {
				t.Errorf("modified: got %d, %v", n, err)
			}
			want := header.Get("Etag") + header.Get("Last-Modified")
			if !slices.Equal(conditions, []string{"", "", want, want}) {
				t.Errorf("asked with the conditions %q", conditions)
			}
		})
	}
}
