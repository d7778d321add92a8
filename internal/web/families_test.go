package web

import (
	"testing"
	"time"

	"github.com/chatwize-exporter/chatwize_exporter/client"
	"github.com/chatwize-exporter/chatwize_exporter/collector"
	"github.com/chatwize-exporter/chatwize_exporter/internal/accounts"
	"github.com/chatwize-exporter/chatwize_exporter/internal/fetch"
	"github.com/chatwize-exporter/chatwize_exporter/internal/tally"
)

// While the results stay the same, their families are gathered once. Any change
// gathers them anew.
func TestFamilyCache(t *testing.T) {
	result := fetch.Result{Numbers: &tally.Numbers{}}
	snapshot := func(change func(*collector.Fetched)) collector.Snapshot {
		s := collector.Snapshot{
			{Chatbot: client.Chatbot{UUID: "a"}, Result: result}, {Chatbot: client.Chatbot{UUID: "b"}, Result: result},
		}
		change(&s[1])
		return s
	}
	var cache familyCache
	gather := func(change func(*collector.Fetched)) any {
		t.Helper()
		families, err := cache.gather(snapshot(change))
		if err != nil || len(families) == 0 || len(families[0].GetMetric()) != 2 {
			t.Fatalf("gathered %v, %v", families, err)
		}
		return families[0]
	}
	same := func(*collector.Fetched) {}
	first := gather(same)
	if gather(same) != first {
		t.Error("gathered anew what had not changed")
	}
	for name, change := range map[string]func(*collector.Fetched){
		"name":    func(f *collector.Fetched) { f.Chatbot.Name = "B" },
		"numbers": func(f *collector.Fetched) { f.Result.Numbers = &tally.Numbers{} },
		"time":    func(f *collector.Fetched) { f.Result.Finished = time.Unix(1, 0) },
		"failed":  func(f *collector.Fetched) { f.Result.Err = &fetch.Error{Reason: client.Timeout} },
	} {
		before := gather(same)
		if gather(change) == before || gather(same) == before {
			t.Errorf("%s: a change was not seen", name)
		}
	}
}

// Chatbots with the same UUID are an error, not a page with a metric twice.
func TestFamilyCacheFails(t *testing.T) {
	var cache familyCache
	a := collector.Fetched{Chatbot: client.Chatbot{UUID: "a"}, Result: fetch.Result{Numbers: &tally.Numbers{}}}
	twice := collector.Snapshot{a, a}
	for range 2 {
		if families, err := cache.gather(twice); err == nil {
			t.Errorf("gathered %v", families)
		}
	}
}

// Accounts that are gone keep no families, however many accounts there are.
func TestFamilyCachesRetain(t *testing.T) {
	account := func() *accounts.Account { return &accounts.Account{Source: &fetch.Source{}} }
	gone, a, b := account(), account(), account()
	caches := newFamilyCaches()
	before := caches.of(gone)
	kept := caches.of(a)
	caches.retain(accounts.NewSet(a, b))
	if caches.of(a) != kept {
		t.Error("an account has lost its families")
	}
	if caches.of(gone) == before {
		t.Error("an account that is gone has kept its families")
	}
}
