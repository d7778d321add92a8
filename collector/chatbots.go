package collector

import (
	"cmp"
	"context"
	"slices"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Chatbot is a chatbot to be shown.
type Chatbot struct {
	// UUID is the chatbot's, as the user or the API writes it.
	UUID string
	// Name is shown beside it; the UUID where there is none.
	Name string
}

// ShownName returns the chatbot's name, or its UUID if it has none.
func (c Chatbot) ShownName() string { return cmp.Or(c.Name, c.UUID) }

// Directory tells which chatbots there are to be shown.
type Directory interface {
	// Chatbots returns all of them. An error says why none is known.
	Chatbots(ctx context.Context) (Chatbots, error)
	// Chatbot returns the one with a UUID, in any spelling, and whether it may be
	// shown.
	Chatbot(ctx context.Context, uuid string) (Chatbot, bool)
}

// Chatbots are a Directory of chatbots that are known once and for all.
type Chatbots []Chatbot

// Chatbots returns c.
func (c Chatbots) Chatbots(context.Context) (Chatbots, error) { return c, nil }

// Chatbot returns that of c with a UUID.
func (c Chatbots) Chatbot(_ context.Context, uuid string) (Chatbot, bool) { return c.Find(uuid) }

// Find returns that of c with a UUID, in any spelling, and whether there is one.
func (c Chatbots) Find(uuid string) (Chatbot, bool) {
	canonical := client.CanonicalUUID(uuid)
	i := slices.IndexFunc(c, func(chatbot Chatbot) bool { return client.CanonicalUUID(chatbot.UUID) == canonical })
	if i < 0 {
		return Chatbot{}, false
	}
	return c[i], true
}
