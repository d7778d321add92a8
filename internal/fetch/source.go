package fetch

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
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
	SourceOptions

	mutex  sync.Mutex
	calls  map[string]*call // that have not ended, by UUID
	states *lru.Cache[string, state]
}

// maxStates limits of how many chatbots a state is kept. It exceeds the maximum number
// of chatbots of an account, because probes may ask for others.
const maxStates = 20_000

// NewSource returns a Source.
func NewSource(config Config, options SourceOptions) *Source {
	s := &Source{Config: config, SourceOptions: options, calls: map[string]*call{}}
	s.states, _ = lru.New[string, state](maxStates) // fails only for sizes below 1
	return s
}

// Result is the outcome of the fetch of a chatbot's sessions.
type Result struct {
	// Tally is what the sessions add up to, zero if Err is not nil.
	Tally tally.Tally
	// Received is the local time when the headers of the last response came that the
	// tally rests on; zero if Err is not nil.
	Received time.Time
	// Finished is when the fetch ended.
	Finished time.Time
	// Took is how long the fetch took after it got a slot; if it got none, how long
	// it waited.
	Took time.Duration
	// Err is why the fetch failed, nil if it succeeded; see [ReasonOf].
	Err error
}

// FetchAll fetches the sessions of chatbots. It returns the results, in the order of
// chatbots, when all fetches have ended or ctx ends.
//
// It starts with the chatbots whose last fetch was fastest, so that those that hang
// delay the others in one scrape only.
func (s *Source) FetchAll(ctx context.Context, chatbots []client.Chatbot) []Result {
	results := make([]Result, len(chatbots))
	var missing []int
	for i, chatbot := range chatbots {
		var ok bool
		if results[i], ok = s.cached(chatbot); !ok {
			missing = append(missing, i)
		}
	}
	s.fastestFirst(chatbots, missing)
	var calls, started []*call
	for _, i := range missing {
		call, isNew := s.join(ctx, chatbots[i])
		if isNew {
			started = append(started, call)
		}
		calls = append(calls, call)
	}
	if len(started) > 0 {
		go s.start(started)
	}
	for n, result := range s.wait(ctx, calls) {
		results[missing[n]] = result
	}
	return results
}

// fastestFirst sorts indices of chatbots by the duration of their last fetch.
func (s *Source) fastestFirst(chatbots []client.Chatbot, indices []int) {
	took := map[int]time.Duration{}
	for _, i := range indices {
		state, _ := s.states.Get(chatbots[i].UUID)
		took[i] = state.took
	}
	slices.SortStableFunc(indices, func(a, b int) int { return cmp.Compare(took[a], took[b]) })
}

// cached returns the last successful result of a chatbot, if it is young enough.
func (s *Source) cached(chatbot client.Chatbot) (Result, bool) {
	if s.CacheTTL <= 0 {
		return Result{}, false
	}
	state, _ := s.states.Get(chatbot.UUID)
	return state.last, time.Since(state.last.Finished) < s.CacheTTL
}

// Stream fetches all sessions of a chatbot and passes them to read, which must range
// over them to the end and return their error. After a transient failure, it calls
// read again with all sessions. It waits for the end of a pause if the timeout of the
// fetch allows. Its error names the chatbot and what to do.
func (s *Source) Stream(ctx context.Context, chatbot client.Chatbot, read func(iter.Seq2[client.Session, error]) error) error {
	_, err := DoPatiently(ctx, s.Gate, chatbot.UUID, func(ctx context.Context) (struct{}, error) {
		response, err := s.API.Sessions(ctx, chatbot.UUID, client.SessionsOptions{})
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
