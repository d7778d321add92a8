package accounts_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/setting"
)

// stage is a Manager whose next accounts a test sets.
type stage struct {
	*accounts.Manager
	next   []accounts.Config
	err    error
	logged bytes.Buffer
}

func newStage() *stage {
	s := &stage{}
	s.Manager = accounts.NewManager(func(context.Context) ([]accounts.Config, error) { return s.next, s.err }, log.NewLogfmtLogger(&s.logged))
	return s
}

// reload reloads accounts. It returns what is logged.
func (s *stage) reload(t *testing.T, next ...accounts.Config) string {
	t.Helper()
	s.next = next
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.logged.Reset()
	return s.logged.String()
}

func (s *stage) account(t *testing.T, name string) *accounts.Account {
	t.Helper()
	account, ok := s.Current().Find(name)
	if !ok {
		t.Fatalf("there is no account %s", name)
	}
	return account
}

// config returns an account of an API, whose key is in a file.
func config(t *testing.T, name, api string) accounts.Config {
	t.Helper()
	c := defaults(t)
	base, err := url.Parse(api)
	if err != nil {
		t.Fatal(err)
	}
	c.Name, c.URL, c.Key, c.KeyFile = name, base, accounts.InlineKey(key), name+".key"
	return c
}

// newAPI starts an API of two chatbots and returns its URL.
func newAPI(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/chatbots") {
			_, _ = fmt.Fprintf(w, `[{"uuid":%q,"name":"Shop"},{"uuid":%q,"name":"Test desk"}]`, shopUUID, deskUUID)
			return
		}
		_, _ = fmt.Fprint(w, `[{}]`)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// scrape fetches the chatbots of an account and returns their UUIDs.
func scrape(t *testing.T, account *accounts.Account) (uuids []string) {
	t.Helper()
	chatbots, err := account.Directory.Chatbots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, result := range account.Source.FetchAll(t.Context(), chatbots) {
		if result.Err != nil {
			t.Error(result.Err)
		}
		uuids = append(uuids, chatbots[i].UUID)
	}
	return uuids
}

// requests returns the number of requests for sessions that an account has counted.
func requests(t *testing.T, account *accounts.Account) (n float64) {
	t.Helper()
	families, err := account.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			if labels[accounts.Label] != account.Name {
				t.Errorf("%s of %s has the labels %v", family.GetName(), account.Name, labels)
			}
			if family.GetName() == "chatwize_api_requests_total" && labels["endpoint"] == "sessions" {
				n += metric.GetCounter().GetValue()
			}
		}
	}
	return n
}

// An account keeps its state and counters, unless its API, key file, TLS or proxy changed.
func TestReload(t *testing.T) {
	api, otherAPI := newAPI(t), newAPI(t)
	exclude, _ := setting.Pattern("Test.*")
	proxy := &accounts.Proxy{}
	tests := map[string]struct {
		change  func(*accounts.Config)
		kept    bool
		logged  string // of changes
		chatbot []string
	}{
		"nothing":     {func(*accounts.Config) {}, true, `added= changed= removed=`, []string{shopUUID, deskUUID}},
		"timeout":     {func(c *accounts.Config) { c.Timeout = time.Minute }, true, `added= changed=acme removed=`, []string{shopUUID, deskUUID}},
		"concurrency": {func(c *accounts.Config) { c.Concurrency = 1 }, true, `added= changed=acme removed=`, []string{shopUUID, deskUUID}},
		"cache":       {func(c *accounts.Config) { c.Source.CacheTTL = time.Hour }, true, `added= changed=acme removed=`, []string{shopUUID, deskUUID}},
		"exclude":     {func(c *accounts.Config) { c.Exclude = exclude }, true, `added= changed=acme removed=`, []string{shopUUID}},
		"chatbots": {func(c *accounts.Config) { c.Chatbots = []client.Chatbot{{UUID: deskUUID}} }, true,
			`added= changed=acme removed=`, []string{deskUUID}},
		"name":     {func(c *accounts.Config) { c.Name = "zoo" }, true, `added= changed=zoo removed=`, []string{shopUUID, deskUUID}},
		"URL":      {func(c *accounts.Config) { c.URL, _ = url.Parse(otherAPI) }, false, `added= changed=acme removed=`, []string{shopUUID, deskUUID}},
		"key file": {func(c *accounts.Config) { c.KeyFile = "other" }, false, `added= changed=acme removed=`, []string{shopUUID, deskUUID}},
		"TLS":      {func(c *accounts.Config) { c.TLS.ServerName = "x" }, false, `added= changed=acme removed=`, []string{shopUUID, deskUUID}},
		"proxy":    {func(c *accounts.Config) { c.Proxy = proxy }, false, `added= changed=acme removed=`, []string{shopUUID, deskUUID}},
		"other": {func(c *accounts.Config) { c.Name, c.KeyFile = "zoo", "zoo" }, false,
			`added=zoo changed= removed=acme`, []string{shopUUID, deskUUID}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStage()
			acme, bolt := config(t, "acme", api), config(t, "bolt", api)
			if logged := s.reload(t, bolt, acme); logged != "" {
				t.Errorf("logged %s", logged)
			}
			before, other := s.account(t, "acme"), s.account(t, "bolt")
			scrape(t, before)
			changed := acme
			test.change(&changed)
			logged := s.reload(t, bolt, changed)
			if !strings.Contains(logged, `msg="Reloaded the configuration" accounts=2 `+test.logged+"\n") {
				t.Errorf("logged %s", logged)
			}
			after := s.account(t, changed.Name)
			if kept := after.Source == before.Source; kept != test.kept || before.Removed() == test.kept || after.Removed() {
				t.Errorf("the state was kept: %t; removed: %t, %t", kept, before.Removed(), after.Removed())
			}
			if s.account(t, "bolt") != other {
				t.Error("another account changed")
			}
			if got := scrape(t, after); !reflect.DeepEqual(got, test.chatbot) {
				t.Errorf("got chatbots %v, want %v", got, test.chatbot)
			}
			want := float64(len(test.chatbot))
			if test.kept {
				want += 2
			}
			if changed.Source.CacheTTL > 0 {
				want -= 2
			}
			if got := requests(t, after); got != want {
				t.Errorf("counted %v requests, want %v", got, want)
			}
			if test.kept {
				return
			}
			chatbots := []client.Chatbot{{UUID: shopUUID}, {UUID: deskUUID}}
			for _, result := range before.Source.FetchAll(t.Context(), chatbots) {
				if result.Err == nil {
					t.Error("the account that is gone fetches")
				}
			}
		})
	}
}

// The metric of discovery is there only while chatbots are discovered.
func TestReloadDiscovery(t *testing.T) {
	s := newStage()
	acme := config(t, "acme", newAPI(t))
	up := func() int {
		n, err := testutil.GatherAndCount(s.account(t, "acme").Metrics, "chatwize_discovery_up")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	configured := acme
	configured.Chatbots = []client.Chatbot{{UUID: shopUUID, Name: "Shop"}}
	for _, test := range []struct {
		config accounts.Config
		want   int
	}{{acme, 1}, {configured, 0}, {acme, 1}} {
		s.reload(t, test.config)
		scrape(t, s.account(t, "acme"))
		if got := up(); got != test.want {
			t.Errorf("with chatbots %v the metric is there %d times", test.config.Chatbots, got)
		}
	}
}

// Nothing is remembered of chatbots that are no longer on the list: it may have new ones each
// time.
func TestUnlistedAreForgotten(t *testing.T) {
	listed := []string{shopUUID, deskUUID}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/chatbots") {
			_, _ = fmt.Fprintf(w, `[{"uuid":"%s","name":"x"}]`, strings.Join(listed, `","name":"x"},{"uuid":"`))
			return
		}
		_, _ = fmt.Fprint(w, `[{}]`)
	}))
	defer server.Close()
	s := newStage()
	acme := config(t, "acme", server.URL)
	acme.DiscoveryInterval = 0
	s.reload(t, acme)
	account := s.account(t, "acme")
	tried := func(uuid string) bool { return !account.Source.Known(client.Chatbot{UUID: uuid}).Tried.IsZero() }
	scrape(t, account)
	if !tried(shopUUID) || !tried(deskUUID) {
		t.Error("a chatbot was not fetched")
	}
	listed = listed[:1]
	scrape(t, account)
	if !tried(shopUUID) || tried(deskUUID) {
		t.Error("the wrong chatbots are remembered")
	}
}

// A reload that fails changes nothing. Metrics say so.
func TestReloadFails(t *testing.T) {
	s := newStage()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s.Manager)
	want := func(successful string) {
		t.Helper()
		if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP chatwize_exporter_config_last_reload_successful Whether the last reload of the configuration file succeeded (1) or not (0).
# TYPE chatwize_exporter_config_last_reload_successful gauge
chatwize_exporter_config_last_reload_successful `+successful+"\n"), "chatwize_exporter_config_last_reload_successful"); err != nil {
			t.Error(err)
		}
	}
	acme, bolt := config(t, "acme", newAPI(t)), config(t, "bolt", newAPI(t))
	s.reload(t, acme)
	want("1")
	before := s.Current()
	broken := bolt
	broken.TLS = accounts.TLS{CAFile: key}
	s.next = []accounts.Config{bolt, broken}
	if err := s.Reload(t.Context()); err == nil || strings.Contains(err.Error(), key) || !strings.HasPrefix(err.Error(), `account "bolt": tls_config: `) {
		t.Errorf("got %v", err)
	}
	want("0")
	s.err = errors.New("accounts.yml: is wrong")
	if err := s.Reload(t.Context()); !errors.Is(err, s.err) || s.Current() != before || before.Accounts[0].Removed() {
		t.Errorf("got %v", err)
	}
	want("0")
	if logged := s.logged.String(); !strings.Contains(logged, "the accounts stay as they were") || !strings.Contains(logged, `err="accounts.yml: is wrong"`) {
		t.Errorf("logged %s", logged)
	}
	s.err = nil
	s.reload(t, acme)
	want("1")
}

// A reload that waits for another, or for a file, ends with its context. It changes nothing,
// and the metrics do not take it for a wrong file.
func TestReloadIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reading := false
		acme := config(t, "acme", "http://acme.example")
		var logged strings.Builder
		manager := accounts.NewManager(func(ctx context.Context) ([]accounts.Config, error) {
			if !reading {
				return []accounts.Config{acme}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}, log.NewLogfmtLogger(&logged))
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(manager)
		if err := manager.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := manager.Current()
		reading = true
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error)
		for range 2 {
			go func() { errs <- manager.Reload(ctx) }()
		}
		time.Sleep(time.Second)
		cancel()
		for range 2 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
		successful := func() float64 {
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return strings.HasSuffix(f.GetName(), "_last_reload_successful") })
			return families[i].GetMetric()[0].GetGauge().GetValue()
		}
		if n := strings.Count(logged.String(), "A reload was abandoned"); n != 1 || strings.Contains(logged.String(), "error") || manager.Current() != before || successful() != 1 {
			t.Errorf("successful: %v; logged %s", successful(), &logged)
		}
		// A file that cannot be read for half a minute is a failure.
		begun := time.Now()
		if err := manager.Reload(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 30*time.Second || successful() != 0 {
			t.Errorf("got %v after %v; successful: %v", err, time.Since(begun), successful())
		}
	})
}

// Reloads that change nothing, or fail, may come from any client. They do not flood the log.
func TestManyReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		acme, bolt := config(t, "acme", "http://acme.example"), config(t, "bolt", "http://bolt.example")
		s.reload(t, acme)
		logged := ""
		for range 1000 {
			logged += s.reload(t, acme)
		}
		logged += s.reload(t, acme, bolt)
		s.err = errors.New("accounts.yml: is wrong")
		for range 1000 {
			_ = s.Reload(t.Context())
		}
		time.Sleep(time.Minute)
		_ = s.Reload(t.Context())
		if n := strings.Count(logged, "Reloaded the configuration"); n != 11 || !strings.Contains(logged, "added=bolt") {
			t.Errorf("%d lines of reloads that worked, want 11: %s", n, logged)
		}
		if n := strings.Count(s.logged.String(), "accounts.yml: is wrong"); n != 1 {
			t.Errorf("%d lines of reloads that failed, want 1", n)
		}
	})
}

// The fetches of an account that is gone end at once, are not counted as failures and not
// logged. Those of others go on.
func TestReloadEndsFetches(t *testing.T) {
	asked, release := make(chan struct{}, 10), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-release:
			_, _ = fmt.Fprint(w, `[{}]`)
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	s := newStage()
	acme, bolt := config(t, "acme", server.URL), config(t, "bolt", server.URL)
	acme.Concurrency = 1
	s.reload(t, acme, bolt)
	gone, stays := s.account(t, "acme"), s.account(t, "bolt")
	var fetches sync.WaitGroup
	chatbots := []client.Chatbot{{UUID: shopUUID}, {UUID: deskUUID}} // the second waits for a slot
	fetches.Go(func() {
		for _, result := range gone.Source.FetchAll(t.Context(), chatbots) {
			if result.Err == nil || fetch.ReasonOf(result.Err) != client.Timeout || !strings.Contains(result.Err.Error(), "the account was removed") {
				t.Errorf("got %v", result.Err)
			}
		}
	})
	fetches.Go(func() {
		if _, err := gone.Directory.Chatbots(t.Context()); err == nil {
			t.Error("the list of an account that is gone was fetched")
		}
	})
	var other sync.WaitGroup
	other.Go(func() {
		if got := stays.Source.FetchAll(t.Context(), chatbots[:1]); got[0].Err != nil {
			t.Error(got[0].Err)
		}
	})
	<-asked
	<-asked
	begun := time.Now()
	s.reload(t, bolt)
	fetches.Wait()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("ended after %v", took)
	}
	close(release)
	other.Wait()
	if n, err := testutil.GatherAndCount(gone.Metrics, "chatwize_discovery_up"); n != 0 || err != nil {
		t.Errorf("the end counts as a failed discovery: %d, %v", n, err)
	}
	if logged := s.logged.String(); logged != "" {
		t.Errorf("logged %s", logged)
	}
}

// Only the selected chatbots of a list are there, whichever way they are asked for.
func TestSelection(t *testing.T) {
	const other = "7f5e5376dbf045cd8c72c60f428653d3"
	canonicalDesk := client.CanonicalUUID(deskUUID)
	for _, test := range []struct{ include, exclude, want string }{
		{"", "", "Shop, Test desk"},
		{"", "Test.*", "Shop"},
		{"", "test.*", "Shop, Test desk"},
		{"Test", "", ""},
		{"Test desk|Shop", "Shop", "Test desk"},
		{"", shopUUID, "Test desk"},
		{canonicalDesk, "", "Test desk"},
		{deskUUID, "", "Test desk"},
	} {
		c := config(t, "acme", newAPI(t))
		c.Include, _ = setting.Pattern(test.include)
		c.Exclude, _ = setting.Pattern(test.exclude)
		var logged strings.Builder
		account, err := accounts.New(c, log.NewLogfmtLogger(&logged))
		if err != nil {
			t.Fatal(err)
		}
		chatbots, err := account.Directory.Chatbots(t.Context())
		var names []string
		for _, chatbot := range chatbots {
			names = append(names, chatbot.Name)
		}
		if got := strings.Join(names, ", "); got != test.want || err != nil {
			t.Errorf("include %q, exclude %q: got %s, %v, want %s", test.include, test.exclude, got, err, test.want)
		}
		list := accounts.NewSet(account).Lists(t.Context())[0]
		if problem := list.Problem(); (problem != nil) != (test.want == "") || problem != nil && !strings.Contains(problem.Error(), "check include and exclude") {
			t.Errorf("include %q, exclude %q: the problem is %v", test.include, test.exclude, problem)
		}
		if n := strings.Count(logged.String(), `msg="None of the account's chatbots is selected" chatbots=2 hint="check include`); (n == 1) != (test.want == "") {
			t.Errorf("include %q, exclude %q: logged %s", test.include, test.exclude, &logged)
		}
		for uuid, name := range map[string]string{shopUUID: "Shop", deskUUID: "Test desk", canonicalDesk: "Test desk", other: "Other"} {
			want := strings.Contains(test.want, name)
			_, standing := account.Directory.Chatbot(t.Context(), uuid)
			if lists := account.Directory.Lists(t.Context(), uuid); lists != want || standing == fetch.Listed != want {
				t.Errorf("include %q, exclude %q: %s is listed: %t, standing %d", test.include, test.exclude, name, lists, standing)
			}
		}
	}
}

// While there is no list, a UUID that exclude matches is left out; names are not known.
func TestSelectionWithoutList(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	c := config(t, "acme", server.URL)
	c.Include, _ = setting.Pattern("Shop")
	c.Exclude, _ = setting.Pattern(client.CanonicalUUID(deskUUID))
	account, err := accounts.New(c, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	for uuid, want := range map[string]fetch.Standing{shopUUID: fetch.Unverified, deskUUID: fetch.Unlisted} {
		if _, got := account.Directory.Chatbot(t.Context(), uuid); got != want || account.Directory.Lists(t.Context(), uuid) {
			t.Errorf("%s: got %d, want %d", uuid, got, want)
		}
	}
}
