package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/simulator"
)

// parameterServer answers requests with the parameter in its own way.
type parameterServer struct {
	chatbot *modelChatbot
	// answer answers a request with the parameter. It may leave it to the server.
	answer  func(s *parameterServer, r *http.Request, query modelQuery) *http.Response
	etag    bool // an ETag of the list, whatever the parameter
	plain   int  // requests without the parameter
	queries int  // requests with it
}

func (s *parameterServer) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(100 * time.Millisecond)
	var response *http.Response
	if since := r.URL.Query().Get("start_timestamp"); since != "" {
		s.queries++
		at, err := time.Parse("2006-01-02T15:04:05.000Z", since)
		if err != nil {
			return nil, err
		}
		response = s.answer(s, r, modelQuery{at, time.Now(), s.chatbot.random})
	} else {
		s.plain++
		response = listResponse(s.chatbot.now())
	}
	if response == nil {
		return nil, io.EOF
	}
	response.Request = r
	response.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if s.etag {
		etag := fmt.Sprintf(`"%d"`, len(s.chatbot.versions))
		response.Header.Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			response.StatusCode, response.Body = http.StatusNotModified, http.NoBody
		}
	}
	return response, nil
}

func textResponse(status int, text string, headers ...string) *http.Response {
	response := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text))}
	for i := 0; i < len(headers); i += 2 {
		response.Header.Set(headers[i], headers[i+1])
	}
	return response
}

func listResponse(sessions []modelSession) *http.Response {
	return textResponse(http.StatusOK, sessionsJSON(sessions))
}

type parameterAnswer = func(*parameterServer, *http.Request, modelQuery) *http.Response

// filtering answers with the sessions that a filter leaves.
func filtering(filter func([]modelSession, modelQuery) ([]modelSession, int)) parameterAnswer {
	return func(s *parameterServer, _ *http.Request, query modelQuery) *http.Response {
		sessions, status := filter(slices.Clone(s.chatbot.now()), query)
		if status != 0 {
			return textResponse(status, `{"error":"bad request"}`)
		}
		return listResponse(sessions)
	}
}

// keeping answers with the sessions since a time that it derives from the parameter.
func keeping(from func(time.Time) time.Time) parameterAnswer {
	return filtering(filterBy(func(s modelSession, query modelQuery) bool {
		return !s.created.IsZero() && !s.created.Before(from(query.since))
	}))
}

// saying answers with a text.
func saying(status int, text string, headers ...string) parameterAnswer {
	return func(*parameterServer, *http.Request, modelQuery) *http.Response {
		return textResponse(status, text, headers...)
	}
}

// alternating answers in several ways in turn.
func alternating(answers ...parameterAnswer) parameterAnswer {
	return func(s *parameterServer, r *http.Request, query modelQuery) *http.Response {
		return answers[s.queries%len(answers)](s, r, query)
	}
}

// inZone takes a time for one of a zone some hours east of UTC.
func inZone(hours time.Duration) parameterAnswer {
	return keeping(func(since time.Time) time.Time { return since.Add(-hours * time.Hour) })
}

// How often a server gets the parameter in a day of a scrape each ten minutes.
const (
	often   = "often"
	daily   = "daily" // at most four times
	anytime = ""
)

// parameterServers do with the parameter what they like. Of some, nobody can know that
// they do not filter rightly, so they are not here: those that leave out sessions newer
// than the last full list only, such as a replica that lags or a cap on the oldest first
// that more sessions than there were must reach.
var parameterServers = map[string]struct {
	answer parameterAnswer
	asked  string
	etag   bool
	down   bool // the answer means what it means to other requests
}{
	"filters":                        {answer: keeping(func(t time.Time) time.Time { return t }), asked: often},
	"filters, with an ETag":          {answer: keeping(func(t time.Time) time.Time { return t }), asked: often, etag: true},
	"filters, NULL is always in":     {answer: filtering(modelWays[1].filter), asked: often},
	"does not know it":               {answer: keeping(func(time.Time) time.Time { return time.Unix(0, 0) }), asked: daily},
	"does not know it, with an ETag": {answer: keeping(func(time.Time) time.Time { return time.Unix(0, 0) }), asked: daily, etag: true},
	"refuses unknown parameters":     {answer: saying(400, `{"message":["property start_timestamp should not exist"]}`), asked: daily},
	"validation fails":               {answer: saying(422, `{"detail":[{"loc":["query"]}]}`), asked: daily},
	"has no such route":              {answer: saying(404, "Not Found"), asked: daily},
	"has no such method":             {answer: saying(405, "", "Allow", "POST"), asked: daily},
	"not acceptable":                 {answer: saying(406, ""), asked: daily},
	"a proxy without queries":        {answer: saying(414, ""), asked: daily},
	"cannot parse it":                {answer: saying(500, "ValueError"), asked: often},
	"has not implemented it":         {answer: saying(501, ""), asked: often},
	"crashes the worker":             {answer: saying(502, "<html>Bad Gateway"), asked: often},
	"overloaded by it":               {answer: saying(503, ""), asked: often},
	"a gateway's timeout":            {answer: saying(504, ""), asked: often},
	"a firewall":                     {answer: saying(403, "Request blocked"), asked: often, down: true},
	"a firewall that hangs up":       {answer: func(*parameterServer, *http.Request, modelQuery) *http.Response { return nil }, asked: often, down: true},
	"too many requests":              {answer: saying(429, "", "Retry-After", "60"), asked: anytime, down: true},
	"an error with status 200":       {answer: saying(200, `{"error":"unknown parameter"}`), asked: daily},
	"a page object":                  {answer: saying(200, `{"count":1,"next":null,"results":[]}`), asked: daily},
	"a web page":                     {answer: saying(200, "<!DOCTYPE html><title>Log in</title>"), asked: daily},
	"null for no sessions":           {answer: saying(200, "null"), asked: daily},
	"an empty body":                  {answer: saying(200, ""), asked: daily},
	"nothing":                        {answer: saying(200, "[]"), asked: daily},
	"no content":                     {answer: saying(204, ""), asked: daily},
	"a range":                        {answer: saying(206, "[]", "Content-Range", "items 0-0/100"), asked: daily},
	"redirects to log in":            {answer: saying(302, "", "Location", "http://login.example/?next=/"), asked: daily},
	"not modified for no reason":     {answer: saying(304, ""), asked: daily},
	"a line for each":                {answer: saying(200, "{}\n{}\n"), asked: daily},
	"a page with a link": {answer: func(s *parameterServer, _ *http.Request, query modelQuery) *http.Response {
		sessions, _ := capped(3, true)(slices.Clone(s.chatbot.now()), query)
		return textResponse(200, sessionsJSON(sessions), "Link", `<?page=2>; rel="next"`)
	}, asked: daily},
	"a redirect loses it": {answer: func(_ *parameterServer, r *http.Request, _ modelQuery) *http.Response {
		return textResponse(308, "", "Location", r.URL.Path)
	}, asked: daily},
	"by date":                  {answer: keeping(func(t time.Time) time.Time { return t.Truncate(24 * time.Hour) }), asked: anytime},
	"by the next date":         {answer: keeping(func(t time.Time) time.Time { return t.Truncate(24 * time.Hour).Add(24 * time.Hour) }), asked: daily},
	"by month":                 {answer: keeping(func(t time.Time) time.Time { return t.AddDate(0, 0, 1-t.Day()).Truncate(24 * time.Hour) }), asked: anytime},
	"by minute":                {answer: keeping(func(t time.Time) time.Time { return t.Truncate(time.Minute) }), asked: anytime},
	"by hour, rounded up":      {answer: keeping(func(t time.Time) time.Time { return t.Truncate(time.Hour).Add(time.Hour) }), asked: anytime},
	"in the zone of Berlin":    {answer: inZone(2), asked: daily},
	"in the zone of New York":  {answer: inZone(-5), asked: daily},
	"in the zone of Kolkata":   {answer: keeping(func(t time.Time) time.Time { return t.Add(-330 * time.Minute) }), asked: daily},
	"milliseconds for seconds": {answer: keeping(func(t time.Time) time.Time { return time.UnixMilli(t.Unix()) }), asked: daily},
	"no number, so now":        {answer: filtering(filterBy(func(s modelSession, q modelQuery) bool { return !s.created.Before(q.now) })), asked: daily},
	"by modification":          {answer: filtering(filterBy(func(s modelSession, q modelQuery) bool { return !s.modified.Before(q.since) })), asked: anytime},
	"after, not from":          {answer: filtering(filterBy(func(s modelSession, q modelQuery) bool { return s.created.After(q.since) })), asked: anytime},
	"before, not after":        {answer: filtering(filterBy(func(s modelSession, q modelQuery) bool { return s.created.Before(q.since) })), asked: daily},
	"compares text": {answer: filtering(filterBy(func(s modelSession, q modelQuery) bool {
		return s.createdJSON >= strconv.Quote(q.since.Format(time.RFC3339))
	})), asked: anytime},
	"without sessions to come":    {answer: filtering(modelWays[13].filter), asked: anytime},
	"the last hour":               {answer: filtering(filterBy(func(s modelSession, q modelQuery) bool { return s.created.After(q.now.Add(-time.Hour)) })), asked: anytime},
	"the newest 5":                {answer: filtering(capped(5, true)), asked: daily},
	"the newest 15":               {answer: filtering(capped(15, true)), asked: anytime},
	"the oldest 2":                {answer: filtering(capped(2, false)), asked: daily},
	"a join has each twice":       {answer: filtering(modelWays[24].filter), asked: daily},
	"a join has one twice":        {answer: filtering(modelWays[25].filter), asked: anytime},
	"a join leaves out others":    {answer: filtering(modelWays[26].filter), asked: anytime},
	"two backends":                {answer: alternating(inZone(0), inZone(2)), asked: anytime},
	"three backends":              {answer: alternating(inZone(0), inZone(-2), saying(500, "")), asked: anytime},
	"a backend that forgets some": {answer: filtering(modelWays[27].filter), asked: anytime},
}

// Whatever a server does with the parameter, a day of scrapes never has a wrong number,
// and the chatbot is up.
func TestParameterServers(t *testing.T) {
	for name, test := range parameterServers {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				synctest.Test(t, func(t *testing.T) {
					chatbot := &modelChatbot{
						uuid: modelled, random: rand.New(rand.NewPCG(seed, 2)), times: map[time.Time]bool{}, versions: [][]modelSession{nil},
					}
					server := &parameterServer{chatbot: chatbot, answer: test.answer, etag: test.etag}
					api := client.New(client.Config{
						URL:       &url.URL{Scheme: "http", Host: modelHost},
						Key:       func(context.Context) (string, error) { return "key", nil },
						Transport: server,
					})
					source := newSource(api, 1, prometheus.NewRegistry(), log.NewNopLogger(), incremental(2*time.Hour, time.Hour))
					visit := func(ago time.Duration, odd bool) {
						sessions := slices.Clone(chatbot.now())
						chatbot.lastID++
						now := time.Now().UTC()
						s := chatbot.newSession(now.Add(-ago))
						if s.created.Before(now.Add(-ago-time.Minute)) || s.created.IsZero() {
							s.created = now.Add(-ago - time.Second)
						}
						s.createdJSON = strconv.Quote(s.created.Format(time.RFC3339Nano))
						if odd && chatbot.random.IntN(10) == 0 {
							s.created, s.createdJSON, s.malformed = time.Time{}, "null", true
						}
						s.write()
						sessions = append(sessions, s)
						chatbot.versions = append(chatbot.versions, sessions)
					}
					for i := range 40 {
						visit(time.Duration(i)*time.Hour/2+time.Minute, true)
					}
					if seed == 1 {
						visit(-30*time.Hour, false)
					}
					const scrapes = 24 * 6
					for i := range scrapes {
						time.Sleep(10*time.Minute - time.Duration(chatbot.random.IntN(60))*time.Second)
						for range chatbot.random.IntN(3) {
							visit(time.Duration(chatbot.random.IntN(300))*time.Second, false)
						}
						if chatbot.random.IntN(10) == 0 { // changes before the cut-off would be seen later
							sessions := slices.Clone(chatbot.now())
							n := len(sessions) - 1 - chatbot.random.IntN(3)
							if chatbot.random.IntN(2) == 0 {
								sessions[n].lead, sessions[n].modified = true, time.Now().UTC()
								sessions[n].write()
							} else if time.Since(sessions[n].created) < 100*time.Minute {
								sessions = slices.Delete(sessions, n, n+1)
							}
							chatbot.versions = append(chatbot.versions, sessions)
						}
						got := fetchOne(t.Context(), source, modelled)
						if got.Err != nil && !test.down {
							t.Fatalf("seed %d, scrape %d: %v", seed, i, got.Err)
						}
						if want := tallyOf(chatbot.now()); got.Err == nil && got.Numbers.Counts != want {
							t.Fatalf("seed %d, scrape %d after %d and %d requests: got %+v\nwant %+v", seed, i, server.plain, server.queries, got.Numbers.Counts, want)
						}
					}
					if test.asked == often && server.queries < scrapes/2 || test.asked == daily && server.queries > 4 {
						t.Errorf("got the parameter %d times, want it %s", server.queries, test.asked)
					}
					if most := 2*scrapes + 10; server.plain+server.queries > 3*most || test.asked != often && !test.down && server.plain+server.queries > most {
						t.Errorf("%d requests in %d scrapes", server.plain+server.queries, scrapes)
					}
				})
			}
		})
	}
}

// A 429 to one chatbot keeps another from its full list, which it needs after a strange
// answer to the parameter.
func TestPauseBeforeFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		for i := range 3 {
			m.sessions[i] = simulator.Session{Number: i, Created: midnight.Add(-time.Duration(i) * time.Minute), Modified: midnight}
		}
		api := client.New(client.Config{
			URL:       &url.URL{Scheme: "http", Host: modelHost},
			Key:       func(context.Context) (string, error) { return "key", nil },
			Transport: limiting{m},
		})
		source := newSource(api, 2, prometheus.NewRegistry(), log.NewNopLogger(), incremental(time.Hour, time.Hour))
		if got := fetchOne(t.Context(), source, modelled); got.Err != nil {
			t.Fatal(got.Err)
		}
		m.forbids = http.StatusBadRequest
		fetched := make(chan fetch.Result)
		go func() { fetched <- fetchOne(t.Context(), source, modelled) }()
		synctest.Wait()
		fetchOne(t.Context(), source, limited)
		got := <-fetched
		if fetch.ReasonOf(got.Err) != client.RateLimited || len(m.requests) != 2 || time.Since(midnight) != time.Second {
			t.Errorf("got %v after %d requests and %v", got.Err, len(m.requests), time.Since(midnight))
		}
		time.Sleep(time.Minute)
		if got := fetchOne(t.Context(), source, modelled); got.Err != nil || got.Numbers.Counts != m.tally() {
			t.Errorf("after the pause: got %+v", got)
		}
	})
}

const limited = "7f5e5376dbf045cd8c72c60f428653d2"

// limiting answers 429 for one chatbot, and for others a second later if there is a
// parameter.
type limiting struct{ *model }

func (l limiting) RoundTrip(request *http.Request) (*http.Response, error) {
	if endpointOf(request) == limited {
		return textResponse(http.StatusTooManyRequests, "", "Retry-After", "30"), nil
	}
	if request.URL.RawQuery != "" {
		time.Sleep(time.Second)
	}
	return l.model.RoundTrip(request)
}

// A 304 to the full list does not count if the answer to the parameter has shown that the
// list has changed: a validator may be of less than the list.
func TestWrongNotModified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.etag, m.partETag = `"never changes"`, noETag
		add := func(number int, age time.Duration) {
			created := time.Now().Add(-age)
			m.sessions[number] = simulator.Session{Number: number, Created: created, Modified: created}
		}
		for i := range 20 {
			add(i, time.Duration(i)*10*time.Minute)
		}
		source := m.source(log.NewNopLogger(), incremental(time.Hour, time.Hour))
		want := func() {
			t.Helper()
			if got := fetchOne(t.Context(), source, modelled); got.Err != nil || got.Numbers.Counts != m.tally() {
				t.Errorf("at %v: got %+v, %v, want %+v", time.Since(midnight), got.Numbers.Counts, got.Err, m.tally())
			}
			time.Sleep(7 * time.Minute)
		}
		want()
		delete(m.sessions, 1)
		delete(m.sessions, 2)
		want()
		for i := range 20 {
			add(100+i, 0)
			want()
		}
	})
}

// New sessions without a readable creation time in an answer to the parameter make the
// full list be fetched.
func TestNewUndated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		for i := range 5 {
			m.sessions[i] = simulator.Session{Number: i, Created: midnight.Add(-time.Duration(i) * time.Minute), Modified: midnight}
		}
		m.account.IgnoreTimestamps = true // all sessions are recent
		source := m.source(log.NewNopLogger(), incremental(time.Hour, time.Hour))
		for i := range 6 {
			if got := fetchOne(t.Context(), source, modelled); got.Err != nil || got.Numbers.Counts != m.tally() {
				t.Errorf("step %d: got %+v, %v, want %+v", i, got.Numbers.Counts, got.Err, m.tally())
			}
			m.sessions[10+i] = simulator.Session{Number: 10 + i, Modified: midnight}
			time.Sleep(time.Minute)
		}
	})
}

// If the parameter or a condition makes requests fail in any way, the next fetch is without
// it.
func TestRequestsThatFail(t *testing.T) {
	tests := map[string]func(*http.Request) (*http.Response, error){
		"the parameter hangs": func(r *http.Request) (*http.Response, error) {
			if r.URL.RawQuery == "" {
				return nil, nil
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"the parameter breaks the connection": func(r *http.Request) (*http.Response, error) {
			if r.URL.RawQuery == "" {
				return nil, nil
			}
			return nil, io.ErrUnexpectedEOF
		},
		"the parameter is answered with what is not HTTP": func(r *http.Request) (*http.Response, error) {
			if r.URL.RawQuery == "" {
				return nil, nil
			}
			return nil, errors.New("malformed HTTP response")
		},
		"the condition is refused": func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("If-None-Match") == "" {
				return nil, nil
			}
			return textResponse(http.StatusPreconditionFailed, ""), nil
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel()
				m.etag = `"a"`
				m.sessions[0] = simulator.Session{Created: midnight.Add(-time.Minute), Modified: midnight}
				m.fails = test
				source := m.source(log.NewNopLogger(), incremental(time.Hour, 10*time.Hour))
				down := 0
				for range 10 {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					if got := fetchOne(ctx, source, modelled); got.Err != nil {
						down++
					}
					cancel()
					time.Sleep(time.Minute)
				}
				if down > 5 {
					t.Errorf("down in %d of 10 scrapes", down)
				}
			})
		})
	}
}
