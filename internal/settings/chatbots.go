package settings

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/alecthomas/kingpin/v2"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

// Chatbots are the chatbots given by a repeatable flag, each as UUID or UUID=NAME.
type Chatbots struct {
	flag          *kingpin.FlagClause
	list          collector.Chatbots
	given         map[string]bool // by canonical UUID
	onCommandLine bool
}

// NewChatbots makes flag take chatbots.
func NewChatbots(flag *kingpin.FlagClause) *Chatbots {
	c := &Chatbots{flag: flag, given: map[string]bool{}}
	flag.IsSetByUser(&c.onCommandLine).SetValue(c)
	return c
}

// List returns the chatbots in the order they were given.
func (c *Chatbots) List() collector.Chatbots { return c.list }

// String returns nothing: a default is not wanted in the help.
func (c *Chatbots) String() string { return "" }

// IsCumulative tells kingpin that the flag may be repeated.
func (c *Chatbots) IsCumulative() bool { return true }

// Set adds a chatbot, or, from the environment, several between commas.
func (c *Chatbots) Set(text string) error {
	if c.onCommandLine {
		return c.add(text)
	}
	for entry := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(entry) == "" {
			continue // a comma or newline at the end
		}
		if err := c.add(entry); err != nil {
			return err
		}
	}
	return nil
}

func (c *Chatbots) add(text string) error {
	chatbot, err := parseChatbot(text)
	if err != nil {
		return Error(c.flag, fmt.Errorf("chatbot %d %w", len(c.list)+1, err))
	}
	canonical := client.CanonicalUUID(chatbot.UUID)
	if c.given[canonical] {
		return Error(c.flag, fmt.Errorf("chatbot %s is given twice; leave one out", chatbot.UUID))
	}
	c.given[canonical] = true
	c.list = append(c.list, chatbot)
	return nil
}

func parseChatbot(text string) (collector.Chatbot, error) {
	id, name, named := strings.Cut(text, "=")
	chatbot := collector.Chatbot{UUID: strings.TrimSpace(id), Name: strings.TrimSpace(name)}
	switch {
	case !client.IsUUID(chatbot.UUID):
		return collector.Chatbot{}, errors.New(
			"is not a UUID; write 32 hexadecimal digits, with or without dashes, and =NAME behind them if you like")
	case named && chatbot.Name == "":
		return collector.Chatbot{}, errors.New("has nothing behind its =; write a name there or leave out the =")
	case !utf8.ValidString(chatbot.Name):
		return collector.Chatbot{}, errors.New("has a name that is not UTF-8; write it in UTF-8")
	}
	return chatbot, nil
}
