package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// modelHost is where the API is.
const modelHost = "api.example"

// modelAnswer is what the server answered to a request for sessions.
type modelAnswer struct {
	received time.Time // when its headers came
	since    time.Time // the parameter, zero if there was none
	version  int       // the list that was true
	date     time.Time // by the Date header, else received
	// sent are the sessions of an answer that is a list in form, or 304.
	sent   []modelSession
	isList bool
	status int
	// reasons are those that fit a fetch that failed because of this answer.
	reasons []client.Reason
}

// modelPause is a time for which the server wants no requests, both ends exclusive.
type modelPause struct {
	from, to time.Time
	reason   client.Reason
}

// modelServer is the account's server, and a transport to it.
type modelServer struct {
	checker *modelChecker

	mutex    sync.Mutex
	random   map[string]*rand.Rand // by path, so that the order of concurrent requests does not matter
	seed     uint64
	chatbots []*modelChatbot
	clock    time.Duration // of the API, ahead of ours
	key      string        // that it accepts
	etags    int           // 0: none, 1: strong, 2: weak
	modified bool          // sends Last-Modified
	caching  bool          // a cache on the way answers requests that allow it
	dates    bool          // Date may be missing, unreadable or by another clock

	// calm servers answer each plain request with the whole list, soon. They are
	// settled when what they did before is over. way is what they do with the parameter.
	calm, settled bool
	way           int

	answers  map[string][]modelAnswer // by UUID
	pauses   map[string][]modelPause  // by UUID, "chatbots" or "" for the account
	requests map[string]int           // without redirects, by kindOf
	underWay map[string]int           // by UUID or "chatbots"
	spells   map[string]time.Time     // until when an endpoint is transiently down
}

// now is the time by the clock of the API.
func (s *modelServer) now() time.Time { return time.Now().Add(s.clock).UTC() }

// endpointOf returns the UUID of the chatbot of a request, or "chatbots".
func endpointOf(request *http.Request) string {
	parts := strings.Split(request.URL.Path, "/")
	if len(parts) == 6 {
		return parts[4]
	}
	return "chatbots"
}

// kindOf is the endpoint of a request, with a question mark if it has the parameter.
func kindOf(request *http.Request, endpoint string) string {
	if request.URL.RawQuery != "" {
		return endpoint + "?"
	}
	return endpoint
}

func isConditional(request *http.Request) bool {
	return request.Header.Get("If-None-Match")+request.Header.Get("If-Modified-Since") != ""
}

// notModified is what kinds of requests that were answered 304 end with.
const notModified = " not modified"

// firstRequest returns the request that was redirected to this one.
func firstRequest(request *http.Request) *http.Request {
	for request.Response != nil {
		request = request.Response.Request
	}
	return request
}

func (s *modelServer) RoundTrip(request *http.Request) (*http.Response, error) {
	s.mutex.Lock()
	endpoint := endpointOf(request)
	isFirst := request.Response == nil
	s.underWay[endpoint]++
	if isFirst {
		s.requests[kindOf(request, endpoint)]++
	}
	s.checker.request(s, request, endpoint, isFirst)
	reply := s.reply(request, endpoint)
	if kind := kindOf(request, endpoint); isFirst && isConditional(request) && reply.answer.status == http.StatusNotModified {
		s.requests[kind]--
		s.requests[kind+notModified]++
	}
	s.mutex.Unlock()

	ended := func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.underWay[endpoint]--
	}
	select {
	case <-time.After(reply.delay):
	case <-request.Context().Done():
		ended()
		return nil, request.Context().Err()
	}
	s.mutex.Lock()
	reply.answer.received = time.Now()
	if reply.answer.date.IsZero() {
		reply.answer.date = reply.answer.received
	}
	s.answers[endpoint] = append(s.answers[endpoint], reply.answer)
	s.begin(endpoint, reply)
	s.checker.note("%s: answers %s", short(endpoint), reply.what)
	s.mutex.Unlock()
	if reply.err != nil {
		ended()
		return nil, reply.err
	}
	body := reply.body
	body.ctx, body.closed, body.ended = request.Context(), make(chan struct{}), ended
	reply.response.Body, reply.response.Request = body, request
	return reply.response, nil
}

// begin begins the pause that an answer asks for.
func (s *modelServer) begin(endpoint string, r *modelReply) {
	if r.response == nil {
		return
	}
	status, header := r.response.StatusCode, r.response.Header
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return
	}
	var wait time.Duration
	value := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if until, err := http.ParseTime(value); err == nil {
		wait = until.Sub(r.answer.date)
	} else if status == http.StatusTooManyRequests {
		wait = 30 * time.Second
	}
	wait = min(wait, 15*time.Minute)
	if wait <= 0 {
		return
	}
	key, reason := endpoint, client.ServerError
	if status == http.StatusTooManyRequests {
		key, reason = "", client.RateLimited
	}
	now := time.Now()
	s.pauses[key] = append(s.pauses[key], modelPause{now, now.Add(wait), reason})
	s.checker.note("pause of %q for %v", short(key), wait)
}

// paused returns the end of the pause of an endpoint that goes on, and why.
func (s *modelServer) paused(endpoint string, at time.Time) (until time.Time, reasons []client.Reason) {
	for _, key := range []string{"", endpoint} {
		for _, p := range s.pauses[key] {
			if at.Before(p.to) && !at.Before(p.from) {
				reasons = append(reasons, p.reason)
				if p.from.Before(at) && p.to.After(until) {
					until = p.to
				}
			}
		}
	}
	return until, reasons
}

// modelReply is an answer and how it is sent.
type modelReply struct {
	what     string // for the history
	delay    time.Duration
	response *http.Response
	body     *modelBody
	err      error
	answer   modelAnswer
}

// modelBody is a body that arrives in pieces.
type modelBody struct {
	pieces [][]byte
	delay  time.Duration // before each piece but the first
	end    error         // after the last piece
	read   int

	ctx    context.Context
	once   sync.Once
	closed chan struct{}
	ended  func()
}

func (b *modelBody) Read(p []byte) (int, error) {
	select {
	case <-b.closed:
		return 0, http.ErrBodyReadAfterClose
	default:
	}
	if b.read == len(b.pieces) {
		return 0, b.end
	}
	if b.read > 0 && b.delay > 0 {
		select {
		case <-time.After(b.delay):
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		case <-b.closed:
			return 0, http.ErrBodyReadAfterClose
		}
	}
	n := copy(p, b.pieces[b.read])
	if b.pieces[b.read] = b.pieces[b.read][n:]; len(b.pieces[b.read]) == 0 {
		b.read++
	}
	return n, nil
}

func (b *modelBody) Close() error {
	b.once.Do(func() { close(b.closed); b.ended() })
	return nil
}

// reply decides what to answer.
func (s *modelServer) reply(request *http.Request, endpoint string) *modelReply {
	random := s.random[endpoint]
	if random == nil {
		hash := fnv.New64()
		_, _ = io.WriteString(hash, endpoint)
		random = rand.New(rand.NewPCG(s.seed, hash.Sum64()))
		s.random[endpoint] = random
	}
	r := &modelReply{response: &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: -1, ProtoMajor: 1}, body: &modelBody{end: io.EOF}}
	r.delay = time.Duration(1+random.IntN(200)) * time.Millisecond
	r.body.delay = time.Duration(random.IntN(20)) * time.Millisecond
	r.setDate(s, random)
	if since, err := time.Parse(time.RFC3339, firstRequest(request).URL.Query().Get("start_timestamp")); err == nil {
		r.answer.since = since
	}
	i := slices.IndexFunc(s.chatbots, func(c *modelChatbot) bool { return c.uuid == endpoint })
	if i >= 0 {
		chatbot := s.chatbots[i]
		if random.IntN(4) == 0 {
			chatbot.change(s.now())
		}
		r.answer.version = len(chatbot.versions) - 1
		defer func() {
			if random.IntN(8) == 0 {
				chatbot.change(s.now()) // after the server has read its list
			}
		}()
	}
	if request.Header.Get("Authorization") != "Bearer "+s.key {
		r.status([]int{401, 401, 403, 422}[random.IntN(4)])
		return r
	}
	if !s.calm {
		if random.IntN(30) == 0 {
			s.spells[endpoint] = time.Now().Add(2 * time.Second)
		}
		if time.Now().Before(s.spells[endpoint]) {
			r.status([]int{502, 503, 504}[random.IntN(3)])
			return r
		}
		switch random.IntN(20) {
		case 0, 1, 2, 3:
			r.fail(s, request, random)
			return r
		case 4:
			s.redirect(r, request, random)
			return r
		case 5:
			r.delay = time.Duration(random.IntN(20)) * time.Second
		case 6:
			r.delay = 24 * time.Hour
			r.what = "never"
			return r
		}
	}
	if i < 0 {
		var list []string
		for _, c := range s.chatbots {
			list = append(list, fmt.Sprintf(`{"uuid":%q,"name":%q}`, c.uuid, short(c.uuid)))
		}
		r.what = "the chatbots"
		r.setBody("["+strings.Join(list, ",")+"]", random)
		r.answer.isList = true
	} else {
		s.list(r, request, s.chatbots[i], random)
	}
	if !s.calm && r.response.StatusCode == http.StatusOK && random.IntN(6) == 0 {
		r.spoil(random, i >= 0)
	}
	return r
}

// setDate sets the Date header.
func (r *modelReply) setDate(s *modelServer, random *rand.Rand) {
	date := s.now()
	if s.dates {
		switch random.IntN(6) {
		case 0:
			return
		case 1:
			r.response.Header.Set("Date", "yesterday")
			return
		case 2:
			if !s.modified { // a Date by another clock than Last-Modified cannot be told
				date = date.Add(time.Duration(random.IntN(100)-50) * time.Hour)
			}
		}
	}
	r.response.Header.Set("Date", date.Format(http.TimeFormat))
	r.answer.date = date.Truncate(time.Second)
}

// list answers with the sessions of a chatbot, or with what the server takes for them
// if there is a parameter.
func (s *modelServer) list(r *modelReply, request *http.Request, chatbot *modelChatbot, random *rand.Rand) {
	sessions := slices.Clone(chatbot.now())
	way := s.way
	if !s.calm && random.IntN(3) == 0 {
		way = random.IntN(len(modelWays))
	}
	hasParameter := request.URL.RawQuery != ""
	r.what = fmt.Sprintf("version %d", r.answer.version)
	right := true
	if hasParameter {
		r.what += fmt.Sprintf(" since %s: %s", r.answer.since.Format("02T15:04:05"), modelWays[way].name)
		var status int
		sessions, status = modelWays[way].filter(sessions, modelQuery{r.answer.since, s.now(), random})
		if status != 0 {
			r.status(status)
			return
		}
		recent, _ := createdSince(chatbot.now(), r.answer.since)
		right = slices.Equal(recent, sessions)
	}
	random.Shuffle(len(sessions), func(i, j int) { sessions[i], sessions[j] = sessions[j], sessions[i] })
	r.answer.sent, r.answer.isList = sessions, true
	header := r.response.Header
	sorted := slices.SortedFunc(slices.Values(sessions), func(a, b modelSession) int { return a.id - b.id })
	text := sessionsJSON(sorted)
	if s.etags > 0 {
		hash := fnv.New64()
		_, _ = io.WriteString(hash, text)
		etag := fmt.Sprintf(`"%x"`, hash.Sum64())
		if s.etags == 2 {
			etag = "W/" + etag
		}
		header.Set("ETag", etag)
	}
	if s.modified && right {
		header.Set("Last-Modified", chatbot.changed.Format(http.TimeFormat))
	}
	if condition := request.Header.Get("If-None-Match"); condition != "" {
		if condition == header.Get("ETag") {
			r.response.StatusCode = http.StatusNotModified
		}
	} else if condition := request.Header.Get("If-Modified-Since"); condition != "" && right {
		if since, _ := http.ParseTime(condition); !chatbot.changed.Truncate(time.Second).After(since) {
			r.response.StatusCode = http.StatusNotModified
		}
	}
	if r.response.StatusCode == http.StatusNotModified {
		r.what += ", not modified"
		r.answer.status = http.StatusNotModified
		return
	}
	if s.caching && request.Header.Get("Cache-Control") != "no-cache" {
		r.what += " (old)"
		old := max(0, r.answer.version-3)
		r.setBody(sessionsJSON(chatbot.versions[old]), random)
		return
	}
	r.setBody(sessionsJSON(sessions), random)
}

// setBody sends a body in one of the usual ways.
func (r *modelReply) setBody(text string, random *rand.Rand) {
	content := []byte(text)
	if random.IntN(3) == 0 {
		content = gzipped(content)
		r.response.Header.Set("Content-Encoding", "gzip")
	}
	if random.IntN(2) == 0 {
		r.response.ContentLength = int64(len(content))
	}
	for len(content) > 0 {
		n := min(len(content), 1+random.IntN(8000))
		r.body.pieces, content = append(r.body.pieces, content[:n]), content[n:]
	}
}

// gzipped does not compress, which would take most of the time of the test.
func gzipped(content []byte) []byte {
	var buffer bytes.Buffer
	writer, _ := gzip.NewWriterLevel(&buffer, gzip.NoCompression)
	_, _ = writer.Write(content)
	_ = writer.Close()
	return buffer.Bytes()
}

// status answers with a status.
func (r *modelReply) status(status int) {
	r.what += fmt.Sprintf(" %d", status)
	r.response.StatusCode, r.answer.status = status, status
	r.response.ContentLength = int64(len(visitor))
	r.body.pieces = [][]byte{[]byte(visitor)}
	r.answer.isList, r.answer.sent = false, nil
	r.answer.reasons = []client.Reason{client.UnexpectedStatus}
	switch {
	case status == 401 || status == 403 || status == 422 && r.answer.since.IsZero():
		r.answer.reasons[0] = client.Unauthorized
	case status == 404:
		r.answer.reasons[0] = client.NotFound
	case status == 429:
		r.answer.reasons[0] = client.RateLimited
	case status >= 500:
		r.answer.reasons[0] = client.ServerError
	}
}

// fail answers with anything but a list.
func (r *modelReply) fail(s *modelServer, request *http.Request, random *rand.Rand) {
	statuses := []int{201, 202, 203, 204, 206, 300, 304, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 413, 418,
		422, 422, 429, 429, 429, 429, 451, 500, 500, 501, 502, 503, 503, 503, 503, 503, 504, 505, 520, 599}
	n := random.IntN(len(statuses) + 5)
	if n >= len(statuses) {
		failures := []error{
			io.EOF, io.ErrUnexpectedEOF, errors.New("http2: client connection lost"),
			&net.OpError{Op: "read", Err: syscall.ECONNRESET}, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		}
		r.response, r.err = nil, failures[n-len(statuses)]
		r.answer.reasons = []client.Reason{client.Network}
		r.what = r.err.Error()
		return
	}
	if statuses[n] == http.StatusNotModified && isConditional(request) {
		n = 0 // nobody can know that it is wrong
	}
	r.status(statuses[n])
	wait := []int{0, 1, 5, 20, 90, 600, 7200}[random.IntN(7)]
	switch random.IntN(4) {
	case 0:
		r.response.Header.Set("Retry-After", strconv.Itoa(wait))
	case 1, 2:
		r.response.Header.Set("Retry-After", s.now().Add(time.Duration(wait)*time.Second).Format(http.TimeFormat))
	}
	r.what += " Retry-After: " + r.response.Header.Get("Retry-After") + " Date: " + r.response.Header.Get("Date")
}

// redirect redirects within the API, or to where the key must not be sent.
func (s *modelServer) redirect(r *modelReply, request *http.Request, random *rand.Rand) {
	targets := []string{
		"http://other.example" + request.URL.Path, "https://" + modelHost + request.URL.Path, "http://" + modelHost + ":81/",
		"http://" + modelHost + "." + "example/", "//other.example/",
		request.URL.RequestURI(), request.URL.Path, "http://" + strings.ToUpper(modelHost) + ":80" + request.URL.RequestURI(),
	}
	n := random.IntN(len(targets))
	r.status([]int{301, 302, 303, 307, 308}[random.IntN(5)])
	r.response.Header.Set("Location", targets[n])
	r.what += " to " + targets[n]
}

// spoil makes a list what no server means as the whole list.
func (r *modelReply) spoil(random *rand.Rand, isSessions bool) {
	whole := bytes.Join(r.body.pieces, nil)
	isGzip := r.response.Header.Get("Content-Encoding") == "gzip"
	set := func(content string) {
		r.response.ContentLength = -1
		r.body.pieces = [][]byte{[]byte(content)}
		if isGzip {
			r.body.pieces[0] = gzipped([]byte(content))
		}
	}
	r.answer.isList = false
	r.answer.reasons = []client.Reason{client.InvalidResponse}
	kind := random.IntN(13)
	if kind == 7 && !isSessions {
		kind = 5 // entries of the list of chatbots that are none are left out
	}
	r.what += fmt.Sprintf(", spoilt %d", kind)
	cut := whole[:random.IntN(len(whole))]
	switch kind {
	case 0: // the connection ends too early
		r.body.pieces, r.body.end = [][]byte{cut}, io.ErrUnexpectedEOF
		r.answer.reasons = []client.Reason{client.Network, client.InvalidResponse}
	case 1: // a body without a length that ends too early
		r.body.pieces, r.response.ContentLength = [][]byte{cut}, -1
		r.answer.reasons = []client.Reason{client.Network, client.InvalidResponse}
	case 2: // stalls
		r.body.pieces, r.body.delay = [][]byte{cut, whole[len(cut):]}, 24*time.Hour
		if len(cut) == 0 {
			r.body.pieces[0] = whole[:1]
			r.body.pieces[1] = whole[1:]
		}
		r.answer.reasons = []client.Reason{client.Timeout}
	case 3: // a page
		set("[]")
		r.response.Header.Add("Link", []string{
			`<http://api.example/?page=2>; rel="next"`, `</?a=1,2;b>; title="a, b"; rel=next`, `<?page=1>; rel=prev, <?page=3>; rel="last next"`,
		}[random.IntN(3)])
	case 4:
		set("<!DOCTYPE html><html>" + visitor + "</html>")
	case 5:
		set(`{"sessions":[]}`)
	case 6:
		set(`[] []`)
	case 7:
		set(`[{"uuid":"1"},null]`)
	case 8:
		set("")
	case 9:
		set(`null`)
	case 10:
		r.response.Header.Set("Content-Encoding", "br")
	case 11:
		set(`[{"uuid":"1"},]`)
	case 12: // the checksum is wrong, or there is more data
		if isGzip {
			whole[len(whole)-8] ^= 1
			r.body.pieces = [][]byte{whole}
		} else {
			r.body.pieces = append(r.body.pieces, []byte("]"))
			r.response.ContentLength = -1
		}
	}
}

// short is the part of a UUID that differs.
func short(uuid string) string {
	if len(uuid) == 32 {
		return uuid[31:]
	}
	return uuid
}
