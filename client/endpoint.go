package client

import "context"

// The endpoints of the API, as returned by [Endpoint].
const (
	EndpointSessions = "sessions" // lists the sessions of a chatbot
	EndpointChatbots = "chatbots" // lists the chatbots of the account
)

type endpointKey struct{}

func withEndpoint(ctx context.Context, endpoint string) context.Context {
	return context.WithValue(ctx, endpointKey{}, endpoint)
}

// Endpoint returns the endpoint that a request with this context goes to, so that
// a [http.RoundTripper] can measure requests by endpoint. It is empty for requests
// of others than [Client].
func Endpoint(ctx context.Context) string {
	endpoint, _ := ctx.Value(endpointKey{}).(string)
	return endpoint
}
