package web

import (
	"encoding/json"
	"net/http"

	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
)

// targetGroup is an element of the response to Prometheus's HTTP service discovery.
//
// Source: https://prometheus.io/docs/prometheus/latest/http_sd/
type targetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// serviceDiscovery serves the chatbots to Prometheus's HTTP service discovery.
// Prometheus keeps its targets if the status is not 200.
type serviceDiscovery struct{ directory fetch.Directory }

func (s serviceDiscovery) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	chatbots, err := s.directory.Chatbots(r.Context())
	if err != nil {
		http.Error(w, "the chatbots could not be discovered; the log of the exporter says why", http.StatusServiceUnavailable)
		return
	}
	groups := make([]targetGroup, 0, len(chatbots))
	for _, chatbot := range chatbots {
		groups = append(groups, targetGroup{
			Targets: []string{chatbot.UUID},
			Labels:  map[string]string{"__meta_chatwize_chatbot_name": chatbot.NameOrUUID()},
		})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(groups)
}
