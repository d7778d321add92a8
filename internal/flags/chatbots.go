package flags

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/alecthomas/kingpin/v2"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// chatbots is a [kingpin.Value] of a repeatable flag.
type chatbots struct {
	flag          *kingpin.FlagClause
	into          *[]client.Chatbot
	given         map[string]bool // by canonical UUID
	onCommandLine bool
}

// Chatbots makes flag repeatable and accept UUID or UUID=NAME. Its environment variable
// accepts several, separated by commas or newlines.
func Chatbots(flag *kingpin.FlagClause, into *[]client.Chatbot) {
	c := &chatbots{flag: flag, into: into, given: map[string]bool{}}
	flag.IsSetByUser(&c.onCommandLine).SetValue(c)
}

// String returns nothing, so that the help shows no default.
func (c *chatbots) String() string { return "" }

// IsCumulative reports true, to kingpin: the flag may be repeated.
func (c *chatbots) IsCumulative() bool { return true }

// Set adds a chatbot or, from the environment, several.
func (c *chatbots) Set(text string) error {
	if c.onCommandLine {
		return c.add(text)
	}
	if strings.TrimSpace(strings.ReplaceAll(text, ",", "")) == "" && strings.Contains(text, ",") {
		// A template whose values are empty does not mean all chatbots.
		return Error(c.flag, fmt.Errorf("chatbot %d is missing; write UUIDs between the commas, or remove the variable", len(*c.into)+1))
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

func (c *chatbots) add(text string) error {
	chatbot, err := parseChatbot(text)
	if err != nil {
		return Error(c.flag, fmt.Errorf("chatbot %d %w", len(*c.into)+1, err))
	}
	canonical := client.CanonicalUUID(chatbot.UUID)
	if c.given[canonical] {
		return Error(c.flag, fmt.Errorf("chatbot %s is given twice; remove one", canonical))
	}
	c.given[canonical] = true
	*c.into = append(*c.into, chatbot)
	return nil
}

func parseChatbot(text string) (client.Chatbot, error) {
	id, name, named := strings.Cut(text, "=")
	chatbot := client.Chatbot{UUID: strings.TrimSpace(id), Name: client.CleanName(name)}
	switch {
	case !client.IsUUID(chatbot.UUID):
		return client.Chatbot{}, errors.New(
			"is not a UUID; write 32 hexadecimal digits, with or without dashes, and =NAME after them if you like")
	case named && chatbot.Name == "":
		return client.Chatbot{}, errors.New("has nothing after its =; write a name there or remove the =")
	case holdsChatbot(name):
		return client.Chatbot{}, errors.New("has another chatbot in its name; repeat the flag, or write a comma between chatbots in the variable")
	case !utf8.ValidString(name):
		return client.Chatbot{}, errors.New("has a name that is not UTF-8; write it in UTF-8")
	}
	return chatbot, nil
}

// holdsChatbot reports whether a name goes on with another chatbot, after a wrong separator.
func holdsChatbot(name string) bool {
	const separators = ";,|"
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(separators, r) }) {
		id, _, named := strings.Cut(part, "=")
		if client.IsUUID(id) && (named || strings.ContainsAny(name, separators)) {
			return true
		}
	}
	return false
}
