package fetch

import (
	"context"
	"slices"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// Directory knows the chatbots of an account.
type Directory interface {
	// Chatbots returns all chatbots, or why none are known.
	Chatbots(ctx context.Context) ([]client.Chatbot, error)
	// Chatbot returns the chatbot with a UUID, in any spelling. It reports false if
	// that chatbot must not be fetched.
	Chatbot(ctx context.Context, uuid string) (client.Chatbot, bool)
}

// Configured is a Directory of chatbots given by the user.
type Configured []client.Chatbot

// Chatbots returns c.
func (c Configured) Chatbots(context.Context) ([]client.Chatbot, error) { return c, nil }

// Chatbot returns the chatbot with a UUID and reports whether it is configured.
func (c Configured) Chatbot(_ context.Context, uuid string) (client.Chatbot, bool) {
	return find(c, uuid)
}

// find returns the chatbot with a UUID, in any spelling, and reports whether there is
// one.
func find(chatbots []client.Chatbot, uuid string) (client.Chatbot, bool) {
	canonical := client.CanonicalUUID(uuid)
	i := slices.IndexFunc(chatbots, func(c client.Chatbot) bool { return client.CanonicalUUID(c.UUID) == canonical })
	if i < 0 {
		return client.Chatbot{}, false
	}
	return chatbots[i], true
}
