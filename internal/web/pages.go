package web

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// sharingTime is how long after its first scrape a page may be shared.
const sharingTime = time.Second

// pages makes pages of metrics. Scrapes of the same account with the same timeout share a page if they
// overlap and begin within a second. So the memory of a page is needed once, whatever
// the number of scrapes.
type pages struct {
	// fetch fetches what the page of an account shows, or that of all if it is empty. It
	// returns a function that makes its metrics.
	fetch func(ctx context.Context, account string) prometheus.GathererFunc
	// encode returns the response to a request, compressed. Its body is written to the
	// buffer.
	encode func(*http.Request, prometheus.GathererFunc, *bytes.Buffer) *response
	// encoding guards buffer. One page is made and encoded at a time, as each takes memory.
	encoding sync.Mutex
	buffer   bytes.Buffer

	mutex sync.Mutex
	open  map[pageKey]*page // that can be shared
}

// pageKey is what scrapes must have in common to share a page.
type pageKey struct {
	account string        // whose metrics are shown; empty: all
	timeout time.Duration // 0 if there is none
}

// page is a page of metrics that several scrapes may share.
type page struct {
	pageKey
	begun   time.Time
	cancel  context.CancelFunc // ends fetching
	expiry  *time.Timer        // ends sharing
	fetched chan struct{}      // closed when metrics is set

	// Dropped when no scrape can need them any more: a slow reader must not keep them.
	metrics   prometheus.GathererFunc
	responses map[expfmt.Format]func() *response // guarded by pages.mutex

	// Guarded by pages.mutex.
	scrapes int // number of those that wait for a response or read it
	waiting int // number of those that wait for a response
}

// serve serves a page, unless the client disconnects. w must be of [gzhttp].
func (s *pages) serve(w http.ResponseWriter, r *http.Request, key pageKey) {
	p := s.join(r.Context(), key)
	defer s.leave(p)
	if made := s.wait(r, p); made != nil {
		made.sendTo(w)
	} else {
		clientClosed(w)
	}
}

// join returns the page for a scrape.
func (s *pages) join(ctx context.Context, key pageKey) *page {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	p := s.open[key]
	if p == nil || time.Since(p.begun) >= sharingTime {
		p = s.begin(ctx, key)
	}
	p.scrapes++
	p.waiting++
	return p
}

// begin begins a page. It needs s.mutex.
func (s *pages) begin(ctx context.Context, key pageKey) *page {
	p := &page{pageKey: key, begun: time.Now(), fetched: make(chan struct{}), responses: map[expfmt.Format]func() *response{}}
	// The first scrape may leave before the others.
	ctx = context.WithoutCancel(ctx)
	if key.timeout > 0 {
		ctx, p.cancel = context.WithTimeout(ctx, key.timeout)
	} else {
		ctx, p.cancel = context.WithCancel(ctx)
	}
	s.open[key] = p
	p.expiry = time.AfterFunc(sharingTime, func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.close(p)
	})
	go func() {
		metrics := s.fetch(ctx, key.account)
		s.mutex.Lock()
		defer s.mutex.Unlock()
		p.metrics = metrics
		s.drop(p)
		close(p.fetched)
	}()
	return p
}

// wait returns the response of a page to a request, or nil if the client disconnects.
func (s *pages) wait(r *http.Request, p *page) *response {
	defer func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		p.waiting--
		s.drop(p)
	}()
	select {
	case <-p.fetched:
	case <-r.Context().Done():
	}
	if r.Context().Err() != nil {
		return nil
	}
	if r.URL.Query().Has("name[]") {
		return s.encodePage(r, p) // there are too many sets of names to keep their responses
	}
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	s.mutex.Lock()
	encoded, ok := p.responses[format]
	if !ok {
		encoded = sync.OnceValue(func() *response { return s.encodePage(r, p) })
		p.responses[format] = encoded
	}
	s.mutex.Unlock()
	return encoded()
}

func (s *pages) encodePage(r *http.Request, p *page) *response {
	s.encoding.Lock()
	defer s.encoding.Unlock()
	s.buffer.Reset()
	encoded := s.encode(r, p.metrics, &s.buffer)
	// The copy has no unused capacity, and may be needed longer.
	encoded.body = bytes.NewBuffer(bytes.Clone(s.buffer.Bytes()))
	return encoded
}

// leave ends the scrape of a page. The last one ends the page, and waits for the end of its
// fetches: whoever disconnects must not begin more of them than the limit of requests
// allows.
func (s *pages) leave(p *page) {
	s.mutex.Lock()
	p.scrapes--
	last := p.scrapes == 0
	if last {
		p.cancel()
		s.close(p)
	}
	s.mutex.Unlock()
	if last {
		<-p.fetched
	}
}

// close ends sharing a page. It needs s.mutex.
func (s *pages) close(p *page) {
	p.expiry.Stop()
	if s.open[p.pageKey] == p {
		delete(s.open, p.pageKey)
	}
	s.drop(p)
}

// drop drops what only further responses need, if there will be none. It needs
// s.mutex.
func (s *pages) drop(p *page) {
	if p.waiting == 0 && s.open[p.pageKey] != p {
		p.metrics, p.responses = nil, nil
	}
}
