package web

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/gzip"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

const (
	// overviewAge is for how long an overview is served again.
	overviewAge = time.Second
	// overviewPatience is the maximum time that an overview waits for the API.
	overviewPatience = 5 * time.Second
	// maxDue is the maximum number of chatbots that an overview fetches itself, if they were
	// not tried for dueAfter.
	maxDue   = 20
	dueAfter = 10 * time.Minute
)

//go:embed overview.html
var overviewTemplate string

// overview serves the page for people: what the last scrapes saw of the chatbots.
type overview struct {
	Config
	template *template.Template

	fetchingMutex sync.Mutex
	fetching      map[*fetch.Source]bool // accounts that it fetches chatbots of; one batch at a time

	mutex sync.Mutex
	last  *rendering
}

// rendering is an overview that requests share until it is older than overviewAge.
type rendering struct {
	done chan struct{} // closed when the rest is set
	*response
	ended time.Time
}

func newOverview(config Config) (*overview, error) {
	parsed, err := template.New("").Parse(overviewTemplate)
	return &overview{Config: config, template: parsed, fetching: map[*fetch.Source]bool{}}, err
}

// ServeHTTP serves the overview, unless the client disconnects. w must be of [gzhttp].
func (o *overview) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	made := o.share()
	select {
	case <-made.done:
	case <-r.Context().Done():
		clientClosed(w)
		return
	}
	made.sendTo(w)
}

// share returns the last rendering or, if it is too old, begins another. That does not end
// with a client, as others may wait for it.
func (o *overview) share() *rendering {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if o.last != nil {
		select {
		case <-o.last.done:
			if time.Since(o.last.ended) < overviewAge {
				return o.last
			}
		default:
			return o.last
		}
	}
	next := &rendering{done: make(chan struct{})}
	o.last = next
	go func() {
		defer close(next.done)
		next.response = o.render()
		next.ended = time.Now()
	}()
	return next
}

// render returns the overview. It is compressed, as slow readers may keep it for long.
func (o *overview) render() *response {
	var page, body bytes.Buffer
	err := o.template.Execute(&page, o.view())
	length := page.Len()
	if err == nil {
		compressor, _ := gzip.NewWriterLevel(&body, gzip.BestSpeed) // fails only for unknown levels
		_, writeErr := page.WriteTo(compressor)
		err = errors.Join(writeErr, compressor.Close())
	}
	if err != nil {
		level.Error(o.Logger).Log("msg", "Writing the page failed", "err", err)
		failed := &response{header: http.Header{}, body: new(bytes.Buffer)}
		http.Error(failed, "the page cannot be written; the log of the exporter says why", http.StatusInternalServerError)
		return failed
	}
	return &response{
		header: http.Header{
			"Content-Type":     {"text/html; charset=UTF-8"},
			"Content-Encoding": {"gzip"},
			"Cache-Control":    {"no-store"},
			// Names are escaped. If one were not, it could load and run nothing.
			"Content-Security-Policy": {"default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"},
			"X-Content-Type-Options":  {"nosniff"},
		},
		status: http.StatusOK, body: bytes.NewBuffer(bytes.Clone(body.Bytes())), uncompressed: length,
	}
}

// listed is a chatbot that an account lists.
type listed struct {
	account *accounts.Account
	client.Chatbot
}

func (l listed) known() fetch.Known { return l.account.Source.Known(l.Chatbot) }

// withoutChatbots is an account whose chatbots are not known, or that has none.
type withoutChatbots struct {
	account *accounts.Account
	err     error // nil if it has none
}

// view returns what the overview shows. It first fetches chatbots that were not tried for
// long.
func (o *overview) view() *view {
	ctx, cancel := context.WithTimeout(context.Background(), overviewPatience)
	defer cancel()
	set := o.Accounts()
	chatbots, without := list(ctx, set)
	o.fetchDue(ctx, chatbots)
	v := newView(o.Options, set.Named(), chatbots, without)
	if o.ReloadFailure != nil {
		if err := o.ReloadFailure(); err != nil {
			v.Reload = err.Error()
		}
	}
	return v
}

// list returns the chatbots of accounts, asked side by side.
func list(ctx context.Context, set *accounts.Set) (chatbots []listed, without []withoutChatbots) {
	for _, list := range set.Lists(ctx) {
		if list.Account.Removed() {
			continue // by a reload; its errors mean nothing
		}
		if len(list.Chatbots) == 0 {
			without = append(without, withoutChatbots{list.Account, list.Err})
		}
		for _, chatbot := range list.Chatbots {
			chatbots = append(chatbots, listed{list.Account, chatbot})
		}
	}
	return chatbots, without
}

// fetchDue fetches chatbots that were not tried for long, unless it does so already for
// their account. It waits until ctx ends. Then the fetches go on, for the next overview.
func (o *overview) fetchDue(ctx context.Context, chatbots []listed) {
	o.fetchingMutex.Lock()
	free := slices.DeleteFunc(slices.Clone(chatbots), func(l listed) bool { return o.fetching[l.account.Source] })
	due := dueOf(free, time.Now())
	for account := range due {
		o.fetching[account.Source] = true
	}
	o.fetchingMutex.Unlock()
	var fetches sync.WaitGroup
	for account, chatbots := range due {
		fetches.Go(func() {
			account.Source.FetchAll(context.WithoutCancel(ctx), chatbots)
			o.fetchingMutex.Lock()
			defer o.fetchingMutex.Unlock()
			delete(o.fetching, account.Source)
		})
	}
	ended := make(chan struct{})
	go func() {
		fetches.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// dueOf returns up to maxDue chatbots to fetch, by account: those asked for longest ago, spread
// evenly over the accounts.
func dueOf(chatbots []listed, now time.Time) map[*accounts.Account][]client.Chatbot {
	type candidate struct {
		listed
		asked time.Time // when it was last asked for, also if it was not tried
		rank  int       // number of those of the account that were asked for longer ago
	}
	var due []candidate
	for _, chatbot := range chatbots {
		if known := chatbot.known(); !known.Cached && now.Sub(known.Tried) >= dueAfter {
			due = append(due, candidate{listed: chatbot, asked: known.Result.Finished})
		}
	}
	slices.SortStableFunc(due, func(a, b candidate) int { return a.asked.Compare(b.asked) })
	ranks := map[*accounts.Account]int{}
	for i := range due {
		due[i].rank = ranks[due[i].account]
		ranks[due[i].account]++
	}
	slices.SortStableFunc(due, func(a, b candidate) int { return a.rank - b.rank })
	byAccount := map[*accounts.Account][]client.Chatbot{}
	for _, d := range due[:min(len(due), maxDue)] {
		byAccount[d.account] = append(byAccount[d.account], d.Chatbot)
	}
	return byAccount
}
