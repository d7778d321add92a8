package fetch

import (
	"context"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"golang.org/x/sync/singleflight"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// rediscoveryInterval is the time from a failed discovery to the next one, if there is
// an earlier list or only one chatbot is wanted.
const rediscoveryInterval = 30 * time.Second

// minAttempt is the least timeout of an attempt, however much of a hurry its caller is
// in: half of Prometheus's default scrape timeout.
const minAttempt = 5 * time.Second

// DiscoveryOptions are the settings of a [Discovery].
type DiscoveryOptions struct {
	// Interval is how long a list of chatbots is kept.
	Interval time.Duration
	// OnAttempt is called after each attempt to fetch the list.
	OnAttempt func(succeeded bool)
}

// Discovery is a [Directory] of the chatbots that the API lists.
type Discovery struct {
	Config
	DiscoveryOptions
	attempts singleflight.Group

	mutex    sync.Mutex
	chatbots []client.Chatbot
	listed   bool      // whether there is a list, which may be empty
	next     time.Time // when the next attempt is due
	skipped  int       // number of entries left out of the last list
}

// NewDiscovery returns a Discovery.
func NewDiscovery(config Config, options DiscoveryOptions) *Discovery {
	return &Discovery{Config: config, DiscoveryOptions: options}
}

// Chatbots returns the chatbots of the account. It returns the previous list if a new
// one is due but fails or takes more than half of the time that ctx leaves. Without a
// previous list it returns the error.
func (d *Discovery) Chatbots(ctx context.Context) ([]client.Chatbot, error) {
	chatbots, listed, err := d.refresh(ctx, func() bool { return !d.listed || !time.Now().Before(d.next) })
	if listed {
		return chatbots, nil
	}
	return nil, err
}

// Chatbot returns the chatbot with any UUID, with its name if the list has it.
func (d *Discovery) Chatbot(ctx context.Context, uuid string) (client.Chatbot, bool) {
	// A failure has been counted and logged; the chatbot can be fetched without a name.
	chatbots, _, _ := d.refresh(ctx, func() bool { return !time.Now().Before(d.next) })
	if chatbot, ok := find(chatbots, uuid); ok {
		return chatbot, true
	}
	return client.Chatbot{UUID: uuid}, true
}

// refresh returns the list, whether there is one, and the error of the attempt that it
// made if one was due. It waits for at most half of the time that ctx leaves. With a
// previous list the attempt ends then, to release its slot, but not before minAttempt;
// without one, it goes on for the next caller.
func (d *Discovery) refresh(ctx context.Context, due func() bool) (chatbots []client.Chatbot, listed bool, err error) {
	d.mutex.Lock()
	isDue, listed := due(), d.listed
	d.mutex.Unlock()
	if isDue {
		timeout := d.Gate.timeout
		patience := ctx
		if deadline, ok := ctx.Deadline(); ok {
			half := time.Until(deadline) / 2
			if listed {
				timeout = min(timeout, max(half, minAttempt))
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
	return d.chatbots, d.listed, err
}

// attempt fetches the list, unless another attempt has just done so. It counts and
// logs a failure.
func (d *Discovery) attempt(ctx context.Context, timeout time.Duration, due func() bool) error {
	d.mutex.Lock()
	isDue := due()
	d.mutex.Unlock()
	if !isDue {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	response, err := Do(ctx, d.Gate, client.EndpointChatbots, d.API.Chatbots)
	if err != nil {
		d.report(err, client.EndpointChatbots, "msg", "discovering the chatbots failed")
	}
	d.OnAttempt(err == nil)
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if err != nil {
		d.next = time.Now().Add(min(d.Interval, rediscoveryInterval))
		return err
	}
	if response.Skipped > 0 && response.Skipped != d.skipped {
		level.Warn(d.Logger).Log("msg", "entries of the list of chatbots are left out: they have no UUID or the same as another",
			"entries", response.Skipped)
	}
	d.chatbots, d.listed, d.skipped = response.Chatbots, true, response.Skipped
	d.next = time.Now().Add(d.Interval)
	return nil
}
