package web

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// sharingTime is how long after its first scrape a page may be shared.
const sharingTime = time.Second

// pages makes pages of metrics. Scrapes with the same timeout share a page if they
// overlap and begin within a second. So the memory of a page is needed once, whatever
// the number of scrapes.
type pages struct {
	// fetch fetches what a page shows. It returns a function that makes its metrics.
	fetch func(context.Context) prometheus.GathererFunc
	// encode returns the response to a request, compressed. Its body is written to the
	// buffer.
	encode func(*http.Request, prometheus.GathererFunc, *bytes.Buffer) *response
	// encoding guards buffer. One page is made and encoded at a time, as each takes memory.
	encoding sync.Mutex
	buffer   bytes.Buffer

	mutex sync.Mutex
	open  map[time.Duration]*page // that can be shared, by timeout
}

// page is a page of metrics that several scrapes may share.
type page struct {
	timeout time.Duration // of its scrapes, 0 if they have none
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
func (s *pages) serve(w http.ResponseWriter, r *http.Request, timeout time.Duration) {
	p := s.join(r.Context(), timeout)
	defer s.leave(p)
	made := s.wait(r, p)
	if made == nil {
		return
	}
	if _, gzip := w.(*gzhttp.GzipResponseWriter); gzip {
		made.send(w)
	} else {
		made.sendUncompressed(w)
	}
}

// join returns the page for a scrape.
func (s *pages) join(ctx context.Context, timeout time.Duration) *page {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	p := s.open[timeout]
	if p == nil || time.Since(p.begun) >= sharingTime {
		p = s.begin(ctx, timeout)
	}
	p.scrapes++
	p.waiting++
	return p
}

// begin begins a page. It needs s.mutex.
func (s *pages) begin(ctx context.Context, timeout time.Duration) *page {
	p := &page{timeout: timeout, begun: time.Now(), fetched: make(chan struct{}), responses: map[expfmt.Format]func() *response{}}
	// The first scrape may leave before the others.
	ctx = context.WithoutCancel(ctx)
	if timeout > 0 {
		ctx, p.cancel = context.WithTimeout(ctx, timeout)
	} else {
		ctx, p.cancel = context.WithCancel(ctx)
	}
	s.open[timeout] = p
	p.expiry = time.AfterFunc(sharingTime, func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.close(p)
	})
	go func() {
		metrics := s.fetch(ctx)
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
	if s.open[p.timeout] == p {
		delete(s.open, p.timeout)
	}
	s.drop(p)
}

// drop drops what only further responses need, if there will be none. It needs
// s.mutex.
func (s *pages) drop(p *page) {
	if p.waiting == 0 && s.open[p.timeout] != p {
		p.metrics, p.responses = nil, nil
	}
}
