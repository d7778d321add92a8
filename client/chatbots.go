package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
)

// Chatbot is a chatbot of the account.
type Chatbot struct {
	// UUID is spelled as the user or the API writes it.
	UUID string
	// Name is empty if there is none.
	Name string
}

// NameOrUUID returns the name of the chatbot, or its UUID if it has no name.
func (c Chatbot) NameOrUUID() string { return cmp.Or(c.Name, c.UUID) }

// Limits of a list of chatbots. They bound the memory of the list and of the state
// and metrics of its chatbots.
const (
	maxChatbotSize  = 1 << 20  // bytes of JSON
	maxChatbotsSize = 16 << 20 // bytes of JSON
	maxChatbots     = 10_000
)

var (
	errChatbotsTooLarge = fmt.Errorf("a chatbot of more than %d or a list of more than %d bytes", maxChatbotSize, maxChatbotsSize)
	errNoUUIDs          = errors.New("a list of chatbots without UUIDs")
	errTooManyChatbots  = fmt.Errorf("a list of more than %d chatbots", maxChatbots)
)

// ChatbotsResponse is the list of an account's chatbots.
type ChatbotsResponse struct {
	Chatbots []Chatbot
	// Skipped counts the entries of the list that are left out: they have no UUID,
	// or one that occurred before.
	Skipped int
}

// Chatbots fetches the list of the account's chatbots. The error is an [*Error].
//
// Source: "Get Chatbots" of the APIs of GPT-trainer, AI Chatbot Hub and Chatsistant.
// Chatwize documents no such list.
func (c *Client) Chatbots(ctx context.Context) (*ChatbotsResponse, error) {
	response, err := c.get(ctx, request{endpoint: EndpointChatbots, path: []string{"api/v1/chatbots"}})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := newBody(ctx, response)
	if err != nil {
		return nil, err
	}
	list := io.LimitedReader{R: body, N: maxChatbotsSize}
	entry := io.LimitedReader{R: &list, N: maxChatbotSize}
	decoder := json.NewDecoder(&entry)
	seen := map[string]bool{}
	answer := &ChatbotsResponse{}
	for chatbot, err := range decodeChatbots(decoder) {
		if len(answer.Chatbots) == maxChatbots {
			err = errTooManyChatbots
		}
		if err != nil {
			if list.N <= 0 || entry.N <= 0 {
				err = errChatbotsTooLarge
			}
			offset := decoder.InputOffset()
			return nil, body.explain(&Error{
				Reason: InvalidResponse, Status: http.StatusOK, Offset: offset, Err: err,
				Transient: errors.Is(err, errTruncated) && offset > 0,
			})
		}
		entry.N = maxChatbotSize
		canonical := CanonicalUUID(chatbot.UUID)
		if !IsUUID(chatbot.UUID) || seen[canonical] {
			answer.Skipped++
			continue
		}
		seen[canonical] = true
		answer.Chatbots = append(answer.Chatbots, chatbot)
	}
	if list.N <= 0 || entry.N <= 0 { // the end of the data was the limit
		return nil, &Error{Reason: InvalidResponse, Status: http.StatusOK, Offset: decoder.InputOffset(), Err: errChatbotsTooLarge}
	}
	if len(answer.Chatbots) == 0 && answer.Skipped > 0 {
		return nil, &Error{Reason: InvalidResponse, Status: http.StatusOK, Err: errNoUUIDs}
	}
	return answer, nil
}

// decodeChatbots yields the elements of a JSON array. A failure is yielded once,
// last; it is an error of this package, which quotes nothing.
func decodeChatbots(decoder *json.Decoder) iter.Seq2[Chatbot, error] {
	return func(yield func(Chatbot, error) bool) {
		fail := func(err error) {
			var syntax *json.SyntaxError
			switch {
			case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
				err = errTruncated
			case errors.As(err, &syntax):
				err = errSyntax
			case !errors.Is(err, errNotList) && !errors.Is(err, errTrailing):
				err = errCorrupt // of the decompression; see body.explain for the network
			}
			yield(Chatbot{}, err)
		}
		switch token, err := decoder.Token(); {
		case err != nil:
			fail(err)
			return
		case token != json.Delim('['):
			fail(errNotList)
			return
		}
		for decoder.More() {
			var element json.RawMessage
			if err := decoder.Decode(&element); err != nil {
				fail(err)
				return
			}
			if !yield(chatbotOf(element), nil) {
				return
			}
		}
		if _, err := decoder.Token(); err != nil { // the closing bracket
			fail(err)
			return
		}
		var syntax *json.SyntaxError
		switch _, err := decoder.Token(); {
		case errors.Is(err, io.EOF):
		case err == nil, errors.As(err, &syntax):
			fail(errTrailing)
		default:
			fail(err)
		}
	}
}

// chatbotOf returns the chatbot in a valid JSON value. Missing members stay empty.
func chatbotOf(value json.RawMessage) (chatbot Chatbot) {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(value, &members)
	_ = json.Unmarshal(members["uuid"], &chatbot.UUID)
	var name string
	_ = json.Unmarshal(members["name"], &name)
	chatbot.Name = CleanName(name)
	return chatbot
}
