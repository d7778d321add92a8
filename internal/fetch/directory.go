package fetch

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Directory knows the chatbots of an account.
type Directory interface {
	// Chatbots returns all chatbots, or why none are known.
	Chatbots(ctx context.Context) ([]client.Chatbot, error)
	// Chatbot returns the chatbot with a UUID, in any spelling, and what is known of it.
	Chatbot(ctx context.Context, uuid string) (client.Chatbot, Standing)
	// Lists reports whether a chatbot with a UUID, in any spelling, is on the list. The list
	// is fetched before only if that is due.
	Lists(ctx context.Context, uuid string) bool
}

// Standing is what a [Directory] knows of a chatbot.
type Standing int

// The standings of a chatbot.
const (
	Unlisted   Standing = iota // not a chatbot of the account, or not one to fetch
	Listed                     // to be fetched
	Unverified                 // without a list, nobody knows; see [Source.FetchUnverified]
)

// Configured is a Directory of chatbots given by the user.
type Configured []client.Chatbot

// Chatbots returns c.
func (c Configured) Chatbots(context.Context) ([]client.Chatbot, error) { return c, nil }

// Chatbot returns the configured chatbot with a UUID.
func (c Configured) Chatbot(_ context.Context, uuid string) (client.Chatbot, Standing) {
	if chatbot, ok := find(c, uuid); ok {
		return chatbot, Listed
	}
	return client.Chatbot{}, Unlisted
}

// Lists reports whether a chatbot with a UUID is configured.
func (c Configured) Lists(_ context.Context, uuid string) bool {
	_, ok := find(c, uuid)
	return ok
}

// Named is a [Directory] of configured chatbots, some without a name, which get the names
// that the API lists.
type Named struct {
	configured Configured
	*names
}

// names are the names that the API lists.
type names struct {
	list  *Discovery
	asked atomic.Bool
}

// NewNamed returns a Named. It requests the list at most once an interval.
func NewNamed(config Config, chatbots []client.Chatbot, options DiscoveryOptions) *Named {
	options.namesOnly = true
	return &Named{chatbots, &names{list: NewDiscovery(config, options)}}
}

// With returns a Named of other chatbots that uses the same list.
func (n *Named) With(chatbots []client.Chatbot) *Named { return &Named{chatbots, n.names} }

// Chatbots returns the configured chatbots. Only the first call waits for the list, for
// at most half of the time that ctx leaves.
func (n *Named) Chatbots(ctx context.Context) ([]client.Chatbot, error) {
	return n.withNames(ctx, n.configured), nil
}

// Chatbot returns the configured chatbot with a UUID.
func (n *Named) Chatbot(ctx context.Context, uuid string) (client.Chatbot, Standing) {
	chatbot, standing := n.configured.Chatbot(ctx, uuid)
	if standing == Listed {
		chatbot = n.withNames(ctx, []client.Chatbot{chatbot})[0]
	}
	return chatbot, standing
}

// Lists reports whether a chatbot with a UUID is configured.
func (n *Named) Lists(ctx context.Context, uuid string) bool { return n.configured.Lists(ctx, uuid) }

// withNames returns chatbots with the names of the list where they have none.
func (n *names) withNames(ctx context.Context, chatbots []client.Chatbot) []client.Chatbot {
	var list []client.Chatbot
	if n.asked.CompareAndSwap(false, true) {
		list, _ = n.list.Chatbots(ctx)
	} else {
		list = n.list.refreshLater(ctx)
	}
	names := map[string]string{}
	for _, chatbot := range list {
		names[client.CanonicalUUID(chatbot.UUID)] = chatbot.Name
	}
	chatbots = slices.Clone(chatbots)
	for i := range chatbots {
		if chatbots[i].Name == "" {
			chatbots[i].Name = names[client.CanonicalUUID(chatbots[i].UUID)]
		}
	}
	return chatbots
}

// find returns the chatbot with a UUID, in any spelling, and reports whether there is
// one.
func find(chatbots []client.Chatbot, uuid string) (client.Chatbot, bool) {
	// Prometheus sends the spelling of the list. Converting 10,000 UUIDs takes a millisecond.
	if i := slices.IndexFunc(chatbots, func(c client.Chatbot) bool { return c.UUID == uuid }); i >= 0 {
		return chatbots[i], true
	}
	canonical := client.CanonicalUUID(uuid)
	i := slices.IndexFunc(chatbots, func(c client.Chatbot) bool { return client.CanonicalUUID(c.UUID) == canonical })
	if i < 0 {
		return client.Chatbot{}, false
	}
	return chatbots[i], true
}
