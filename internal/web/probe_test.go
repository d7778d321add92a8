package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/apimetrics"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// chatbots returns the UUIDs on a page of metrics, and the names of the metrics that
// are not of a chatbot.
func chatbots(page string) (uuids map[string]bool, others []string) {
	uuids = map[string]bool{}
	for line := range strings.Lines(page) {
		name, labels, _ := strings.Cut(line, "{")
		if _, of, ok := strings.Cut(labels, `chatbot="`); ok {
			uuid, _, _ := strings.Cut(of, `"`)
			uuids[uuid] = true
		} else if !strings.HasPrefix(line, "#") {
			others = append(others, name)
		}
	}
	return uuids, others
}

// A probe shows one chatbot and nothing else, whichever it is and however the target
// is spelled: under the UUID and name that were configured or discovered.
func TestProbe(t *testing.T) {
	const last = "7f5e5376-dbf0-45cd-8c72-c60f428653d3"
	configured := []client.Chatbot{{UUID: shop, Name: "Shop"}, {UUID: desk}, {UUID: last, Name: "Last"}}
	synctest.Test(t, func(t *testing.T) {
		api := slowAPI{new(atomic.Int64)}
		for directory, handler := range map[string]http.Handler{
			"configured": newHandlerOf(t, api, "/metrics", configured...),
			"discovered": newDiscoveringHandler(t, false, func() (*client.ChatbotsResponse, error) {
				return &client.ChatbotsResponse{Chatbots: []client.Chatbot{{UUID: shop, Name: "Shop"}, {UUID: desk}, {UUID: last, Name: "Last"}}}, nil
			}),
		} {
			for target, want := range map[string][2]string{
				shop:                                   {shop, "Shop"},
				"7F5E5376-dbf0-45cd-8c72-c60f428653D1": {shop, "Shop"},
				desk:                                   {desk, desk},
				"7f5e5376dbf045cd8c72c60f428653d2":     {desk, desk},
				last:                                   {last, "Last"},
				"7F5E5376DBF045CD8C72C60F428653D3":     {last, "Last"},
			} {
				got := get(handler, "GET", "/probe?target="+target, nil)
				page := got.Body.String()
				uuids, others := chatbots(page)
				if got.Code != 200 || !reflect.DeepEqual(uuids, map[string]bool{want[0]: true}) || len(others) > 0 ||
					!strings.Contains(page, `chatwize_sessions_with_lead{chatbot="`+want[0]+`"} 1`) ||
					!strings.Contains(page, `chatwize_chatbot_info{chatbot="`+want[0]+`",name="`+want[1]+`"} 1`) {
					t.Errorf("target %s, %s: got %d, chatbots %v and metrics %v", target, directory, got.Code, uuids, others)
				}
			}
		}
		if requests := api.requests.Load(); requests != 6 {
			t.Errorf("the API got %d requests, want 6", requests)
		}
	})
}

// A probe ends in time, and shares a fetch with the scrape that is under way.
func TestProbeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := slowAPI{new(atomic.Int64)}
		handler := newHandlerOf(t, api, "/metrics", client.Chatbot{UUID: shop})
		go get(handler, "GET", "/metrics", nil)
		synctest.Wait()
		start := time.Now()
		page := get(handler, "GET", "/probe?target="+shop, http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {"0.9"}}).Body.String()
		if took := time.Since(start); took != 450*time.Millisecond || !strings.Contains(page, `chatwize_up{chatbot="`+shop+`"} 0`) {
			t.Errorf("got after %v\n%s", took, page)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if requests := api.requests.Load(); requests != 1 {
			t.Errorf("the API got %d requests, want 1", requests)
		}
	})
}

// listingAPI lists chatbots.
type listingAPI struct {
	slowAPI
	list func() (*client.ChatbotsResponse, error)
}

func (a listingAPI) Chatbots(context.Context) (*client.ChatbotsResponse, error) { return a.list() }

func newDiscoveringHandler(t *testing.T, probeOnly bool, list func() (*client.ChatbotsResponse, error)) http.Handler {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics := apimetrics.New(registry)
	config := newConfig(listingAPI{slowAPI{new(atomic.Int64)}, list}, metrics)
	handler, err := web.NewHandler(web.Config{
		Options:  web.Options{TelemetryPath: "/metrics", ProbeOnly: probeOnly},
		Accounts: oneAccount(config, fetch.NewDiscovery(config, fetch.DiscoveryOptions{Interval: time.Minute, OnAttempt: metrics.SetDiscovery})),
		Registry: registry, Logger: log.NewNopLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

func TestServiceDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list []client.Chatbot
		err := error(&client.Error{Reason: client.ServerError, Status: 500})
		handler := newDiscoveringHandler(t, false, func() (*client.ChatbotsResponse, error) {
			return &client.ChatbotsResponse{Chatbots: list}, err
		})

		// Where nothing is known, Prometheus keeps what it has.
		if got := get(handler, "GET", "/sd", nil); got.Code != http.StatusServiceUnavailable ||
			got.Body.String() != "the chatbots could not be discovered; the log of the exporter says why\n" {
			t.Errorf("got %d with %s", got.Code, got.Body)
		}
		page := get(handler, "GET", "/metrics", nil)
		uuids, _ := chatbots(page.Body.String())
		if page.Code != 200 || len(uuids) > 0 || !strings.Contains(page.Body.String(), "\nchatwize_discovery_up 0\n") {
			t.Errorf("got %d with %s", page.Code, page.Body)
		}

		list, err = []client.Chatbot{{UUID: shop, Name: `"Zoë" 🛒`}, {UUID: desk}}, nil
		want := []any{
			map[string]any{"targets": []any{shop}, "labels": map[string]any{"__meta_chatwize_chatbot_name": `"Zoë" 🛒`}},
			map[string]any{"targets": []any{desk}, "labels": map[string]any{"__meta_chatwize_chatbot_name": desk}},
		}
		for range 2 {
			answer := get(handler, "GET", "/sd", nil)
			var got []any
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != 200 ||
				answer.Header().Get("Content-Type") != "application/json" || !reflect.DeepEqual(got, want) {
				t.Errorf("got %d, %v with %v", answer.Code, answer.Header(), got)
			}
			time.Sleep(2 * time.Minute)
			err = &client.Error{Reason: client.ServerError, Status: 500} // the last good list stays
		}
		page = get(handler, "GET", "/metrics", nil)
		if uuids, _ := chatbots(page.Body.String()); !reflect.DeepEqual(uuids, map[string]bool{shop: true, desk: true}) ||
			!strings.Contains(page.Body.String(), "\nchatwize_discovery_up 0\n") {
			t.Errorf("got %s", page.Body)
		}
		// Only what the account lists can be probed.
		const other = "7f5e5376dbf045cd8c72c60f428653d3"
		probe := get(handler, "GET", "/probe?target="+shop, nil).Body.String()
		if want := `chatwize_chatbot_info{chatbot="` + shop + `",name="\"Zoë\" 🛒"} 1`; !strings.Contains(probe, want) {
			t.Errorf("%s is missing in\n%s", want, probe)
		}
		if got := get(handler, "GET", "/probe?target="+other, nil); got.Code != http.StatusBadRequest {
			t.Errorf("another target: got %d with %s", got.Code, got.Body)
		}
	})
}

// Without a list any target is tried, until ten were no chatbots of the account. Then the
// answer is 503. Targets that have answered are still fetched.
func TestProbeBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		metrics := apimetrics.New(registry)
		config := newConfig(foreignAPI{slowAPI{new(atomic.Int64)}}, metrics)
		handler, err := web.NewHandler(web.Config{
			Options:  web.Options{TelemetryPath: "/metrics"},
			Accounts: oneAccount(config, fetch.NewDiscovery(config, fetch.DiscoveryOptions{Interval: time.Minute, OnAttempt: metrics.SetDiscovery})),
			Registry: registry, Logger: log.NewNopLogger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		probe := func(target string, status int, part string) {
			t.Helper()
			if got := get(handler, "GET", "/probe?target="+target, nil); got.Code != status || !strings.Contains(got.Body.String(), part) {
				t.Errorf("%s: got %d with %s", target, got.Code, got.Body)
			}
		}
		probe(shop, 200, `chatwize_up{chatbot="`+shop+`"} 1`)
		for i := range 20 {
			target := fmt.Sprintf("%032x", i)
			if i < 10 {
				probe(target, 200, `chatwize_fetch_failure_info{chatbot="`+target+`",reason="not_found"} 1`)
			} else {
				probe(target, 503, "too many targets were not chatbots of the account; try again in a few seconds\n")
			}
		}
		probe(shop, 200, `chatwize_up{chatbot="`+shop+`"} 1`)
	})
}

// foreignAPI has no list of chatbots, and one chatbot.
type foreignAPI struct{ slowAPI }

func (a foreignAPI) Sessions(ctx context.Context, chatbot string, options client.SessionsOptions) (*client.SessionsResponse, error) {
	if chatbot != shop {
		return nil, &client.Error{Reason: client.NotFound, Status: http.StatusNotFound}
	}
	return a.slowAPI.Sessions(ctx, chatbot, options)
}

func (foreignAPI) Chatbots(context.Context) (*client.ChatbotsResponse, error) {
	return nil, &client.Error{Reason: client.NotFound, Status: http.StatusNotFound}
}

func TestProbeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lists := 0
		handler := newDiscoveringHandler(t, true, func() (*client.ChatbotsResponse, error) {
			lists++
			return &client.ChatbotsResponse{Chatbots: []client.Chatbot{{UUID: shop}}}, nil
		})
		page := get(handler, "GET", "/metrics", nil).Body.String()
		if uuids, others := chatbots(page); len(uuids) > 0 || len(others) == 0 || lists != 0 || strings.Contains(page, "chatwize_discovery_up ") {
			t.Errorf("after %d discoveries got %s", lists, page)
		}
		if page := get(handler, "GET", "/probe?target="+shop, nil).Body.String(); !strings.Contains(page, `chatwize_sessions{chatbot="`+shop+`"} 1`) {
			t.Errorf("got %s", page)
		}
		if page := get(handler, "GET", "/metrics", nil).Body.String(); !strings.Contains(page, "\nchatwize_discovery_up 1\n") || lists != 1 {
			t.Errorf("after %d discoveries got %s", lists, page)
		}
	})
}

// A discovery that hangs leaves a probe half of its time, and the chatbot is shown
// under its UUID.
func TestProbeWhileDiscoveryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := newDiscoveringHandler(t, true, func() (*client.ChatbotsResponse, error) {
			time.Sleep(time.Hour)
			return nil, &client.Error{Reason: client.Timeout}
		})
		start := time.Now()
		page := get(handler, "GET", "/probe?target="+shop, http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {"10"}}).Body.String()
		if took := time.Since(start); took != 6*time.Second || !strings.Contains(page, `chatwize_chatbot_info{chatbot="`+shop+`",name="`+shop+`"} 1`) ||
			!strings.Contains(page, `chatwize_up{chatbot="`+shop+`"} 1`) {
			t.Errorf("after %v got\n%s", took, page)
		}
		time.Sleep(time.Hour)
	})
}
