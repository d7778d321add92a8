package accounts

import (
	"context"
	"regexp"
	"slices"
	"sync/atomic"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// selection is a directory of some of the chatbots of another: only those that match
// include, and none that match exclude. nil leaves out none.
type selection struct {
	fetch.Directory
	include, exclude *regexp.Regexp
	logger           log.Logger
	warned           *atomic.Bool // that none is selected
}

// Chatbots returns the selected chatbots.
func (s selection) Chatbots(ctx context.Context) ([]client.Chatbot, error) {
	chatbots, err := s.Directory.Chatbots(ctx)
	// Others use the same list.
	selected := slices.DeleteFunc(slices.Clone(chatbots), func(c client.Chatbot) bool { return !s.selects(c) })
	switch none := len(chatbots) > 0 && len(selected) == 0; {
	case !none:
		s.warned.Store(false)
	case !s.warned.Swap(true):
		level.Warn(s.logger).Log("msg", "None of the account's chatbots is selected", "chatbots", len(chatbots), "hint", selectionHint)
	}
	return selected, err
}

// selectionHint is what to do if no chatbot is selected.
const selectionHint = "check include and exclude: they must match a whole name or UUID, and case matters"

// Chatbot returns the selected chatbot with a UUID. While there is no list, nobody knows
// names, so that only a UUID that exclude matches is left out.
func (s selection) Chatbot(ctx context.Context, uuid string) (client.Chatbot, fetch.Standing) {
	chatbot, standing := s.Directory.Chatbot(ctx, uuid)
	if standing == fetch.Listed && !s.selects(chatbot) || standing == fetch.Unverified && matches(s.exclude, chatbot) {
		return client.Chatbot{}, fetch.Unlisted
	}
	return chatbot, standing
}

// Lists reports whether a selected chatbot with a UUID is on the list.
func (s selection) Lists(ctx context.Context, uuid string) bool {
	if !s.Directory.Lists(ctx, uuid) {
		return false
	}
	chatbot, standing := s.Directory.Chatbot(ctx, uuid)
	return standing == fetch.Listed && s.selects(chatbot)
}

func (s selection) selects(chatbot client.Chatbot) bool {
	return (s.include == nil || matches(s.include, chatbot)) && !matches(s.exclude, chatbot)
}

// matches reports whether pattern matches the name of a chatbot or its UUID, as listed or in
// its canonical spelling.
func matches(pattern *regexp.Regexp, chatbot client.Chatbot) bool {
	return pattern != nil &&
		(pattern.MatchString(chatbot.Name) || pattern.MatchString(chatbot.UUID) || pattern.MatchString(client.CanonicalUUID(chatbot.UUID)))
}
