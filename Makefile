# The verbs of this repository. A clone needs Go and make; what else a test needs
# (a C compiler for the race detector, npm for the strangers' clients) is fetched
# by scripts/need when it is missing.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

GO      ?= go
P       ?= 2
TIMEOUT ?= 18m
FUZZ    ?= 20s
COUNT   ?= 6
SOAK    ?= 4h

.PHONY: build test test-main test-e2e test-integrations check lint vuln fuzz bench bench-baseline bench-gateway dev soak golden

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)

build: ## the binary and the offline verifier, in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.release=$(VERSION)" -o bin/mintmark ./cmd/mintmark
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o bin/mintmark-verify ./cmd/mintmark-verify

test: test-main test-e2e test-integrations ## everything that proves the product, race detector on

test-main:
	scripts/need cc npm curl
	$(GO) test -race -p $(P) -timeout $(TIMEOUT) ./...

# End-to-end tests live in a module of their own, for their heavier dependencies.
test-e2e:
	if [ -f test/e2e/js/package-lock.json ]; then scripts/need npm; npm --prefix test/e2e/js ci --no-audit --no-fund --silent; fi
	if [ -f test/e2e/go.mod ]; then cd test/e2e && $(GO) test -race -p $(P) -timeout $(TIMEOUT) ./...; fi

# Other systems' own code calls us, in modules of their own for its dependencies, and
# without the race detector: it is compiled for the rest, and they are large.
test-integrations:
	CGO_ENABLED=0 $(GO) build -o bin/mintmark ./cmd/mintmark
	for d in integrations/*/go.mod; do (cd $$(dirname $$d) && MINTMARK_TEST_BINARY=$(CURDIR)/bin/mintmark $(GO) test -p $(P) -timeout $(TIMEOUT) ./...); done

check: lint vuln test ## what CI runs

lint:
	@out="$$($(GO) tool gofumpt -l $$(git ls-files '*.go'))"; [ -z "$$out" ] || { echo "not gofumpt'd:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

vuln: ## known vulnerabilities in what is linked; needs the network
	$(GO) tool govulncheck ./...

fuzz: ## every fuzz test for FUZZ (20s) each
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZ) -fuzzminimizetime 5x $$p; \
	  done; \
	done

bench: ## micro-benchmarks, compared with bench/baseline.txt
	$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) -p 1 ./... | grep -v -e '^?' -e 'no test files' | tee bench/new.txt
	if [ -f bench/baseline.txt ]; then $(GO) tool benchstat bench/baseline.txt bench/new.txt; else $(GO) tool benchstat bench/new.txt; fi

bench-baseline: bench ## make the last run the baseline
	mv bench/new.txt bench/baseline.txt

bench-gateway: build ## us, our bare proxy, nginx and HAProxy side by side
	scripts/need nginx haproxy wrk
	bench/gateway.sh

dev: ## one process, two releases of a service, synthetic clients
	$(GO) run ./cmd/mintmark demo

soak: ## the long suites in full
	scripts/need cc npm curl
	MINTMARK_TEST_SOAK=1 $(GO) test -race -p 1 -timeout $(SOAK) ./...
	if [ -f test/e2e/go.mod ]; then cd test/e2e && MINTMARK_TEST_SOAK=1 $(GO) test -race -p 1 -timeout $(SOAK) ./...; fi

golden: ## rewrite archtest's golden files; sizes only where they shrank
	$(GO) test ./internal/archtest -update
