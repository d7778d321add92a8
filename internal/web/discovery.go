package web

import (
	"encoding/json"
	"net/http"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

// targetGroup is an element of what Prometheus's HTTP service discovery reads.
//
// Source: https://prometheus.io/docs/prometheus/latest/http_sd/
type targetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// discoveryHandler serves the chatbots to Prometheus's HTTP service discovery,
// which keeps the targets it has where the answer is not 200.
func discoveryHandler(config Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chatbots, err := config.Directory.Chatbots(r.Context())
		if err != nil {
			http.Error(w, "the chatbots could not be discovered; the exporter's log says why", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(targetGroups(chatbots))
	})
}

func targetGroups(chatbots collector.Chatbots) []targetGroup {
	groups := make([]targetGroup, 0, len(chatbots))
	for _, chatbot := range chatbots {
		groups = append(groups, targetGroup{
			Targets: []string{chatbot.UUID},
			Labels:  map[string]string{"__meta_chatwize_chatbot_name": chatbot.ShownName()},
		})
	}
	return groups
}
