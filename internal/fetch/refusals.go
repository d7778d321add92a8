package fetch

import (
	"errors"
	"net/http"
	"sync"

	"github.com/chatwize-exporter/chatwize_exporter/client"
)

// maxRefusals is how many answers in a row may refuse the key before a scrape begins no
// further request. It is 1 if the last answer to the list of chatbots refused the key.
const maxRefusals = 4

// errRefused is the cause of an [Error] without a request.
var errRefused = errors.New("not tried, because the API refuses the key")

// refusals counts the answers in a row that refused the key, in one scrape.
type refusals struct {
	mutex sync.Mutex
	n     int
}

// add adds the outcome of a fetch. Fetches without an answer change nothing.
func (r *refusals) add(err error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	switch {
	case isRefused(err):
		r.n++
	case err == nil || StatusOf(err) != 0:
		r.n = 0
	}
}

// exceed reports whether there are maximum answers in a row.
func (r *refusals) exceed(maximum int) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.n >= maximum
}

// isRefused reports whether the API refused the key as such: 403 may be about a chatbot.
func isRefused(err error) bool {
	status := StatusOf(err)
	return ReasonOf(err) == client.Unauthorized &&
		(status == http.StatusUnauthorized || status == http.StatusUnprocessableEntity)
}
