package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/apimetrics"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/web"
)

// named are accounts with names, whose lists are those of a test.
type named struct {
	accounts []*accounts.Account
	requests atomic.Int64 // for sessions
	lists    atomic.Int64 // requests for lists
}

// add adds an account with a list of chatbots, that takes a time, or with an error.
func (n *named) add(name string, takes time.Duration, err error, uuids ...string) {
	registry := prometheus.NewRegistry()
	metrics := apimetrics.New(nil)
	prometheus.WrapRegistererWith(prometheus.Labels{accounts.Label: name}, registry).MustRegister(metrics)
	var list []client.Chatbot
	for _, uuid := range uuids {
		list = append(list, client.Chatbot{UUID: uuid, Name: name + "'s"})
	}
	config := newConfig(listingAPI{slowAPI{&n.requests}, func() (*client.ChatbotsResponse, error) {
		n.lists.Add(1)
		time.Sleep(takes)
		return &client.ChatbotsResponse{Chatbots: list}, err
	}}, metrics)
	account := newAccount(name, config, fetch.NewDiscovery(config, fetch.DiscoveryOptions{Interval: 5 * time.Minute, OnAttempt: metrics.SetDiscovery}))
	account.Metrics = registry
	n.accounts = append(n.accounts, account)
}

func (n *named) handler(t *testing.T, config web.Config) http.Handler {
	t.Helper()
	set := accounts.NewSet(n.accounts...)
	config.Accounts = func() *accounts.Set { return set }
	config.TelemetryPath, config.TimeoutOffset = "/metrics", 500*time.Millisecond
	config.Registry, config.Logger = prometheus.NewRegistry(), log.NewNopLogger()
	handler, err := web.NewHandler(config)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// families returns the families of a page in their order, after it has been parsed.
func families(t *testing.T, page string) (names []string, byName map[string]*dto.MetricFamily) {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	byName, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(rest)[0])
		}
	}
	return names, byName
}

// One scrape fetches accounts side by side. Each family is there once, sorted, and each metric
// of an account has its label.
func TestAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n named
		n.add("bolt", 0, nil, shop, desk)
		n.add("acme", 0, nil, shop)
		n.add("empty", 0, nil)
		n.add("hangs", time.Hour, nil)
		handler := n.handler(t, web.Config{})
		begun := time.Now()
		page := get(handler, "GET", "/metrics", http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {"10"}}).Body.String()
		if took := time.Since(begun); took != 4750*time.Millisecond { // half of 9.5 s, for the list that hangs
			t.Errorf("the scrape took %v", took)
		}
		names, byName := families(t, page)
		if len(names) != len(byName) || !slices.IsSorted(names) {
			t.Errorf("got families %v", names)
		}
		for name, family := range byName {
			for _, metric := range family.GetMetric() {
				ofAccount := strings.HasPrefix(name, "chatwize_")
				if labels := metric.GetLabel(); len(labels) > 0 && labels[0].GetName() == "account" != ofAccount {
					t.Errorf("%s has the labels %v", name, labels)
				}
			}
		}
		for _, want := range []string{
			"chatwize_up{account=\"acme\",chatbot=\"" + shop + "\"} 1\nchatwize_up{account=\"bolt\",chatbot=\"" + desk + "\"} 1\nchatwize_up{account=\"bolt\",chatbot=\"" + shop + "\"} 1\n",
			`chatwize_chatbot_info{account="acme",chatbot="` + shop + `",name="acme's"} 1`,
			"chatwize_discovery_up{account=\"acme\"} 1\nchatwize_discovery_up{account=\"bolt\"} 1\nchatwize_discovery_up{account=\"empty\"} 1\n",
			`chatwize_api_errors_total{account="hangs",reason="timeout"} 0`,
		} {
			if !strings.Contains(page, want) {
				t.Errorf("%s\nis missing in\n%s", want, page)
			}
		}
		time.Sleep(2 * time.Hour)
	})
}

// A probe is of one account, of a chatbot of it, or of the account that lists the chatbot.
func TestProbeOfAccount(t *testing.T) {
	const both, foreign = "7f5e5376dbf045cd8c72c60f428653d3", "7f5e5376dbf045cd8c72c60f428653d4"
	up := func(account string, uuids ...string) (lines string) {
		for _, uuid := range uuids {
			lines += `chatwize_up{account="` + account + `",chatbot="` + uuid + "\"} 1\n"
		}
		return lines
	}
	tests := map[string]struct {
		query  string
		status int
		want   string // the lines of chatwize_up, or the whole answer
	}{
		"an account":                   {"account=acme", 200, up("acme", shop, both)},
		"with white space":             {"account=Bolt+%26+S%C3%B6hne", 200, up("Bolt & Söhne", desk, both)},
		"a chatbot of an account":      {"account=acme&target=" + shop, 200, up("acme", shop)},
		"one that another has, too":    {"account=acme&target=" + both, 200, up("acme", both)},
		"a chatbot":                    {"target=" + shop, 200, up("acme", shop)},
		"in another spelling":          {"target=7f5e5376dbf045cd8c72c60f428653d2", 200, up("Bolt & Söhne", desk)},
		"of several accounts":          {"target=" + both, 400, "several accounts have the target; add one of them as account: \"Bolt & Söhne\", \"acme\"\n"},
		"of none":                      {"target=" + foreign, 400, "no account lists the target, as far as the lists are known; add the account, as in /probe?account=NAME&target=UUID\n"},
		"of another account":           {"account=acme&target=" + desk, 400, "the target is not one of the chatbots of this account, which /sd lists\n"},
		"of an account without a list": {"account=broken&target=" + foreign, 200, up("broken", foreign)},
		"nothing":                      {"", 400, "give one account or target, as in /probe?account=NAME or /probe?target=UUID\n"},
		"no UUID":                      {"target=x", 400, "the target is not a UUID; write 32 hexadecimal digits, with or without dashes\n"},
		"two targets":                  {"target=" + shop + "&target=" + desk, 400, "give one account or target, as in /probe?account=NAME or /probe?target=UUID\n"},
		"an unknown account":           {"account=Key-0815", 400, "no account has this name; /sd lists the accounts with chatbots\n"},
		"two accounts":                 {"account=acme&account=broken", 400, "give one account, as in /probe?account=NAME\n"},
		"an empty account":             {"account=&target=" + shop, 400, "give one account, as in /probe?account=NAME\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n named
				n.add("acme", 0, nil, shop, both)
				n.add("Bolt & Söhne", 0, nil, desk, both)
				n.add("broken", 0, &client.Error{Reason: client.NotFound, Status: 404})
				answer := get(n.handler(t, web.Config{Options: web.Options{ProbeOnly: true}}), "GET", "/probe?"+test.query, nil)
				got := answer.Body.String()
				ofAccount := strings.Contains(got, "chatwize_api_errors_total{account=") && strings.Contains(got, "chatwize_discovery_up{account=")
				if answer.Code == 200 {
					if !ofAccount {
						t.Errorf("the metrics of the account are missing in %s", got)
					}
					got = lines(got, "chatwize_up{")
				}
				if answer.Code != test.status || got != test.want {
					t.Errorf("got %d,\n%s, want\n%s", answer.Code, got, test.want)
				}
				if strings.HasPrefix(test.query, "target=") && n.requests.Load() > 1 {
					t.Errorf("%d requests", n.requests.Load())
				}
			})
		})
	}
}

// A probe of a chatbot that an account has does not wait for the list of another that hangs.
func TestProbeBesideHangingList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n named
		n.add("hangs", time.Hour, nil)
		n.add("acme", 0, nil, shop)
		handler := n.handler(t, web.Config{Options: web.Options{ProbeOnly: true}})
		begun := time.Now()
		answer := get(handler, "GET", "/probe?target="+shop, http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {"10"}})
		if took := time.Since(begun); !strings.Contains(answer.Body.String(), `chatwize_up{account="acme",chatbot="`+shop+`"} 1`) || took != 1100*time.Millisecond {
			t.Errorf("after %v: got %s", took, answer.Body)
		}
		time.Sleep(time.Hour)
	})
}

// lines returns the lines of a page with a prefix.
func lines(page, prefix string) (found string) {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, prefix) {
			found += line
		}
	}
	return found
}

// A target without an account is looked for in lists, which are requested when they are due,
// not for each target that is unknown.
func TestProbeListsRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n named
		n.add("acme", 0, nil, shop)
		n.add("bolt", 0, nil, desk)
		handler := n.handler(t, web.Config{})
		for range 10 {
			for i := range 3 {
				get(handler, "GET", fmt.Sprintf("/probe?target=%032x", i), nil)
			}
			time.Sleep(time.Minute)
		}
		if lists := n.lists.Load(); lists != 4 { // every five minutes
			t.Errorf("requested %d lists", lists)
		}
	})
}

// Scrapes of an account share a page, and count towards the limit of pages.
func TestAccountLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n named
		n.add("acme", 0, nil, shop)
		n.add("bolt", 0, nil, desk)
		handler := n.handler(t, web.Config{Options: web.Options{MaxRequests: 3}})
		var refused, served atomic.Int64
		var scrapes sync.WaitGroup
		for _, path := range []string{"/metrics", "/probe?account=acme", "/probe?account=acme", "/probe?account=bolt"} {
			scrapes.Go(func() {
				if got := get(handler, "GET", path, nil); got.Code == http.StatusServiceUnavailable {
					refused.Add(1)
				} else {
					served.Add(1)
				}
			})
		}
		scrapes.Wait()
		if refused.Load() != 1 || served.Load() != 3 || n.requests.Load() != 2 {
			t.Errorf("%d refused, %d served, %d requests", refused.Load(), served.Load(), n.requests.Load())
		}
	})
}

// Service discovery has the chatbots of all accounts whose list is known.
func TestServiceDiscoveryOfAccounts(t *testing.T) {
	failed := &client.Error{Reason: client.NotFound, Status: 404}
	tests := map[string]struct {
		query  string
		add    func(*named)
		status int
		want   string // account/name of each, or the answer
	}{
		"all":        {"", func(n *named) { n.add("bolt", 0, nil, desk); n.add("acme", 0, nil, shop) }, 200, "acme/acme's bolt/bolt's"},
		"one":        {"?account=bolt", func(n *named) { n.add("bolt", 0, nil, desk); n.add("acme", 0, nil, shop) }, 200, "bolt/bolt's"},
		"unknown":    {"?account=x", func(n *named) { n.add("acme", 0, nil, shop) }, 400, "no account has this name; /sd lists the accounts with chatbots\n"},
		"one fails":  {"", func(n *named) { n.add("bolt", 0, failed); n.add("acme", 0, nil, shop) }, 200, "acme/acme's"},
		"one hangs":  {"", func(n *named) { n.add("bolt", time.Hour, nil); n.add("acme", 0, nil, shop) }, 200, "acme/acme's"},
		"this fails": {"?account=bolt", func(n *named) { n.add("bolt", 0, failed); n.add("acme", 0, nil, shop) }, 503, "the chatbots could not be discovered; the log of the exporter says why\n"},
		"all fail":   {"", func(n *named) { n.add("bolt", 0, failed); n.add("acme", 0, failed) }, 503, "the chatbots could not be discovered; the log of the exporter says why\n"},
		"one empty":  {"", func(n *named) { n.add("bolt", 0, nil); n.add("acme", 0, failed) }, 200, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n named
				test.add(&n)
				begun := time.Now()
				answer := get(n.handler(t, web.Config{}), "GET", "/sd"+test.query, nil)
				got := answer.Body.String()
				if answer.Code == 200 {
					var groups []struct{ Labels map[string]string }
					if err := json.Unmarshal(answer.Body.Bytes(), &groups); err != nil {
						t.Fatal(err)
					}
					var all []string
					for _, group := range groups {
						all = append(all, group.Labels["__meta_chatwize_account"]+"/"+group.Labels["__meta_chatwize_chatbot_name"])
					}
					got = strings.Join(all, " ")
				}
				if took := time.Since(begun); answer.Code != test.status || got != test.want || took > 10*time.Second {
					t.Errorf("after %v got %d, %s, want %s", took, answer.Code, got, test.want)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// A reload is requested by POST, and not by other sites.
func TestReload(t *testing.T) {
	var err error
	reloads := 0
	var n named
	handler := n.handler(t, web.Config{Reload: func(ctx context.Context) error {
		reloads++
		return errors.Join(err, ctx.Err())
	}})
	tests := []struct {
		method string
		header http.Header
		err    error
		status int
		want   string
	}{
		{"POST", nil, nil, 200, "OK\n"},
		{"POST", nil, errors.New("a.yml: is wrong"), 500, "the accounts stay as they were: a.yml: is wrong\n"},
		{"GET", nil, nil, 405, "Method Not Allowed\n"},
		{"POST", http.Header{"Sec-Fetch-Site": {"cross-site"}}, nil, 403, "cross-origin request detected from Sec-Fetch-Site header\n"},
		{"POST", http.Header{"Origin": {"http://other.example"}}, nil, 403, "cross-origin request detected, and/or browser is out of date: Sec-Fetch-Site is missing, and Origin does not match Host\n"},
	}
	for _, test := range tests {
		err = test.err
		if got := get(handler, test.method, "/-/reload", test.header); got.Code != test.status || got.Body.String() != test.want {
			t.Errorf("%s with %v: got %d, %s", test.method, test.header, got.Code, got.Body)
		}
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, httptest.NewRequestWithContext(gone, http.MethodPost, "/-/reload", nil))
	if response.Code != 499 || reloads != 3 {
		t.Errorf("%d reloads; got %d, %s", reloads, response.Code, response.Body)
	}
	if got := get(newHandler(t, "/metrics"), "POST", "/-/reload", nil); got.Code != 404 {
		t.Errorf("without a file: got %d", got.Code)
	}
}
