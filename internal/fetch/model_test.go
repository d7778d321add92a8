package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// modelSeeds is the number of runs of TestModel.
const modelSeeds = 120

// Whatever an account, its server and callers do, what is shown was true, and the server
// is treated well. In the environment, MODEL_SEED is the seed of a single run, whose
// whole history is then printed, MODEL_SEEDS the number of runs, and MODEL_ALL goes on
// after a broken one. Retries come after random waits, and goroutines in any order: a
// seed may need several runs to break again.
func TestModel(t *testing.T) {
	first, n := uint64(0), uint64(modelSeeds)
	if text := os.Getenv("MODEL_SEEDS"); text != "" {
		n, _ = strconv.ParseUint(text, 10, 64)
	}
	if text := os.Getenv("MODEL_SEED"); text != "" {
		first, _ = strconv.ParseUint(text, 10, 64)
		n = 1
	}
	for seed := first; seed < first+n; seed++ {
		if !playModel(t, seed) && os.Getenv("MODEL_ALL") == "" {
			return
		}
	}
}

// playModel plays a run and reports whether nothing was wrong.
func playModel(t *testing.T, seed uint64) bool {
	again := fmt.Sprintf("to run it again: MODEL_SEED=%d go test -run '^TestModel$' ./internal/fetch", seed)
	ended := false
	defer func() {
		if !ended { // a goroutine is left, or there was a panic
			fmt.Println(again)
		}
	}()
	var faults, history []string
	synctest.Test(t, func(t *testing.T) {
		run := newModelRun(seed)
		run.play(t.Context())
		faults, history = run.checker.faults, run.checker.history
	})
	ended = true
	if len(faults) > 0 {
		if os.Getenv("MODEL_SEED") == "" {
			first := slices.IndexFunc(history, func(line string) bool { return strings.Contains(line, "FAULT") })
			history = history[max(0, first-40) : first+1]
		}
		t.Errorf("%s\n%s\n%s", again, strings.Join(faults, "\n"), strings.Join(history, "\n"))
	}
	return len(faults) == 0
}

// modelRun plays the callers.
type modelRun struct {
	random    *rand.Rand
	server    *modelServer
	checker   *modelChecker
	source    *fetch.Source
	discovery *fetch.Discovery
	chatbots  []client.Chatbot
	logged    bytes.Buffer

	mutex sync.Mutex
	key   string
	// keyFails is how reading the key goes: it works, fails or hangs.
	keyFails int
}

var errNoKey = errors.New("no key")

// modelClocks are by how much the clock of the API is ahead of ours.
var modelClocks = []time.Duration{
	0, 0, 0, -3 * time.Second, 2 * time.Hour, -2 * time.Hour, 72 * time.Hour, -72 * time.Hour,
}

func newModelRun(seed uint64) *modelRun {
	random := rand.New(rand.NewPCG(seed, 1))
	pick := func(durations ...time.Duration) time.Duration { return durations[random.IntN(len(durations))] }
	r := &modelRun{random: random, key: "key0"}
	r.checker = &modelChecker{
		options:     fetch.SourceOptions{CacheTTL: pick(0, 0, 10*time.Second, 5*time.Minute)},
		timeout:     pick(5*time.Second, 10*time.Second, 30*time.Second),
		concurrency: 1 + random.IntN(4),
		calls:       map[string]int{}, notAsked: map[string]time.Time{}, shown: map[string]modelShown{}, keys: map[string]bool{"key0": true},
	}
	if random.IntN(4) > 0 {
		r.checker.options.Window = pick(5*time.Minute, time.Hour, 6*time.Hour, 48*time.Hour)
		r.checker.options.FullInterval = pick(time.Minute, time.Hour, 12*time.Hour)
	}
	r.server = &modelServer{
		checker: r.checker, seed: seed, random: map[string]*rand.Rand{}, key: "key0",
		clock: modelClocks[random.IntN(len(modelClocks))],
		etags: random.IntN(3), modified: random.IntN(2) == 0, dates: random.IntN(2) == 0, caching: random.IntN(4) == 0,
		answers: map[string][]modelAnswer{}, pauses: map[string][]modelPause{}, requests: map[string]int{}, underWay: map[string]int{}, spells: map[string]time.Time{},
	}
	for i := range 1 + random.IntN(4) {
		uuid := fmt.Sprintf("%032x", i)
		chatbot := &modelChatbot{uuid: uuid, times: map[time.Time]bool{}, random: rand.New(rand.NewPCG(seed, uint64(10+i))), oddTimes: random.IntN(2) == 0, versions: [][]modelSession{nil}}
		for range random.IntN(15) {
			chatbot.change(r.server.now().Add(-time.Duration(random.IntN(50*60)) * time.Minute))
		}
		chatbot.changed = r.server.now().Add(-time.Hour)
		r.server.chatbots = append(r.server.chatbots, chatbot)
		r.chatbots = append(r.chatbots, client.Chatbot{UUID: uuid, Name: short(uuid)})
	}
	config := fetch.Config{
		API: client.New(client.Config{
			URL: &url.URL{Scheme: "http", Host: modelHost}, Key: r.currentKey, Transport: r.server,
		}),
		Gate: fetch.NewGate(r.checker.concurrency, r.checker.timeout), Logger: log.NewSyncLogger(log.NewLogfmtLogger(&r.logged)),
	}
	config.Failures = fetch.NewFailures(func(reason client.Reason) {
		if !slices.Contains(client.Reasons(), reason) {
			panic("a failure without a reason")
		}
	}, config.Logger)
	r.source = fetch.NewSource(config, r.checker.options)
	r.discovery = fetch.NewDiscovery(config, fetch.DiscoveryOptions{Interval: 5 * time.Minute, OnAttempt: r.discovered})
	r.checker.note("%+v, timeout %v, concurrency %d, clock %v, etags %d, Last-Modified %t", r.checker.options, r.checker.timeout,
		r.checker.concurrency, r.server.clock, r.server.etags, r.server.modified)
	return r
}

// currentKey reads the key.
func (r *modelRun) currentKey(ctx context.Context) (string, error) {
	r.mutex.Lock()
	key, fails := r.key, r.keyFails
	r.mutex.Unlock()
	switch fails {
	case 1:
	case 2:
		<-ctx.Done()
	default:
		return key, nil
	}
	r.server.mutex.Lock()
	defer r.server.mutex.Unlock()
	r.checker.keyFailed = append(r.checker.keyFailed, time.Now())
	return "", errNoKey
}

// setKey sets the key here and the one that the server accepts.
func (r *modelRun) setKey(here, there, fails int) {
	r.mutex.Lock()
	r.key, r.keyFails = fmt.Sprint("key", here), fails
	r.mutex.Unlock()
	r.server.mutex.Lock()
	defer r.server.mutex.Unlock()
	r.server.key = fmt.Sprint("key", there)
	r.checker.keys[fmt.Sprint("key", here)] = true
	r.checker.note("key %d, key %d accepted, reading it: %d", here, there, fails)
}

// play lets the server behave badly, and then well, some times.
func (r *modelRun) play(ctx context.Context) {
	// The first discovery goes on for the next caller.
	defer func() { time.Sleep(r.checker.timeout) }()
	key := 0
	for range 3 {
		r.set(func(s *modelServer) {
			s.calm, s.settled, s.way = false, false, r.random.IntN(len(modelWays))
			if !s.modified && r.random.IntN(3) == 0 {
				s.clock = modelClocks[r.random.IntN(len(modelClocks))]
				r.checker.note("clock %v", s.clock)
			}
		})
		for range 10 {
			switch r.random.IntN(8) {
			case 0:
				r.setKey(key, key+1, 0)
				key++
			case 1:
				r.setKey(key, key, r.random.IntN(3))
			default:
				r.setKey(key, key, 0)
			}
			r.sleep()
			r.storm(ctx)
			if len(r.checker.faults) > 0 {
				return
			}
		}
		r.setKey(key, key, 0)
		r.set(func(s *modelServer) {
			s.calm = true
			s.way = min(r.random.IntN(len(modelWays)+20), len(modelWays)) % len(modelWays)
			r.checker.note("calm: %s", modelWays[s.way].name)
		})
		r.waitOutPauses()
		r.set(func(s *modelServer) { s.settled = true })
		for range 4 {
			r.calm(ctx)
			r.sleep()
			if len(r.checker.faults) > 0 {
				return
			}
		}
	}
	synctest.Wait()
	if strings.Contains(r.logged.String(), visitor) || strings.Contains(r.logged.String(), "key0") {
		r.checker.fault("the log has what must be nowhere")
	}
}

func (r *modelRun) set(change func(*modelServer)) {
	r.server.mutex.Lock()
	defer r.server.mutex.Unlock()
	change(r.server)
}

// sleep lets time pass, and visitors come.
func (r *modelRun) sleep() {
	time.Sleep([]time.Duration{
		time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 3 * time.Hour, 25 * time.Hour,
	}[min(r.random.IntN(16), r.random.IntN(7))%7])
	r.set(func(s *modelServer) {
		for _, chatbot := range s.chatbots {
			for range r.random.IntN(3) {
				chatbot.change(s.now())
			}
		}
	})
}

// waitOutPauses sleeps until no request is under way and there is no pause.
func (r *modelRun) waitOutPauses() {
	time.Sleep(r.checker.timeout)
	var until time.Time
	r.set(func(s *modelServer) {
		for _, pauses := range s.pauses {
			for _, pause := range pauses {
				until = latest(until, pause.to)
			}
		}
	})
	time.Sleep(time.Until(until))
	r.set(func(s *modelServer) {
		for endpoint, n := range s.underWay {
			if n > 0 {
				r.checker.fault("a request for %s goes on longer than the timeout", endpoint)
			}
		}
	})
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// storm lets some callers come, overlap and leave.
func (r *modelRun) storm(ctx context.Context) {
	var callers sync.WaitGroup
	for range 1 + min(r.random.IntN(6), r.random.IntN(6)) {
		scrape := &modelScrape{chatbots: r.chatbots}
		if r.random.IntN(4) == 0 { // a probe
			scrape.chatbots = r.chatbots[r.random.IntN(len(r.chatbots)):][:1]
		}
		wait := time.Duration(r.random.IntN(8000)) * time.Millisecond
		var timeout, leaves time.Duration
		switch r.random.IntN(6) {
		case 0:
			timeout = 100 * time.Millisecond
		case 1:
		case 2:
			timeout, leaves = 10*time.Second, time.Duration(r.random.IntN(5000))*time.Millisecond
		default:
			timeout = time.Duration(1+r.random.IntN(30)) * time.Second
		}
		discovers := r.random.IntN(3)
		callers.Go(func() {
			time.Sleep(wait)
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			if timeout > 0 {
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			scrape.deadline, _ = ctx.Deadline()
			if leaves > 0 {
				left := time.AfterFunc(leaves, func() {
					r.set(func(*modelServer) { scrape.left = time.Now(); r.checker.note("a caller leaves") })
					cancel()
				})
				defer left.Stop()
			}
			if discovers == 0 {
				r.discover(ctx)
			}
			r.scrape(ctx, scrape)
		})
	}
	callers.Wait()
}

// scrape scrapes once.
func (r *modelRun) scrape(ctx context.Context, scrape *modelScrape) {
	r.set(func(s *modelServer) { r.checker.begin(s, scrape) })
	scrape.results = r.source.FetchAll(ctx, scrape.chatbots)
	r.set(func(s *modelServer) { r.checker.end(s, scrape) })
}

// discover asks for the chatbots of the account.
func (r *modelRun) discover(ctx context.Context) bool {
	r.set(func(*modelServer) { r.checker.discovering++ })
	chatbots, err := r.discovery.Chatbots(ctx)
	r.set(func(*modelServer) {
		r.checker.discovering--
		r.checker.note("discovery: %d chatbots, %v", len(chatbots), err)
		switch {
		case err == nil && !slices.Equal(chatbots, r.chatbots):
			r.checker.fault("discovery: %v", chatbots)
		case err != nil && !slices.Contains(client.Reasons(), fetch.ReasonOf(err)):
			r.checker.fault("discovery: %v", err)
		}
	})
	return err == nil
}

// discovered hears of attempts of discovery.
func (r *modelRun) discovered(succeeded bool) {
	r.set(func(s *modelServer) {
		r.checker.note("discovery succeeded: %t", succeeded)
		if s.settled && !succeeded {
			r.checker.fault("discovery fails with a server that behaves well")
		}
	})
}

// calm scrapes a server that behaves well: all is up, and the chatbots are known.
func (r *modelRun) calm(ctx context.Context) {
	if r.random.IntN(2) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Minute)
		defer cancel()
	}
	if r.random.IntN(2) == 0 { // a caller in a hurry must not make discovery fail
		hurried, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		r.discover(hurried)
		cancel()
	}
	if !r.discover(ctx) {
		r.checker.fault("discovery: down with a server that behaves well")
	}
	scrape := &modelScrape{chatbots: r.chatbots}
	scrape.deadline, _ = ctx.Deadline()
	r.scrape(ctx, scrape)
	for i, result := range scrape.results {
		if result.Err != nil {
			r.checker.fault("%s is down with a server that behaves well: %v", short(r.chatbots[i].UUID), result.Err)
		}
	}
}
