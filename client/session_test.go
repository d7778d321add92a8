package client_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

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
		{"uuid empty", `{` + strings.Replace(shape, `"a"`, `""`, 1) + `}`, malformed},
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
	type timestamp struct {
		text string
		want time.Time // zero: unreadable
	}
	tests := []timestamp{
		{"2025-07-16T07:00:00Z", seven},
		{"2025-07-16T07:00:00", seven},
		{"2025-07-16 07:00:00", seven},
		{"2025-07-16 07:00:00Z", seven},
		{"2025-07-16T07:00:00.000Z", seven},
		{"2025-07-16T07:00:00.5", seven.Add(500 * time.Millisecond)},
		{"2025-07-16T07:00:00.123456", seven.Add(123456 * time.Microsecond)},
		{"2025-07-16T07:00:00.123456789Z", seven.Add(123456789)},
		{"2025-07-16T00:00:00Z", seven.Add(-7 * time.Hour)},
		{"2025-07-16T23:59:59Z", seven.Add(17*time.Hour - time.Second)},
		{"2025-07-15T09:18:27Z", seven.Add(-24*time.Hour + 2*time.Hour + 18*time.Minute + 27*time.Second)},
		{"2025-07-16T09:00:00+02:00", seven},
		{"2025-07-16 09:00:00.25+0200", seven.Add(250 * time.Millisecond)},
		{"2025-07-16T09:00:00+02", seven},
		{"2025-07-16T14:00:00+07", seven},
		{"2025-07-16T14:00:00+0700", seven},
		{"2025-07-16T14:00:00+07:00", seven},
		{"2025-07-16T00:00:00-07", seven},
		{"2025-07-16T00:00:00-0700", seven},
		{"2025-07-16T01:30:00-05:30", seven},
		{"2025-07-16T12:45:00+0545", seven},
		{"2025-07-16T07:00:00+00:00", seven},
		{"2025-07-17T06:59:00+23:59", seven},
		{"2025-07-17T06:59:00+2359", seven},
		{"2025-07-15T07:01:00-23:59", seven},
		{"2025-07-17T06:00:00+23", seven},
		{"9999-12-31T23:59:59Z", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		{"9999-12-31T23:59:59.999999999Z", time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)},
		{"0001-01-01T00:00:01Z", time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)},
		{"0001-01-01T00:00:00.000000001Z", time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)},
		{"2024-02-29T00:00:00Z", time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)},

		{"", time.Time{}},
		{"string", time.Time{}},
		{"0000-01-01T00:00:00Z", time.Time{}},
		{"0001-01-01T00:00:00Z", time.Time{}},
		{"0001-01-01T00:00:00+01:00", time.Time{}},
		{"9999-12-31T23:59:59-01:00", time.Time{}},
		{"9999-12-31T23:59:00-00:01", time.Time{}},
		{"2025-07-16", time.Time{}},
		{"2025-07-16T", time.Time{}},
		{"2025-07-16T07:00", time.Time{}},
		{"2025-07-16T07:00:0", time.Time{}},
		{"2025-07-16T07:00:00.", time.Time{}},
		{"2025-07-16T07:00:00.Z", time.Time{}},
		{"2025-07-16T07:00:00,5Z", time.Time{}},
		{"2025-07-16T07:00:00.1234567890Z", time.Time{}},
		{"2025-07-16T07:00:00ZZ", time.Time{}},
		{"2025-07-16T07:00:00z", time.Time{}},
		{"2025-07-16T07:00:00+", time.Time{}},
		{"2025-07-16T07:00:00+2", time.Time{}},
		{"2025-07-16T07:00:00+070", time.Time{}},
		{"2025-07-16T07:00:00+07:0", time.Time{}},
		{"2025-07-16T07:00:00+07:00:00", time.Time{}},
		{"2025-07-16T07:00:00+07-00", time.Time{}},
		{"2025-07-16T07:00:00 07:00", time.Time{}},
		{"2025-07-16T07:00:00Z07:00", time.Time{}},
		{"2025-07-16T07:00:00+00:60", time.Time{}},
		{"2025-07-16T07:00:00+0060", time.Time{}},
		{"2025-07-16T07:00:00+02:60", time.Time{}},
		{"2025-07-16T07:00:00+24:00", time.Time{}},
		{"2025-07-16T07:00:00-24:00", time.Time{}},
		{"2025-07-16T07:00:00+2400", time.Time{}},
		{"2025-07-16T07:00:00+24", time.Time{}},
		{"2025-07-16T07:00:00+0a:00", time.Time{}},
		{"2025-07-16_07:00:00Z", time.Time{}},
		{"2025-07-16t07:00:00Z", time.Time{}},
		{"2025-07-16T07-00:00Z", time.Time{}},
		{"2025-07-16T07:00-00Z", time.Time{}},
		{"2025-13-01T00:00:00Z", time.Time{}},
		{"2025-02-29T00:00:00Z", time.Time{}},
		{"2025-07-16T24:00:00Z", time.Time{}},
		{"2025-07-16T23:60:00Z", time.Time{}},
		{"2025-07-16T23:59:60Z", time.Time{}},
		{"2025-07-16T7:00:00Z", time.Time{}},
		{"Wed, 16 Jul 2025 07:00:00 GMT", time.Time{}},
	}
	const digits = "123456789"
	for n := range len(digits) {
		nanoseconds, _ := strconv.Atoi((digits[:n+1] + "000000000")[:len(digits)])
		tests = append(tests, timestamp{"2025-07-16T07:00:00." + digits[:n+1] + "Z", seven.Add(time.Duration(nanoseconds))})
	}
	for _, other := range "/:=" { // '0'-1, '9'+1, and one further off
		for _, text := range []string{"2025-07-16T07:00:00.25+07:30", "2025-07-16T07:00:00+0730", "2025-07-16T07:00:00+07"} {
			for at, digit := range text {
				if unicode.IsDigit(digit) {
					tests = append(tests, timestamp{text: text[:at] + string(other) + text[at+1:]})
				}
			}
		}
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			const good = "2025-07-16T07:00:00Z"
			// The text comes first, after another date, and after the same text.
			body := fmt.Sprintf(`[{"uuid":"a","created_at":%q,"modified_at":%q},{"uuid":"b","created_at":%[2]q,"modified_at":%[1]q},{"uuid":"c","created_at":%[1]q,"modified_at":%[1]q}]`, test.text, good)
			want := func(created, modified time.Time) client.Session {
				return client.Session{Created: created, Modified: modified, Malformed: test.want.IsZero()}
			}
			got, err := sessions(t.Context(), newClientWith(t, "http://api.example", roundTripper(body)))
			if want := []client.Session{want(test.want, seven), want(seven, test.want), want(test.want, test.want)}; err != nil || !slices.Equal(got, want) {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

// The first date of a list is parsed, whatever its bytes.
func TestDateOfZeroBytes(t *testing.T) {
	zeros := strings.Repeat(`\u0000`, len("2025-07-16"))
	body := `[{"uuid":"a","created_at":"` + zeros + `T10:00:00Z","modified_at":"2025-07-16T07:00:00Z"}]`
	got, err := sessions(t.Context(), newClientWith(t, "http://api.example", roundTripper(body)))
	if err != nil || len(got) != 1 || !got[0].Created.IsZero() || !got[0].Malformed {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A time without a Date is that of the wall clock alone: a Date has no monotonic clock to
// compare with, and the wall clock may be set back.
func TestDateIsWallClock(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		_, _ = io.WriteString(w, "[]")
	})
	response, err := newClient(t, base).Sessions(t.Context(), chatbot, client.SessionsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range response.Sessions {
	}
	if monotonic := "m="; !response.Date.Equal(response.Received) || strings.Contains(response.Date.String(), monotonic) {
		t.Errorf("got %v, received at %v", response.Date, response.Received)
	}
}
