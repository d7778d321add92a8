package web

import (
	"errors"
	"net/url"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
)

// The parameters of requests.
const (
	accountParameter = "account"
	targetParameter  = "target"
)

// accountOf returns the account that a query names. Its error, for the client, does not quote
// the query, which may hold an API key in the wrong place.
func accountOf(set *accounts.Set, query url.Values) (*accounts.Account, error) {
	names := query[accountParameter]
	if len(names) != 1 || names[0] == "" {
		return nil, errors.New("give one account, as in " + probePath + "?account=NAME")
	}
	account, ok := set.Find(names[0])
	if !ok {
		return nil, errors.New("no account has this name; " + discoveryPath + " lists the accounts with chatbots")
	}
	return account, nil
}

// targetOf returns the target of a probe, a UUID, or an error for the client.
func targetOf(set *accounts.Set, query url.Values) (string, error) {
	targets := query[targetParameter]
	switch {
	case (len(targets) != 1 || targets[0] == "") && set.Named():
		return "", errors.New("give one account or target, as in " + probePath + "?account=NAME or " + probePath + "?target=UUID")
	case len(targets) != 1 || targets[0] == "":
		return "", errors.New("give one target, as in " + probePath + "?target=UUID")
	case !client.IsUUID(targets[0]):
		return "", errors.New("the target is not a UUID; write 32 hexadecimal digits, with or without dashes")
	}
	return targets[0], nil
}

// listerOf returns what lists chatbots, in the words of a user.
func listerOf(set *accounts.Set) string {
	if set.Named() {
		return "account"
	}
	return "exporter"
}
