package accounts

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/secret"
)

// hidingDirectory is a directory that shows no API key: a user may have made it the name of
// a chatbot, or the target of a probe.
type hidingDirectory struct {
	fetch.Directory
	keys *secret.Keys
}

// Chatbots returns all chatbots, with names that hold no key.
func (d hidingDirectory) Chatbots(ctx context.Context) ([]client.Chatbot, error) {
	chatbots, err := d.Directory.Chatbots(ctx)
	chatbots = slices.Clone(chatbots) // others use the same list
	for i := range chatbots {
		chatbots[i].Name = d.hide(chatbots[i].Name)
	}
	return chatbots, err
}

// Lists reports whether a chatbot with a UUID is on the list.
func (d hidingDirectory) Lists(ctx context.Context, uuid string) bool {
	return !d.keys.In(uuid) && d.Directory.Lists(ctx, uuid)
}

// Chatbot returns the chatbot with a UUID, with a name that holds no key.
func (d hidingDirectory) Chatbot(ctx context.Context, uuid string) (client.Chatbot, fetch.Standing) {
	if d.keys.In(uuid) {
		return client.Chatbot{}, fetch.Unlisted
	}
	chatbot, standing := d.Directory.Chatbot(ctx, uuid)
	chatbot.Name = d.hide(chatbot.Name)
	return chatbot, standing
}

// hide returns a name that holds no key, and no part of one if it was cut.
func (d hidingDirectory) hide(name string) string {
	if utf8.RuneCountInString(name) < client.MaxName {
		return d.keys.Hide(name)
	}
	return d.keys.HideEnd(name)
}
