package fetch

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// SourceOptions are the settings of a [Source].
type SourceOptions struct {
	// CacheTTL is how long the tally of a chatbot may be returned again. 0: each
	// FetchAll fetches.
	CacheTTL time.Duration
	// Window, if above 0, switches incremental mode on: between full fetches only
	// sessions younger than Window are fetched.
	Window time.Duration
	// FullInterval is the time from one full fetch to the next in incremental mode.
	FullInterval time.Duration
}

// Source fetches the tallies of an account's chatbots. All who want a chatbot at the
// same time share one fetch. It counts and logs failures. It is safe for concurrent
// use.
type Source struct {
	Config
	options atomic.Pointer[SourceOptions]

	mutex sync.Mutex
	calls map[string]*call // that have not ended, by canonical UUID

	streamed refusals // over all uses of Stream

	// States of chatbots by canonical UUID. Chatbots that never succeeded have their own
	// cache, so that they cannot evict the others.
	succeeded, others *lru.Cache[string, state]
}

// maxStates is the maximum number of states in a cache. It exceeds the maximum number of
// chatbots of an account.
const maxStates = 20_000

// NewSource returns a Source.
func NewSource(config Config, options SourceOptions) *Source {
	s := &Source{Config: config, calls: map[string]*call{}}
	s.SetOptions(options)
	s.succeeded, _ = lru.New[string, state](maxStates) // fails only for sizes below 1
	s.others, _ = lru.New[string, state](maxStates)
	return s
}

// SetOptions changes the settings. Fetches under way go on with those they began with.
func (s *Source) SetOptions(options SourceOptions) { s.options.Store(&options) }

// stateOf returns the state of a chatbot, zero if there is none.
func (s *Source) stateOf(key string) state {
	if state, ok := s.succeeded.Get(key); ok {
		return state
	}
	state, _ := s.others.Get(key)
	return state
}

// Retain forgets what is remembered of chatbots other than these.
func (s *Source) Retain(chatbots []client.Chatbot) {
	retained := make(map[string]bool, len(chatbots))
	for _, chatbot := range chatbots {
		retained[client.CanonicalUUID(chatbot.UUID)] = true
	}
	for _, states := range []*lru.Cache[string, state]{s.succeeded, s.others} {
		for _, key := range states.Keys() {
			if !retained[key] {
				states.Remove(key)
			}
		}
	}
}

// hasSucceeded reports whether a fetch of a chatbot has ever succeeded.
func (s *Source) hasSucceeded(key string) bool { return s.succeeded.Contains(key) }

// remember sets the state of a chatbot.
func (s *Source) remember(key string, state state) {
	if state.last.Finished.IsZero() {
		s.others.Add(key, state)
		return
	}
	s.others.Remove(key)
	s.succeeded.Add(key, state)
}

// Result is the outcome of the fetch of a chatbot's sessions.
type Result struct {
	// Numbers are what the sessions add up to at Date, nil if Err is not nil. They are not
	// changed. A thousand results are kept for each scrape that waits for them.
	Numbers *tally.Numbers
	// Received is the local time when the headers of the last response came that the
	// numbers rest on; zero if Err is not nil.
	Received time.Time
	// Date is the time of that response by the clock of the API; see
	// [client.SessionsResponse].
	Date time.Time
	// Finished is when the fetch ended.
	Finished time.Time
	// Took is how long the fetch took after it got a slot; if it got none, how long
	// it waited.
	Took time.Duration
	// Err is why the fetch failed, nil if it succeeded; see [ReasonOf].
	Err error
}

// Known is what is known of a chatbot without fetching it.
type Known struct {
	// Result is the last outcome of a fetch, also of one that was not tried during a pause or
	// for want of a slot. Its Finished is zero if there is none.
	Result Result
	// Tried is when the last fetch that was tried began, Succeeded when the last one that
	// succeeded ended; zero if there was none.
	Tried, Succeeded time.Time
	// Cached reports whether [Source.FetchAll] would not fetch.
	Cached bool
}

// Known returns what is remembered of a chatbot, without a fetch. A fetch that ended because
// clients disconnected does not change it. Nor does one ended within a second, after a success.
func (s *Source) Known(chatbot client.Chatbot) Known {
	key := client.CanonicalUUID(chatbot.UUID)
	state := s.stateOf(key)
	_, cached := s.cached(key)
	return Known{state.seen, state.tried, state.last.Finished, cached}
}

// FetchAll fetches the sessions of chatbots. It returns the results, in the order of
// chatbots, when all fetches have ended or ctx ends.
//
// It starts with chatbots whose last fetch succeeded, the fastest first. Then come the others,
// those tried longest ago first. So a chatbot that hangs or is refused delays the others in one
// scrape only. After several refusals of the key in a row, it begins no further request, unless
// there is only one chatbot.
func (s *Source) FetchAll(ctx context.Context, chatbots []client.Chatbot) []Result {
	calls := make([]*call, len(chatbots))
	refusals := &refusals{}
	for i, chatbot := range chatbots {
		calls[i] = &call{chatbot: chatbot, key: client.CanonicalUUID(chatbot.UUID), refusals: refusals, forced: len(chatbots) == 1}
	}
	return s.fetch(ctx, calls)
}

// FetchUnverified fetches the sessions of a chatbot that is on no list. Its error is
// [ErrNoBudget] if too many such fetches failed.
func (s *Source) FetchUnverified(ctx context.Context, chatbot client.Chatbot) Result {
	key := client.CanonicalUUID(chatbot.UUID)
	return s.fetch(ctx, []*call{{chatbot: chatbot, key: key, refusals: &refusals{}, unverified: true, forced: true}})[0]
}

// fetch joins or starts calls and returns their results.
func (s *Source) fetch(ctx context.Context, calls []*call) []Result {
	results := make([]Result, len(calls))
	var uncached []int
	for i, c := range calls {
		var ok bool
		if results[i], ok = s.cached(c.key); !ok {
			uncached = append(uncached, i)
		}
	}
	s.inOrder(calls, uncached)
	var joined, started []*call
	for _, i := range uncached {
		call, isNew := s.join(ctx, calls[i])
		if isNew {
			started = append(started, call)
		}
		joined = append(joined, call)
	}
	if len(started) > 0 {
		go s.start(started)
	}
	for n, result := range s.wait(ctx, joined) {
		results[uncached[n]] = result
	}
	s.Failures.flush()
	return results
}

// inOrder sorts indices of calls: first those whose chatbot succeeded last time, by
// duration, then the others, by the time of their last try.
func (s *Source) inOrder(calls []*call, indices []int) {
	type try struct {
		succeeded bool
		took      time.Duration
		at        time.Time
	}
	last := make(map[int]try, len(indices))
	for _, i := range indices {
		state := s.stateOf(calls[i].key)
		last[i] = try{state.succeeded, state.took, state.tried}
	}
	slices.SortStableFunc(indices, func(i, j int) int {
		a, b := last[i], last[j]
		switch {
		case a.succeeded && b.succeeded:
			return cmp.Compare(a.took, b.took)
		case a.succeeded:
			return -1
		case b.succeeded:
			return 1
		}
		return a.at.Compare(b.at)
	})
}

// cached returns the last successful result of a chatbot, if it is young enough.
func (s *Source) cached(key string) (Result, bool) {
	ttl := s.options.Load().CacheTTL
	if ttl <= 0 {
		return Result{}, false
	}
	state := s.stateOf(key)
	return state.last, time.Since(state.last.Finished) < ttl
}

// Stream fetches all sessions of a chatbot and passes them to read, which must range
// over them to the end and return their error. Once several answers in a row refuse the key,
// it sends no further request. After a transient failure, it calls
// read again with all sessions. It waits for the end of a pause if the timeout of the
// fetch allows. Its error names the chatbot and what to do.
func (s *Source) Stream(ctx context.Context, chatbot client.Chatbot, read func(iter.Seq2[client.Session, error]) error) error {
	_, err := DoPatiently(ctx, s.Gate, client.CanonicalUUID(chatbot.UUID), func(ctx context.Context) (struct{}, error) {
		if err := s.Gate.checkRefusals(&s.streamed); err != nil {
			return struct{}{}, err
		}
		response, err := s.API.Sessions(ctx, chatbot.UUID, client.SessionsOptions{})
		s.streamed.add(err)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, read(response.Sessions)
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	name := chatbot.UUID
	if chatbot.Name != "" {
		name = fmt.Sprintf("%s (%q)", chatbot.UUID, chatbot.Name)
	}
	return fmt.Errorf("fetching the sessions of chatbot %s: %w; %s", name, err, streamHint(err))
}
