package collector

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// errPaused is the error of a fetch that was not tried because of a pause.
var errPaused = errors.New("the API wants no requests")

// pause is a time without requests that the API has asked for; its zero value is
// none. It is safe for concurrent use.
type pause struct {
	mutex sync.Mutex
	end   time.Time
}

// until makes the pause last until end at least, and returns its end.
func (p *pause) until(end time.Time) time.Time {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if end.After(p.end) {
		p.end = end
	}
	return p.end
}

// check returns an error while the pause lasts.
func (p *pause) check() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if !time.Now().Before(p.end) {
		return nil
	}
	return &client.Error{Reason: client.RateLimited, RetryAt: p.end,
		Err: fmt.Errorf("%w until %s", errPaused, p.end.UTC().Format(time.RFC3339))}
}
