package web

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// maxFiltered is the maximum number of requests for some metrics by name (name[]) at a
// time. Others wait. There are too many sets of names to share their responses.
const maxFiltered = 4

// sharingTime is how long after its first scrape a page may be shared.
const sharingTime = time.Second

// pages makes pages of metrics. Scrapes with the same timeout share a page if they
// overlap and begin within a second. So the memory of a page is needed once, whatever
// the number of scrapes.
type pages struct {
	// gather returns the metrics of a page.
	gather func(context.Context) ([]*dto.MetricFamily, error)
	// encode returns the response to a request. Its body is written to the buffer.
	encode func(*http.Request, prometheus.GathererFunc, *bytes.Buffer) *response
	// encoding guards buffer. One page is encoded at a time, as each takes memory.
	encoding sync.Mutex
	buffer   bytes.Buffer
	filtered chan struct{} // has one element for each request with names

	mutex sync.Mutex
	open  map[time.Duration]*page // that can be shared, by timeout
}

// page is a page of metrics that several scrapes may share.
type page struct {
	timeout  time.Duration // of its scrapes, 0 if they have none
	begun    time.Time
	cancel   context.CancelFunc // ends gathering
	expiry   *time.Timer        // ends sharing
	gathered chan struct{}      // closed when families and err are set

	// Dropped when no scrape can need them any more: a slow reader must not keep them.
	families  []*dto.MetricFamily
	err       error
	responses map[format]func() *response // guarded by pages.mutex

	// Guarded by pages.mutex.
	scrapes int // number of those that wait for a response or read it
	waiting int // number of those that wait for a response
}

// format is what responses with the same page can differ in.
type format struct {
	encoding expfmt.Format
	gzip     bool
}

func newPages(gather func(context.Context) ([]*dto.MetricFamily, error), encode func(*http.Request, prometheus.GathererFunc, *bytes.Buffer) *response) *pages {
	return &pages{gather: gather, encode: encode, filtered: make(chan struct{}, maxFiltered), open: map[time.Duration]*page{}}
}

// serve serves a page, unless the client disconnects. w must be of [gzhttp].
func (s *pages) serve(w http.ResponseWriter, r *http.Request, timeout time.Duration) {
	_, gzip := w.(*gzhttp.GzipResponseWriter)
	if isFiltered(r) {
		select {
		case s.filtered <- struct{}{}:
			defer func() {
				_ = http.NewResponseController(w).Flush()
				<-s.filtered
			}()
		case <-r.Context().Done():
			return
		}
	}
	p := s.join(r.Context(), timeout)
	defer s.leave(p)
	made := s.wait(r, p, format{
		encoding: expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...),
		gzip:     gzip,
	})
	if made != nil {
		made.send(w)
	}
}

// isFiltered reports whether a request is for some metrics only.
func isFiltered(r *http.Request) bool { return r.URL.Query().Has("name[]") }

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
	p := &page{timeout: timeout, begun: time.Now(), gathered: make(chan struct{}), responses: map[format]func() *response{}}
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
		families, err := s.gather(ctx)
		s.mutex.Lock()
		defer s.mutex.Unlock()
		p.families, p.err = families, err
		s.drop(p)
		close(p.gathered)
	}()
	return p
}

// wait returns the response of a page in a format, or nil if the client disconnects.
func (s *pages) wait(r *http.Request, p *page, in format) *response {
	defer func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		p.waiting--
		s.drop(p)
	}()
	select {
	case <-p.gathered:
	case <-r.Context().Done():
	}
	if r.Context().Err() != nil {
		return nil
	}
	if isFiltered(r) {
		return s.encodePage(r, p)
	}
	s.mutex.Lock()
	encoded, ok := p.responses[in]
	if !ok {
		encoded = sync.OnceValue(func() *response { return s.encodePage(r, p) })
		p.responses[in] = encoded
	}
	s.mutex.Unlock()
	return encoded()
}

func (s *pages) encodePage(r *http.Request, p *page) *response {
	s.encoding.Lock()
	defer s.encoding.Unlock()
	s.buffer.Reset()
	encoded := s.encode(r, func() ([]*dto.MetricFamily, error) { return p.families, p.err }, &s.buffer)
	// The copy has no unused capacity, and may be needed longer.
	encoded.body = bytes.NewBuffer(bytes.Clone(s.buffer.Bytes()))
	return encoded
}

// leave ends the scrape of a page. The last one ends the page.
func (s *pages) leave(p *page) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	p.scrapes--
	if p.scrapes == 0 {
		p.cancel()
		s.close(p)
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
		p.families, p.responses = nil, nil
	}
}
