package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// roundTripper answers every request with a body.
type roundTripper []byte

func (body roundTripper) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body))}, nil
}

// FuzzSessions holds what the client makes of a body against what encoding/json
// makes of it.
func FuzzSessions(f *testing.F) {
	for _, body := range []string{
		`[]`, ` [ ] `, ``, `null`, `{}`, `[{}]`, `[{},]`, `[{}`, `[{}]]`, `[null]`, `[[]]`, `["a"]`, `[{}] x`,
		`[{"uuid":"a","created_at":"2025-07-16T07:00:00.000Z","modified_at":"2025-07-16 07:00:00+02:00"}]`,
		`[{"uuid":"a","created_at":"2025-07-16T07:00:00","modified_at":"2025-07-16T07:00:00.123456789-0330","meta":{"user":{"a":1}}}]`,
		`[{"meta":{"user":{},"auth_data":{"a":[{}]}},"x":1e9}]`,
		`[{"meta":{"user":{"a":1}},"meta":{"auth_data":null}}]`,
		`[{"m\u0065ta":{"us\u0065r":{"a":1}},"created_at":"2025-07-16T07:00:00\u005a"}]`,
		`[{"uuid":"","created_at":"2025-07-16T07:00:00Z","modified_at":"2025-07-16T07:00:00Z"}]`,
		`[{"meta":[],"uuid":null},{"meta":{"user":[]}},{"meta":{"auth_data":"x"}}]`,
		"[{\"\xff\":\"\\ud800\",\"meta\":{\"user\":{\"\xff\":0}}}]",
		`[{"uuid":"a","created_at":"2025-02-30T07:00:00Z","modified_at":"2024-02-29T23:59:60Z"}]`,
	} {
		f.Add([]byte(body), uint16(len(body)/2))
	}
	f.Fuzz(func(t *testing.T, body []byte, cut uint16) {
		compare(t, body)
		if bytes.HasPrefix(body, []byte("[")) && int(cut) <= len(body) {
			compare(t, pad(body, int(cut)))
		}
	})
}

// TestCut has the end of the decoder's buffer fall on each byte of a list.
func TestCut(t *testing.T) {
	body := []byte(`[{"uuid":"a\u00e9","created_at":"2025-07-16T07:00:00.000Z","modified_at":"2025-07-16 07:00:00\u005a",` +
		`"n":[-12.5e+3,{},[]],"meta":{"user":{"\"":true},"auth_data": { } , "x":null}} , {} ,{"m\u0065ta":{"auth_data":{"é":1}},"uuid":""},{"a":1}]`)
	for cut := range len(body) {
		compare(t, pad(body, cut))
		if cut%8 == 0 {
			compare(t, pad(body, cut)[:bufferSize]) // cut off there
		}
	}
}

// A comma behind the last session is an error wherever the decoder's buffer ends.
func TestLastComma(t *testing.T) {
	for _, body := range []string{`[{"a":1} , ]`, `[{"\u0061":1} , ]`, `[{} , ]`} {
		for cut := range body {
			got, err := sessions(t.Context(), newClientWith(t, "http://api.example", roundTripper(pad([]byte(body), cut))))
			if err == nil || len(got) != 2 {
				t.Errorf("%s, cut at %d: got %d sessions, %v", body, cut, len(got), err)
			}
		}
	}
}

// bufferSize is that of the decoder.
const bufferSize = 256 << 10

// pad puts a session before the first of a list, so long that the decoder's buffer
// ends at body[cut].
func pad(body []byte, cut int) []byte {
	const begin, end = `[{"x":"`, `"},`
	padding := strings.Repeat("x", bufferSize-len(begin)-len(end)+len("[")-cut)
	return append([]byte(begin+padding+end), body[len("["):]...)
}

// compare holds what the client makes of a body against the oracle.
func compare(t *testing.T, body []byte) {
	t.Helper()
	c := client.New(client.Config{
		URL:       &url.URL{Scheme: "http", Host: "api.example"},
		Key:       func(context.Context) (string, error) { return key, nil },
		Transport: roundTripper(body),
	})
	got, err := sessions(t.Context(), c)
	want, valid := oracle(body)
	if (err == nil) != valid {
		t.Fatalf("%.1000q: error %v, encoding/json says valid: %t", body, err, valid)
	}
	if valid && !slices.Equal(got, want) {
		t.Errorf("%.1000q:\n got %+v\nwant %+v", body, got, want)
	}
}

// oracle reads a session list with encoding/json.
func oracle(body []byte) (list []client.Session, valid bool) {
	var elements []json.RawMessage
	if json.Unmarshal(body, &elements) != nil || elements == nil {
		return nil, false
	}
	for _, element := range elements {
		members, ok := object(element)
		if !ok {
			return nil, false
		}
		var (
			session       client.Session
			uuid          *string
			createdOK     bool
			modifiedOK    bool
			userOK        bool
			authDataOK    bool
			meta, metaOK  = objectOrNull(members["meta"])
			uuidUnmarshal = json.Unmarshal(members["uuid"], &uuid)
		)
		session.Created, createdOK = timestamp(members["created_at"])
		session.Modified, modifiedOK = timestamp(members["modified_at"])
		session.HasLead, userOK = hasMember(meta["user"])
		session.IdentityVerified, authDataOK = hasMember(meta["auth_data"])
		session.Malformed = uuidUnmarshal != nil || uuid == nil || *uuid == "" || !createdOK || !modifiedOK || !metaOK || !userOK || !authDataOK
		list = append(list, session)
	}
	return list, true
}

func object(value json.RawMessage) (members map[string]json.RawMessage, ok bool) {
	ok = json.Unmarshal(value, &members) == nil && members != nil
	return members, ok
}

func objectOrNull(value json.RawMessage) (members map[string]json.RawMessage, ok bool) {
	if value == nil || string(value) == "null" {
		return nil, true
	}
	return object(value)
}

func hasMember(value json.RawMessage) (has, ok bool) {
	members, ok := objectOrNull(value)
	return len(members) > 0, ok
}

var spelling = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d{1,9})?)(Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?$`)

func timestamp(value json.RawMessage) (time.Time, bool) {
	var text *string
	if json.Unmarshal(value, &text) != nil || text == nil {
		return time.Time{}, false
	}
	parts := spelling.FindStringSubmatch(*text)
	if parts == nil {
		return time.Time{}, false
	}
	zone := strings.ReplaceAll(parts[3], ":", "")
	layout := "2006-01-02 15:04:05"
	switch len(zone) {
	case len("+07"):
		layout += "-07"
	case len("+0700"):
		layout += "-0700"
	default:
		layout += "Z0700"
		zone = "Z"
	}
	t, err := time.Parse(layout, parts[1]+" "+parts[2]+zone)
	if err != nil || !t.After(time.Time{}) || t.UTC().Year() > 9999 {
		return time.Time{}, false
	}
	return t.UTC(), true
}
