package fetch

import (
	"errors"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// hints are what an operator can do about failures with a known cause.
var hints = []struct {
	cause error
	hint  string
}{
	{client.ErrNoKey, "make the key file hold the API key and nothing else, and let the user of the exporter read it"},
	{client.ErrHTML, "check the base URL: it is a web page, not the API"},
	{client.ErrPage, "report it to the maintainers of the exporter: it cannot read lists in pages"},
	{client.ErrToHTTPS, "write https in the base URL"},
	{client.ErrElsewhere, "check the base URL: the API has moved to another host, which the API key is not sent to"},
	{client.ErrProxyPassword, "check the user name and password in the address of the proxy"},
	{client.ErrProxy, "check the base URL, and that the proxy allows and can reach it"},
	{client.ErrTLSFile, "check that the certificate and key files for TLS exist and that the user of the exporter can read them"},
	{client.ErrAuthority, "if it is a private authority, check that the environment variable SSL_CERT_FILE names its certificate"},
	{client.ErrCertificate, "check the base URL, the clock of this machine, and the certificate of the API or of a proxy before it"},
	{client.ErrLargeHeaders, "check the base URL, and whether a proxy adds headers"},
}

// Hint returns what an operator can do about a failed fetch from an endpoint of the
// API (see [client.Endpoint]). It names settings by what they are, not by flags.
func Hint(err error, endpoint string) string {
	for _, h := range hints {
		if errors.Is(err, h.cause) {
			return h.hint
		}
	}
	switch ReasonOf(err) {
	case client.Unauthorized:
		return "check that the API key is complete and still valid, and that the base URL is the brand of its account"
	case client.NotFound:
		if endpoint == client.EndpointChatbots {
			return "check the base URL; if it is right, the brand has no list of chatbots: name them with the setting chatwize.chatbot or, in a file of accounts, chatbots"
		}
		return "check the UUID of the chatbot, and that the base URL is the brand of the account"
	case client.RateLimited:
		return "scrape less often"
	case client.Timeout:
		return "raise the scrape timeout of Prometheus, the timeout of fetches or the concurrency; or check the network to the API"
	case client.Network:
		return "check the base URL, and DNS, proxy and firewall between here and the API"
	case client.ServerError:
		return "wait; if it lasts, ask the support of the platform"
	default: // client.UnexpectedStatus, client.InvalidResponse
		return "check the base URL; if it is right, the API has changed: report it to the maintainers of the exporter"
	}
}

// streamHint is Hint for a command that fetches once.
func streamHint(err error) string {
	switch until := PausedUntil(err); {
	case !until.IsZero():
		return "try again after " + until.UTC().Format(time.RFC3339) + ", or raise the timeout of fetches to wait for it"
	case ReasonOf(err) == client.Timeout:
		return "raise the timeout of fetches, or check the network to the API"
	default:
		return Hint(err, client.EndpointSessions)
	}
}
