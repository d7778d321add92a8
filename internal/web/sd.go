package web

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
)

// targetGroup is an element of the response to Prometheus's HTTP service discovery.
//
// Source: https://prometheus.io/docs/prometheus/latest/http_sd/
type targetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// listTimeout is the maximum duration of the lists of several accounts. An account whose list
// is not there in half of it is left out: Prometheus would wait for a minute at most, and
// without an answer get no new chatbot of any account.
const listTimeout = 20 * time.Second

// serviceDiscovery serves the chatbots to Prometheus's HTTP service discovery.
// Prometheus keeps its targets if the status is not 200.
type serviceDiscovery struct {
	accounts func() *accounts.Set
	// encoding is held while a response is made. One is made at a time, as each takes memory.
	encoding sync.Mutex
}

func (s *serviceDiscovery) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	set := s.accounts()
	if query := r.URL.Query(); set.Named() && query.Has(accountParameter) {
		account, err := accountOf(set, query)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		set = accounts.NewSet(account)
	}
	ctx := r.Context()
	if len(set.Accounts) > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, listTimeout)
		defer cancel()
	}
	lists := set.Lists(ctx)
	s.encoding.Lock()
	defer s.encoding.Unlock()
	groups, known := []targetGroup{}, false
	for _, list := range lists {
		known = known || list.Err == nil
		for _, chatbot := range list.Chatbots {
			labels := map[string]string{"__meta_chatwize_chatbot_name": chatbot.NameOrUUID()}
			if list.Account.Name != "" {
				labels["__meta_chatwize_account"] = list.Account.Name
			}
			groups = append(groups, targetGroup{Targets: []string{chatbot.UUID}, Labels: labels})
		}
	}
	if !known {
		http.Error(w, "the chatbots could not be discovered; the log of the exporter says why", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // it would make names six times as long
	_ = encoder.Encode(groups)
}
