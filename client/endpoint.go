package client

import "context"

// EndpointSessions is the endpoint that lists a chatbot's sessions.
const EndpointSessions = "sessions"

type endpointKey struct{}

func withEndpoint(ctx context.Context, endpoint string) context.Context {
	return context.WithValue(ctx, endpointKey{}, endpoint)
}

// Endpoint returns the name of the API's endpoint that a request with this
// context goes to, for whoever measures requests in a [http.RoundTripper]. It is
// empty for a request that is not the client's.
func Endpoint(ctx context.Context) string {
	endpoint, _ := ctx.Value(endpointKey{}).(string)
	return endpoint
}
