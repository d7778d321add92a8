REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS  := -s -w -X github.com/prometheus/common/version.Revision=$(REVISION)

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BENCHSTAT     := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
GORELEASER    := github.com/goreleaser/goreleaser/v2@v2.16.0
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: build
build: ## Build the static binary ./chatwize_exporter.
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o chatwize_exporter .

.PHONY: demo
demo: ## Serve a simulated account on http://localhost:10113.
	go run . demo

.PHONY: test
test: ## Run the tests.
	go test ./...

# -count 1: the tests read files outside their module, which Go's test cache does not track.
# The timeout allows for building Prometheus the first time.
.PHONY: e2e
e2e: ## Test exporter, dashboard and alerts with a real Prometheus.
	cd e2e && go test -count 1 -timeout 40m ./...

.PHONY: alert-quality
alert-quality: ## Measure the alerts on hundreds of simulated chatbots, for docs/alerts.md (takes minutes).
	cd e2e && ALERT_QUALITY=full ALERT_QUALITY_TABLE=$(CURDIR)/alert-quality.md \
	  go test -count 1 -timeout 1h -v -run '^TestAlertQuality$$' .

.PHONY: dashboard
dashboard: ## Write dashboards/chatwize.json and its copy in the Kubernetes manifests (Node.js).
	node dashboards/chatwize.mjs
	scripts/manifests

.PHONY: page-picture
page-picture: ## Redraw docs/page.png, the picture of the page (Chromium).
	cd e2e && go test -count 1 -run '^TestPage$$' . -args -page=$(CURDIR)/docs/page.png

.PHONY: schema-check
schema-check: ## Check the dashboard against Grafana's types (npm).
	e2e/schema/check

.PHONY: lint
lint: ## Run the linters.
	go run $(GOLANGCI_LINT) run --allow-parallel-runners
	cd e2e && go run $(GOLANGCI_LINT) run --allow-parallel-runners

.PHONY: vulncheck
vulncheck: ## Search the code and its dependencies for known vulnerabilities.
	go run $(GOVULNCHECK) ./...

.PHONY: bench
bench: ## Run the benchmarks and summarize them with benchstat.
	go test -run '^$$' -bench . -benchtime 10x -count 6 -p 1 ./... > bench.txt || { cat bench.txt; exit 1; }
	go run $(BENCHSTAT) bench.txt

.PHONY: pgo
pgo: ## Write default.pgo, the profile for profile-guided optimization.
	go test -run '^$$' -bench 'Million/scrape|Cached/cached/1000' -benchtime 20x -cpuprofile default.pgo -o /dev/null .

.PHONY: fuzz
fuzz: ## Run each fuzz test for a minute.
	go test -run '^$$' -fuzz FuzzSessions -fuzztime 1m ./client
	go test -run '^$$' -fuzz FuzzRetryAfter -fuzztime 1m ./client
	go test -run '^$$' -fuzz FuzzChatbots -fuzztime 1m ./internal/flags
	go test -run '^$$' -fuzz FuzzFlags -fuzztime 1m ./internal/flags
	go test -run '^$$' -fuzz FuzzTally -fuzztime 1m ./internal/tally

.PHONY: model
model: ## Play 3,000 random accounts, servers and callers (takes minutes).
	MODEL_SEEDS=3000 go test -run '^TestModel$$' -count 1 -timeout 30m ./internal/fetch

.PHONY: soak
soak: ## Scrape 100,000 times and log goroutines, files and memory (takes minutes).
	go test -tags soak -run TestSoak -timeout 1h -v .

.PHONY: memory
memory: ## Measure the peak memory of the process under large responses and many callers.
	go test -tags memory -run TestMemory -count 1 -timeout 5m -v .

.PHONY: manifests
manifests: ## Copy alerts and dashboard into the Kubernetes manifests.
	scripts/manifests

.PHONY: man
man: ## Write the man page and shell completions to build/.
	scripts/man-and-completions build

PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: cross
cross: ## Build the release binaries for every platform, without keeping them.
	for platform in $(PLATFORMS); do \
	  CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} \
	    go build -trimpath -ldflags '$(LDFLAGS)' -o /dev/null . || exit 1; \
	done

PORTS := windows/amd64 darwin/arm64 freebsd/amd64 linux/386 linux/arm

.PHONY: ports
ports: ## Compile and vet code and tests for other platforms.
	for platform in $(PORTS); do \
	  CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} go vet -tags memory,soak ./... || exit 1; \
	done

.PHONY: release-check
release-check: ## Check .goreleaser.yaml.
	go run $(GORELEASER) check

.PHONY: image-check
image-check: ## Build and test the container image without an engine (Debian, as root).
	scripts/image-check

.PHONY: help
help: ## Show this help.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-14s %s\n", $$1, $$2 }'
