package web_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/html"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/apimetrics"
	"github.com/chatwize-exporter/chatwize_exporter/internal/bruteforce"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// scriptedAPI answers for chatbots by their UUID: with sessions, an error, or after a while.
type scriptedAPI struct {
	answers  map[string]scripted
	requests *atomic.Int64
}

type scripted struct {
	sessions []client.Session
	err      error
	takes    time.Duration
}

func (a scriptedAPI) Sessions(ctx context.Context, chatbot string, _ client.SessionsOptions) (*client.SessionsResponse, error) {
	a.requests.Add(1)
	answer := a.answers[chatbot]
	select {
	case <-time.After(answer.takes):
	case <-ctx.Done():
		return nil, &client.Error{Reason: client.Timeout, Err: ctx.Err()}
	}
	var sessions iter.Seq2[client.Session, error] = func(yield func(client.Session, error) bool) {
		for _, session := range answer.sessions {
			if !yield(session, nil) {
				return
			}
		}
	}
	return &client.SessionsResponse{Sessions: sessions, Received: time.Now(), Date: time.Now()}, answer.err
}

func (scriptedAPI) Chatbots(context.Context) (*client.ChatbotsResponse, error) {
	return nil, errors.ErrUnsupported
}

// serverError is an error of the API.
var serverError = &client.Error{Reason: client.ServerError, Status: http.StatusInternalServerError}

// parsed is the overview.
type parsed struct {
	*html.Node
	whole string
}

// overviewOf returns the overview of a handler.
func overviewOf(t *testing.T, handler http.Handler) parsed {
	t.Helper()
	got := get(handler, "GET", "/", nil)
	if got.Code != http.StatusOK {
		t.Fatalf("got %d", got.Code)
	}
	whole := got.Body.String()
	root, err := html.Parse(strings.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	return parsed{root, whole}
}

// all returns the elements with a name below a node.
func all(root *html.Node, name string) (found []*html.Node) {
	for node := range root.Descendants() {
		if node.Type == html.ElementNode && node.Data == name {
			found = append(found, node)
		}
	}
	return found
}

// attribute returns an attribute of an element, or nothing.
func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// textOf returns the text below a node with single spaces.
func textOf(root *html.Node) string {
	var text strings.Builder
	for node := range root.Descendants() {
		if node.Type == html.TextNode {
			text.WriteString(" " + node.Data)
		}
	}
	return strings.Join(strings.Fields(text.String()), " ")
}

// rows returns the texts of the rows of chatbots.
func (p parsed) rows() (rows []string) {
	for _, body := range all(p.Node, "tbody") {
		for _, row := range all(body, "tr") {
			rows = append(rows, textOf(row))
		}
	}
	return rows
}

// checkShape checks what holds for every overview: it is accessible, runs nothing and loads
// nothing.
func (p parsed) checkShape(t *testing.T) {
	t.Helper()
	allowed := strings.Fields("html head meta title link style body header h1 span nav a main ul li table thead tbody tr th td " +
		"bdi small b code p time svg path footer div")
	columns := 0 // those of the first row
	for node := range p.Descendants() {
		if node.Type != html.ElementNode {
			continue
		}
		if !slices.Contains(allowed, node.Data) {
			t.Errorf("there is an element %s", node.Data)
		}
		for _, a := range node.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "style" {
				t.Errorf("%s has the attribute %s", node.Data, a.Key)
			}
			if a.Key == "href" && a.Val != "data:," {
				if u, err := url.Parse(a.Val); err != nil || u.IsAbs() || u.Host != "" || strings.HasPrefix(a.Val, "/") {
					t.Errorf("the link %s is not relative", a.Val)
				}
			}
		}
		switch node.Data {
		case "html":
			if attribute(node, "lang") == "" {
				t.Error("there is no language")
			}
		case "th":
			if scope := attribute(node, "scope"); scope != "col" && scope != "row" || textOf(node) == "" {
				t.Errorf("a header has scope %q and text %q", scope, textOf(node))
			}
		case "svg":
			if titles := all(node, "title"); attribute(node, "role") != "img" || len(titles) != 1 || len(textOf(titles[0])) < 10 {
				t.Error("a picture has no text")
			}
		case "tr":
			n := 0
			for cell := range node.ChildNodes() {
				switch {
				case cell.Type != html.ElementNode:
				case attribute(cell, "colspan") == "6":
					n += 6
				default:
					n++
				}
			}
			if columns == 0 {
				columns = n
			}
			if n != columns {
				t.Errorf("a row has %d columns, not %d: %s", n, columns, textOf(node))
			}
		}
	}
	if strings.Contains(p.whole, "ZgotmplZ") {
		t.Error("the template has refused a value")
	}
}

// newScripted returns the handler of chatbots that are named by their UUIDs.
func newScripted(t *testing.T, options web.Options, answers map[string]scripted, uuids ...string) (http.Handler, *atomic.Int64) {
	t.Helper()
	requests := new(atomic.Int64)
	var chatbots []client.Chatbot
	for _, uuid := range uuids {
		chatbots = append(chatbots, client.Chatbot{UUID: uuid, Name: "Bot " + uuid})
	}
	return newHandlerWith(t, scriptedAPI{answers, requests}, web.Config{Options: options, Registry: prometheus.NewRegistry()}, chatbots...), requests
}

// The overview shows what the last scrape saw: what is wrong comes first.
func TestOverview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(9*time.Hour + 30*time.Minute) // since midnight, 1 January
		now := time.Now()
		const day = 24 * time.Hour
		answers := map[string]scripted{
			"well":     {sessions: bruteforce.Every(now, time.Hour, 60*day, 0)},
			"quiet":    {sessions: bruteforce.Every(now, time.Hour, 60*day, 20*time.Hour)},
			"dead":     {sessions: bruteforce.Every(now, time.Hour, 60*day, 3*day)},
			"leadless": {sessions: bruteforce.Every(now, time.Hour, 60*day, 0)},
			"closed":   {sessions: bruteforce.Every(now, time.Hour, 60*day, 29*day)},
			"new":      {},
			"broken":   {err: serverError},
			"refused":  {err: &client.Error{Reason: client.Unauthorized, Status: http.StatusForbidden}},
			"paused":   {err: &client.Error{Reason: client.ServerError, Status: http.StatusServiceUnavailable, RetryAfter: time.Minute}},
			"offline":  {err: &client.Error{Reason: client.Network, Err: errors.New("dial tcp 192.0.2.1:443: refused")}},
		}
		for i := range answers["leadless"].sessions {
			session := &answers["leadless"].sessions[i]
			session.HasLead = session.Created.Before(now.Add(-2 * day))
		}
		handler, requests := newScripted(t, web.Options{}, answers,
			"well", "new", "closed", "quiet", "leadless", "broken", "dead", "refused", "paused", "offline")
		get(handler, "GET", "/metrics", nil)
		time.Sleep(90 * time.Second)
		scraped := requests.Load()
		page := overviewOf(t, handler)
		page.checkShape(t)
		want := []string{
			"Bot broken broken Failed server_error , status 500 Wait; if it lasts, ask the support of the platform.",
			"Bot refused refused Failed unauthorized , status 403 Check that the API key is complete",
			"Bot paused paused Failed server_error , status 503 Wait;",
			"Bot offline offline Failed network Check the base URL, and DNS, proxy and firewall",
			"Bot closed closed Silent 745 24 h 0 / usual 0 186 24 h 0 / usual 0 149 24 h 0 / usual 0 – 29 days ago fetched 1 min ago Sessions per day",
			"Bot dead dead Missing ",
			"Bot leadless leadless Missing ",
			"Bot quiet quiet Missing ",
			"Bot well well OK ",
			"Bot new new OK 0 24 h 0 / usual – 0 24 h 0 / usual – 0 24 h 0 / usual – – never fetched 1 min ago No sessions in the last 35 days.",
		}
		got := page.rows()
		if len(got) != len(want) {
			t.Fatalf("got %d rows: %q", len(got), got)
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("row %d:\ngot  %s\nwant %s", i, got[i], want[i])
			}
		}
		for row, wants := range map[int][]string{
			5: {" 72 3 days ago fetched 1 min ago", "at most 24, on", "0 yesterday; 0 today so far. up to 24 a day"},
			6: {" leads ", "10 today so far."},
			8: {"Bot well well OK 1,441 24 h 25 / usual 24 360", " 1 min ago fetched 1 min ago "},
		} {
			for _, want := range wants {
				if !strings.Contains(got[row], want) {
					t.Errorf("row %d: %s has no %q", row, got[row], want)
				}
			}
		}
		if states := textOf(all(page.Node, "ul")[0]); states != "10 chatbots 4 Failed 1 Silent 3 Missing 2 OK" {
			t.Errorf("got %s", states)
		}
		if strings.Contains(page.whole, "192.0.2.1") {
			t.Error("it shows an address of the network")
		}
		if n := requests.Load(); n != scraped {
			t.Errorf("it sent %d requests", n-scraped)
		}
	})
}

// A failed chatbot shows no old numbers as if they were new, but since when it has none.
func TestOverviewFailsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := map[string]scripted{"a": {sessions: make([]client.Session, 4711)}}
		handler, _ := newScripted(t, web.Options{}, answers, "a")
		get(handler, "GET", "/metrics", nil)
		answers["a"] = scripted{err: &client.Error{Reason: client.RateLimited, Status: http.StatusTooManyRequests, RetryAfter: 10 * time.Minute}}
		time.Sleep(2 * time.Hour)
		get(handler, "GET", "/metrics", nil)
		want := "Bot a a Failed rate_limited , status 429 , no requests until 02:10:00 UTC . Last success: 2 h ago Scrape less often."
		if got := overviewOf(t, handler).rows(); len(got) != 1 || got[0] != want {
			t.Errorf("got %q", got)
		}
	})
}

// It has 200 rows at most, and says how many more there are.
func TestOverviewLimit(t *testing.T) {
	for n, want := range map[int]string{200: "", 203: "3 more chatbots are not shown."} {
		synctest.Test(t, func(t *testing.T) {
			var uuids []string
			answers := map[string]scripted{}
			for i := range n {
				uuids = append(uuids, fmt.Sprintf("%032x", i))
			}
			answers[uuids[n-1]] = scripted{err: serverError}
			handler, _ := newScripted(t, web.Options{}, answers, uuids...)
			get(handler, "GET", "/metrics", nil)
			page := overviewOf(t, handler)
			page.checkShape(t)
			if rows := page.rows(); len(rows) != 200 || !strings.Contains(rows[0], uuids[n-1]+" Failed") {
				t.Errorf("got %d rows, %s", len(rows), rows[0])
			}
			if text := textOf(page.Node); !strings.Contains(text, want) || strings.Contains(text, "more chatbots") != (want != "") {
				t.Errorf("got %s", text)
			}
		})
	}
}

// It fetches chatbots that were not tried within ten minutes, up to 20, and waits for five
// seconds at most.
func TestOverviewFetches(t *testing.T) {
	for _, probeOnly := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			answers := map[string]scripted{"0": {takes: 24 * time.Hour}}
			var uuids []string
			for i := range 30 {
				uuids = append(uuids, fmt.Sprint(i))
			}
			handler, requests := newScripted(t, web.Options{ProbeOnly: probeOnly}, answers, uuids...)
			load := func(what string, takes time.Duration, sent int64, states string) {
				t.Helper()
				begun, before := time.Now(), requests.Load()
				page := overviewOf(t, handler)
				page.checkShape(t)
				if took := time.Since(begun); took != takes {
					t.Errorf("%s: took %v, want %v", what, took, takes)
				}
				if n := requests.Load() - before; n != sent {
					t.Errorf("%s: sent %d requests, want %d", what, n, sent)
				}
				if got := textOf(all(page.Node, "ul")[0]); got != states {
					t.Errorf("%s: got %s, want %s", what, got, states)
				}
				time.Sleep(2 * time.Second)
			}
			load("at first", 5*time.Second, 20, "30 chatbots 11 Waiting 19 OK")
			load("while it fetches", 0, 0, "30 chatbots 11 Waiting 19 OK")
			time.Sleep(30 * time.Second)
			load("the others", 0, 10, "30 chatbots 1 Failed 29 OK")
			load("again", 0, 0, "30 chatbots 1 Failed 29 OK")
			time.Sleep(9 * time.Minute)
			load("after nine minutes", 0, 0, "30 chatbots 1 Failed 29 OK")
			delete(answers, "0")
			time.Sleep(time.Minute)
			load("after ten minutes", 0, 20, "30 chatbots 30 OK")
		})
	}
}

// The page fetches as many chatbots of each account, and those of one account do not wait
// for another whose chatbots hang.
func TestOverviewOfHangingAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers, requests := map[string]scripted{}, new(atomic.Int64)
		chatbots := func(prefix string, takes time.Duration) (chatbots fetch.Configured) {
			for i := range 25 {
				chatbots = append(chatbots, client.Chatbot{UUID: fmt.Sprint(prefix, i)})
				answers[chatbots[i].UUID] = scripted{takes: takes}
			}
			return chatbots
		}
		hanging, good := chatbots("h", 24*time.Hour), chatbots("g", 0)
		set := accounts.NewSet(
			newAccount("hangs", newConfig(scriptedAPI{answers, requests}, apimetrics.New(nil)), hanging),
			newAccount("good", newConfig(scriptedAPI{answers, requests}, apimetrics.New(nil)), good),
		)
		handler, err := web.NewHandler(web.Config{
			Options: web.Options{TelemetryPath: "/metrics"}, Accounts: func() *accounts.Set { return set },
			Registry: prometheus.NewRegistry(), Logger: log.NewNopLogger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"50 chatbots 40 Waiting 10 OK", "50 chatbots 25 Waiting 25 OK"} {
			if got := textOf(all(overviewOf(t, handler).Node, "ul")[0]); got != want {
				t.Errorf("page %d: got %s, want %s", i, got, want)
			}
			time.Sleep(2 * time.Second)
		}
		time.Sleep(time.Hour)
	})
}

// All who ask within a second share a page. It does not end with the first of them.
func TestOverviewSharing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, requests := newScripted(t, web.Options{}, map[string]scripted{"a": {takes: 3 * time.Second}}, "a")
		begun := time.Now()
		leaving, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		var callers sync.WaitGroup
		callers.Go(func() {
			response := httptest.NewRecorder()
			handler.ServeHTTP(response, httptest.NewRequestWithContext(leaving, "GET", "/", nil))
			if time.Since(begun) != time.Second || response.Code != 499 {
				t.Error("a client that left got a page")
			}
		})
		synctest.Wait()
		want := ""
		for i := range 100 {
			callers.Go(func() {
				header := http.Header{"Accept-Encoding": {[]string{"gzip", "identity"}[i%2]}}
				if got := get(handler, "GET", "/", header); (got.Header().Get("Content-Encoding") == "gzip") != (i%2 == 0) || got.Code != http.StatusOK {
					t.Errorf("got %d with %v", got.Code, got.Header())
				}
			})
		}
		callers.Wait()
		want = overviewOf(t, handler).whole
		time.Sleep(999 * time.Millisecond)
		if got := overviewOf(t, handler).whole; got != want || !strings.Contains(got, ">now<") {
			t.Errorf("within a second: got another page")
		}
		time.Sleep(time.Millisecond)
		if got := overviewOf(t, handler).whole; got == want || !strings.Contains(got, ">1 s ago<") {
			t.Errorf("after a second: got the same page")
		}
		if n := requests.Load(); n != 1 {
			t.Errorf("sent %d requests", n)
		}
	})
}

// Names are text, whatever they are.
func TestOverviewNames(t *testing.T) {
	names := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</td></table><h1>x`, `{{.}}`, `&lt;b&gt;`, `' onclick='x`,
		"\u202eevil", strings.Repeat("W", 128), strings.Repeat("متجر ", 25) + "x", "javascript:alert(1)",
	}
	synctest.Test(t, func(t *testing.T) {
		var chatbots []client.Chatbot
		for i, name := range names {
			chatbots = append(chatbots, client.Chatbot{UUID: fmt.Sprintf("%032x", i), Name: name})
		}
		chatbots = append(chatbots, client.Chatbot{UUID: shop}, client.Chatbot{UUID: desk, Name: "\u200b \u2066"})
		handler := newHandlerWith(t, slowAPI{new(atomic.Int64)}, web.Config{Registry: prometheus.NewRegistry()}, chatbots...)
		page := overviewOf(t, handler)
		page.checkShape(t)
		var got []string
		for _, name := range all(all(page.Node, "tbody")[0], "bdi") { // which isolates other directions
			got = append(got, name.FirstChild.Data)
		}
		if !slices.Equal(got, names) {
			t.Errorf("got %q", got)
		}
		for _, uuid := range []string{shop, desk} {
			if !strings.Contains(page.whole, `<a href="probe?target=`+uuid+`">`+uuid+`</a>`) {
				t.Errorf("%s is missing", uuid)
			}
		}
		header := get(handler, "GET", "/", nil).Header()
		if policy := header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "script") {
			t.Errorf("got %v", header)
		}
	})
}

// Several accounts have a column, and share the limit of fetches. One that fails hides none.
func TestOverviewAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := new(atomic.Int64)
		newConfig := func() fetch.Config {
			return newConfig(scriptedAPI{map[string]scripted{"b1": {err: serverError}}, requests}, apimetrics.New(nil))
		}
		chatbots := func(prefix string, n int) (chatbots fetch.Configured) {
			for i := range n {
				chatbots = append(chatbots, client.Chatbot{UUID: fmt.Sprint(prefix, i)})
			}
			return chatbots
		}
		set := accounts.NewSet(
			newAccount("<b>olt", newConfig(), chatbots("b", 12)),
			newAccount("acme", newConfig(), chatbots("a", 12)),
			newAccount("empty", newConfig(), fetch.Configured{}),
			newAccount("fails", newConfig(), failingDirectory{&client.Error{Reason: client.NotFound, Status: http.StatusNotFound}}),
			newAccount("late", newConfig(), failingDirectory{context.DeadlineExceeded}),
		)
		handler, err := web.NewHandler(web.Config{
			Options: web.Options{TelemetryPath: "/metrics"}, Accounts: func() *accounts.Set { return set },
			Registry: prometheus.NewRegistry(), Logger: log.NewNopLogger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		page := overviewOf(t, handler)
		page.checkShape(t)
		rows := page.rows()
		if len(rows) != 24 || rows[0] != "<b>olt b1 Failed server_error , status 500 Wait; if it lasts, ask the support of the platform." {
			t.Errorf("got %q", rows)
		}
		if n := requests.Load(); n != 20 {
			t.Errorf("sent %d requests", n)
		}
		var notes []string
		for _, note := range all(page.Node, "div") {
			notes = append(notes, textOf(note))
		}
		want := []string{
			"The account empty has no chatbots to show. Check the base URL, the API key, and which chatbots are included or excluded.",
			"The account fails could not list its chatbots. not_found , status 404 Check the base URL; if it is right, the brand has no list of chatbots: name them with the setting chatwize.chatbot or, in a file of accounts, chatbots.",
			"The account late has not listed its chatbots yet. Reload this page in a few seconds.",
		}
		if !slices.Equal(notes, want) {
			t.Errorf("got %q", notes)
		}
		if link := `<a href="probe?account=acme&amp;target=a0">`; !strings.Contains(page.whole, link) {
			t.Errorf("%s is missing", link)
		}
	})
}

// failingDirectory has no list.
type failingDirectory struct{ err error }

func (d failingDirectory) Chatbots(context.Context) ([]client.Chatbot, error) { return nil, d.err }

func (failingDirectory) Chatbot(_ context.Context, uuid string) (client.Chatbot, fetch.Standing) {
	return client.Chatbot{UUID: uuid}, fetch.Unverified
}

func (failingDirectory) Lists(context.Context, string) bool { return false }
