package fetch

import (
	"context"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// rediscoveryInterval is the minimum time between discoveries after a failure, and for a
// chatbot that is not on the list. Without a list, [Discovery.Chatbots] retries sooner.
const rediscoveryInterval = 30 * time.Second

// minAttempt is the least timeout of an attempt, however short the scrape timeouts of the
// callers are: half of Prometheus's default.
const minAttempt = 5 * time.Second

// DiscoveryOptions are the settings of a [Discovery].
type DiscoveryOptions struct {
	// Interval is how long a list of chatbots is kept.
	Interval time.Duration
	// OnAttempt is called after each attempt to fetch the list.
	OnAttempt func(succeeded bool)
	// OnList, if not nil, is called with each list that was fetched.
	OnList func([]client.Chatbot)

	// namesOnly is for a list that nobody depends on: an attempt is one request, takes
	// minAttempt at most and never pauses the account. Failures are not counted, and logged
	// at debug.
	namesOnly bool
}

// Discovery is a [Directory] of the chatbots that the API lists.
type Discovery struct {
	Config
	DiscoveryOptions
	attempts singleflight.Group

	mutex    sync.Mutex
	chatbots []client.Chatbot
	listed   bool          // whether there is a list, which may be empty
	err      error         // of the last attempt
	last     time.Time     // when the last attempt ended
	next     time.Time     // when the next attempt is due
	skipped  int           // number of entries left out of the last list
	patience time.Duration // longest that a caller since the last attempt would have waited
	// failures limits how often the list is fetched while there is none.
	failures *rate.Limiter
}

// NewDiscovery returns a Discovery.
func NewDiscovery(config Config, options DiscoveryOptions) *Discovery {
	return &Discovery{Config: config, DiscoveryOptions: options, failures: newFailureLimiter()}
}

// Chatbots returns the chatbots of the account. It returns the previous list if a new
// one is due but fails or takes more than half of the time that ctx leaves. Without a
// previous list it returns the error. After ten failures in a minute, it returns the last
// error without another attempt.
func (d *Discovery) Chatbots(ctx context.Context) ([]client.Chatbot, error) {
	chatbots, listed, err := d.refresh(ctx, func() bool {
		return !time.Now().Before(d.next) || !d.listed && d.failures.Tokens() >= 1
	})
	if listed {
		return chatbots, nil
	}
	return nil, err
}

// Chatbot returns the chatbot with a UUID. If it is not on the list, the list is fetched
// again, at most every 30 seconds. If there is no list, the chatbot is [Unverified].
func (d *Discovery) Chatbot(ctx context.Context, uuid string) (client.Chatbot, Standing) {
	// A failure has been counted and logged.
	chatbots, listed, _ := d.refresh(ctx, d.isDue)
	chatbot, ok := find(chatbots, uuid)
	if !ok && listed {
		chatbots, _, _ = d.refresh(ctx, func() bool { return !time.Now().Before(d.last.Add(rediscoveryInterval)) })
		chatbot, ok = find(chatbots, uuid)
	}
	switch {
	case ok:
		return chatbot, Listed
	case listed:
		return client.Chatbot{}, Unlisted
	}
	return client.Chatbot{UUID: uuid}, Unverified
}

// Lists reports whether a chatbot with a UUID is on the list, which is fetched again if it is
// due.
func (d *Discovery) Lists(ctx context.Context, uuid string) bool {
	chatbots, _, _ := d.refresh(ctx, d.isDue)
	_, ok := find(chatbots, uuid)
	return ok
}

// isDue reports whether the next attempt is due. It needs d.mutex.
func (d *Discovery) isDue() bool { return !time.Now().Before(d.next) }

// refreshLater returns the list. If an attempt is due, it begins when ctx ends, so that
// it takes no slot from what is fetched until then.
func (d *Discovery) refreshLater(ctx context.Context) []client.Chatbot {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.isDue() {
		context.AfterFunc(ctx, func() {
			d.attempts.DoChan("", func() (any, error) { return nil, d.attempt(context.WithoutCancel(ctx), minAttempt, d.isDue) })
		})
	}
	return d.chatbots
}

// refresh returns the list, whether there is one, and the error of the last attempt. If due,
// it makes an attempt and waits for at most half of the time that ctx leaves. The attempt
// outlives its callers. With a previous list, it ends after the longest wait of recent
// callers, minAttempt at least, to release its slot.
func (d *Discovery) refresh(ctx context.Context, due func() bool) (chatbots []client.Chatbot, listed bool, err error) {
	d.mutex.Lock()
	waiting, patience := ctx, d.Gate.timeout()
	if deadline, ok := ctx.Deadline(); ok {
		half := time.Until(deadline) / 2
		patience = min(patience, half)
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, half)
		defer cancel()
	}
	d.patience = max(d.patience, patience)
	isDue, timeout := due(), d.Gate.timeout()
	if d.namesOnly {
		timeout = minAttempt
	} else if d.listed {
		timeout = min(timeout, max(d.patience, minAttempt))
	}
	d.mutex.Unlock()
	if isDue {
		free := context.WithoutCancel(ctx)
		attempt := d.attempts.DoChan("", func() (any, error) { return nil, d.attempt(free, timeout, due) })
		select {
		case result := <-attempt:
			err = result.Err
		case <-waiting.Done():
			err = context.Cause(waiting)
		}
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if err == nil {
		err = d.err
	}
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
	var response *client.ChatbotsResponse
	var err error
	if d.namesOnly {
		response, err = doOnce(ctx, d.Gate, d.API.Chatbots)
	} else {
		response, err = Do(ctx, d.Gate, client.EndpointChatbots, d.API.Chatbots)
	}
	d.report(err)
	if err == nil && d.OnList != nil {
		d.OnList(response.Chatbots)
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.last, d.err, d.patience = time.Now(), err, 0
	if err != nil {
		d.failures.Reserve()
		d.next = time.Now().Add(min(d.Interval, rediscoveryInterval))
		if d.namesOnly {
			d.next = time.Now().Add(d.Interval)
		}
		return err
	}
	if response.Skipped > 0 && response.Skipped != d.skipped {
		level.Warn(d.Logger).Log("msg", "Entries of the list of chatbots are left out: they have no UUID or the same as another",
			"entries", response.Skipped, "hint", d.skippedHint())
	}
	if len(response.Chatbots) == 0 && !d.namesOnly && (len(d.chatbots) > 0 || !d.listed) {
		level.Warn(d.Logger).Log("msg", "The account has no chatbots", "hint", "check the base URL and the API key")
	}
	if len(response.Chatbots) > 0 && !d.namesOnly && !d.listed {
		level.Info(d.Logger).Log("msg", "Discovered the chatbots", "chatbots", len(response.Chatbots))
	}
	d.chatbots, d.listed, d.skipped = response.Chatbots, true, response.Skipped
	d.next = time.Now().Add(d.Interval)
	return nil
}

// skippedHint returns what to do about entries that are left out.
func (d *Discovery) skippedHint() string {
	if d.namesOnly {
		return "update the exporter"
	}
	return "update the exporter, or name the chatbots in the settings"
}

// report counts and logs the outcome of an attempt.
func (d *Discovery) report(err error) {
	if err != nil && d.Gate.isClosed() {
		return
	}
	if d.namesOnly {
		if err != nil {
			level.Debug(d.Logger).Log("msg", "Fetching the names of the chatbots failed", "reason", ReasonOf(err), "err", err)
		}
		return
	}
	d.Gate.noteList(err)
	if err != nil {
		d.Failures.add(err, client.EndpointChatbots, client.Chatbot{})
		d.Failures.flush()
	}
	d.OnAttempt(err == nil)
}
