package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
)

// EndpointChatbots is the endpoint that lists the account's chatbots.
const EndpointChatbots = "chatbots"

// Chatbot is a chatbot of the account.
type Chatbot struct {
	UUID string // in the API's spelling
	Name string // empty if it has none
}

// They bound the memory that a list of chatbots, and all that it leads to, takes.
const (
	maxChatbotSize  = 1 << 20  // bytes of JSON
	maxChatbotsSize = 16 << 20 // likewise
	maxChatbots     = 10_000
)

var (
	errChatbotsTooLarge = fmt.Errorf("a chatbot of more than %d or a list of more than %d bytes", maxChatbotSize, maxChatbotsSize)
	errTooManyChatbots  = fmt.Errorf("a list of more than %d chatbots", maxChatbots)
)

// Chatbots fetches the account's chatbots. Entries of the list that have no UUID,
// or one that came before, are left out; skipped is how many. A failure is an
// [*Error].
//
// Source: "Get Chatbots" of GPT-trainer's, AI Chatbot Hub's and Chatsistant's API;
// Chatwize documents none.
func (c *Client) Chatbots(ctx context.Context) (chatbots []Chatbot, skipped int, err error) {
	body, err := c.get(ctx, EndpointChatbots, url.Values{}, Validator{}, "api/v1/chatbots")
	if err != nil {
		return nil, 0, err
	}
	defer body.Close()
	list := io.LimitedReader{R: body, N: maxChatbotsSize}
	entry := io.LimitedReader{R: &list, N: maxChatbotSize}
	decoder := json.NewDecoder(&entry)
	seen := map[string]bool{}
	for chatbot, err := range decodeChatbots(decoder) {
		if len(chatbots) == maxChatbots {
			err = errTooManyChatbots
		}
		if err != nil {
			if list.N <= 0 || entry.N <= 0 {
				err = errChatbotsTooLarge
			}
			offset := decoder.InputOffset()
			return nil, 0, body.explain(ctx, &Error{
				Reason: InvalidResponse, Status: http.StatusOK, Offset: offset, Err: err,
				Transient: errors.Is(err, errTruncated) && offset > 0,
			})
		}
		entry.N = maxChatbotSize
		canonical := CanonicalUUID(chatbot.UUID)
		if !IsUUID(chatbot.UUID) || seen[canonical] {
			skipped++
			continue
		}
		seen[canonical] = true
		chatbots = append(chatbots, chatbot)
	}
	if list.N <= 0 || entry.N <= 0 { // what seemed to be the end was the limit
		return nil, 0, &Error{Reason: InvalidResponse, Status: http.StatusOK, Offset: decoder.InputOffset(), Err: errChatbotsTooLarge}
	}
	return chatbots, skipped, nil
}

// decodeChatbots yields the elements of a JSON array. The first failure ends the
// sequence; it is one of this package's own errors, which quote nothing.
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
				err = errCorrupt // what the decompression found; the wire's own are explained otherwise
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

// chatbotOf returns what a valid JSON value has of a chatbot.
func chatbotOf(value json.RawMessage) (chatbot Chatbot) {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(value, &members)
	_ = json.Unmarshal(members["uuid"], &chatbot.UUID)
	_ = json.Unmarshal(members["name"], &chatbot.Name)
	return chatbot
}
