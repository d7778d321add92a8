package collector

import (
	"context"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// retryInterval is how long a failed discovery is not tried again where there is
// something to show without.
const retryInterval = 30 * time.Second

// Discovery is a Directory of the account's chatbots, as the API lists them. It
// is a [prometheus.Collector] of whether the last attempt worked.
type Discovery struct {
	source   *Source
	interval time.Duration
	attempts singleflight.Group
	up       *prometheus.Desc

	mutex     sync.Mutex
	list      Chatbots
	known     bool // there is a list, if only an empty one
	attempted bool // there was an attempt, and worked tells how the last went
	worked    bool
	next      time.Time // when the next is due
	skipped   int       // how many entries of the last list were left out
}

// NewDiscovery returns a Discovery that asks for the chatbots by way of source and
// keeps what it gets for interval.
func NewDiscovery(source *Source, interval time.Duration) *Discovery {
	return &Discovery{source: source, interval: interval, up: prometheus.NewDesc("chatwize_discovery_up",
		"Whether the last attempt to discover the account's chatbots worked (1) or not (0).", nil, nil)}
}

// Describe sends the descriptor of chatwize_discovery_up.
func (d *Discovery) Describe(ch chan<- *prometheus.Desc) { ch <- d.up }

// Collect sends chatwize_discovery_up once there was an attempt.
func (d *Discovery) Collect(ch chan<- prometheus.Metric) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if !d.attempted {
		return
	}
	value := 0.0
	if d.worked {
		value = 1
	}
	ch <- prometheus.MustNewConstMetric(d.up, prometheus.GaugeValue, value)
}

// Chatbots returns the account's chatbots. If the list is to be asked for again and
// that fails, or takes more than half of the time that ctx leaves, it is the list
// from before; with none there is an error.
func (d *Discovery) Chatbots(ctx context.Context) (Chatbots, error) {
	list, known, err := d.refreshed(ctx, func() bool { return !d.known || !time.Now().Before(d.next) })
	if known {
		return list, nil
	}
	return nil, err
}

// Chatbot returns any chatbot, with its name if that is known.
func (d *Discovery) Chatbot(ctx context.Context, uuid string) (Chatbot, bool) {
	// A failure is counted and logged; the chatbot can be shown without its name.
	list, _, _ := d.refreshed(ctx, func() bool { return !time.Now().Before(d.next) })
	if chatbot, ok := list.Find(uuid); ok {
		return chatbot, true
	}
	return Chatbot{UUID: uuid}, true
}

// refreshed returns the list, after an attempt if one is due, whose error it returns
// too, and whether there is a list. It waits half of the time that ctx leaves at the
// most. With a list to show, the attempt ends then, to leave the requests that may be
// under way to the chatbots; without, it goes on for whoever asks next.
func (d *Discovery) refreshed(ctx context.Context, due func() bool) (list Chatbots, known bool, err error) {
	d.mutex.Lock()
	isDue, known := due(), d.known
	d.mutex.Unlock()
	if isDue {
		timeout := d.source.Timeout
		patience := ctx
		if deadline, ok := ctx.Deadline(); ok {
			half := time.Until(deadline) / 2
			if known {
				timeout = min(timeout, half)
			}
			var cancel context.CancelFunc
			patience, cancel = context.WithTimeout(ctx, half)
			defer cancel()
		}
		free := context.WithoutCancel(ctx)
		attempt := d.attempts.DoChan("", func() (any, error) { return nil, d.attempt(free, timeout, due) })
		select {
		case result := <-attempt:
			err = result.Err
		case <-patience.Done():
			err = context.Cause(patience)
		}
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.list, d.known, err
}

// attempt asks for the list and remembers it, or counts and logs why it cannot,
// unless another attempt has just done so.
func (d *Discovery) attempt(ctx context.Context, timeout time.Duration, due func() bool) error {
	d.mutex.Lock()
	isDue := due()
	d.mutex.Unlock()
	if !isDue {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	list, skipped, err := d.fetch(ctx)
	if err != nil {
		d.source.report(err, findChatbots, "msg", "discovering the chatbots failed")
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.attempted, d.worked = true, err == nil
	if err != nil {
		d.next = time.Now().Add(min(d.interval, retryInterval))
		return err
	}
	if skipped > 0 && skipped != d.skipped {
		level.Warn(d.source.Logger).Log("msg", "the list of chatbots has entries without a UUID of their own; they are left out",
			"entries", skipped)
	}
	d.list, d.known, d.skipped = list, true, skipped
	d.next = time.Now().Add(d.interval)
	return nil
}

func (d *Discovery) fetch(ctx context.Context) (list Chatbots, skipped int, err error) {
	if d.source.requests.Acquire(ctx, 1) != nil {
		return nil, 0, d.source.starved(context.Cause(ctx))
	}
	defer d.source.requests.Release(1)
	chatbots, err := try(ctx, &d.source.pause, func() (chatbots []client.Chatbot, err error) {
		chatbots, skipped, err = d.source.API.Chatbots(ctx)
		return chatbots, err
	})
	for _, chatbot := range chatbots {
		list = append(list, Chatbot(chatbot))
	}
	return list, skipped, err
}
