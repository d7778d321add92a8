package collector

import (
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// What an operator can do where the API says 404.
const (
	findSessions = "check the chatbot's UUID and that --chatwize.url is the brand the account is with"
	findChatbots = "name the chatbots with --chatwize.chatbot, as not every brand lists them; or check --chatwize.url"
)

// remedy says what an operator can do about a failed fetch, with find where the API
// says 404.
func remedy(failure *client.Error, find string) string {
	switch failure.Reason {
	case client.Unauthorized:
		if failure.Status == 0 {
			return "put the API key into the file that --chatwize.token-file names, and nothing else"
		}
		return "check that the API key is this account's and still valid"
	case client.NotFound:
		return find
	case client.RateLimited:
		return "scrape less often"
	case client.Timeout:
		return "raise the scrape timeout of Prometheus, --chatwize.timeout or --chatwize.concurrency, or look at the way to the API"
	case client.Network:
		return "check --chatwize.url, DNS, proxy and firewall between here and the API"
	case client.ServerError:
		return "wait; if it lasts, ask the platform's support"
	default: // client.UnexpectedStatus, client.InvalidResponse
		return "check --chatwize.url; if it is right, the API has changed: report it to the exporter's maintainers"
	}
}

// readRemedy says what an operator can do about a failed Read.
func readRemedy(failure *client.Error) string {
	switch {
	case !failure.RetryAt.IsZero():
		return "it wants no requests until " + failure.RetryAt.UTC().Format(time.RFC3339) +
			"; try again then, or let a longer --chatwize.timeout wait for it"
	case failure.Reason == client.Timeout:
		return "raise --chatwize.timeout, or look at the way to the API"
	default:
		return remedy(failure, findSessions)
	}
}
