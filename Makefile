# "make" alone explains the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo development)
# Go refuses to build when git distrusts the owner of the folder.
BUILDVCS := $(shell git status >/dev/null 2>&1 || echo -buildvcs=false)
GOFMT := $(shell go env GOROOT 2>/dev/null)/bin/gofmt
SOURCES := cmd internal $(wildcard *.go)
PLACES := internal/place/data/places.bin

# Go itself is mended, too: go.mod names a release with no vulnerability that is
# reached, and an installed Go that is older fetches it, as the Go project means it.
# Distributions and images switch that off, with GOTOOLCHAIN=local.
export GOTOOLCHAIN := auto

# Where govulncheck looks: the Go project's list of vulnerabilities, which is also a
# module, so it comes as all modules do and "make check" finds the same each time.
# To move it forward: go list -m golang.org/x/vulndb@latest. The list of this very
# hour is at make vulncheck VULNDB=https://vuln.go.dev
VULNDB_MODULE := golang.org/x/vulndb@v0.0.0-20261105234957-e22db6528018
VULNDB = file://$$(go list -m -f '{{.Dir}}' $(VULNDB_MODULE))/data/osv

# Packages whose tests run under the race detector: those that share state between
# goroutines. For the others it would take time and find nothing.
RACE := ./internal/task ./internal/catalog ./internal/auth ./internal/blob/... ./internal/api

# Packages whose tests also run on PostgreSQL: those that speak SQL, and the API.
ENGINES := ./internal/store ./internal/task ./internal/auth ./internal/catalog ./internal/derive ./internal/api

.PHONY: help run build test check verify vulncheck generate fmt bench load fuzz faults

help: ## explain the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-9s %s\n", $$1, $$2 }'

run: ## install what is missing, build, and serve on http://localhost:8000
	@scripts/install build run
	@$(MAKE) --no-print-directory build
	@exec ./bin/banksia serve

build: $(PLACES) ## build ./bin/banksia
	go build $(BUILDVCS) -ldflags "-X main.version=$(VERSION)" -o bin/banksia ./cmd/banksia

$(PLACES): internal/place/package-lock.json internal/place/build.go
	@echo "Packing the place names"
	@go generate ./internal/place
	@touch $@

test: ## install what is missing and run all tests
	@scripts/install build run test
	@$(MAKE) --no-print-directory check

check: $(PLACES)
	@unformatted=$$($(GOFMT) -l $(SOURCES)) && [ -z "$$unformatted" ] || { echo "make fmt would change: $$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	@$(MAKE) --no-print-directory vulncheck
	go test -timeout 12m $$(go list ./... | grep -vxFf <(go list $(RACE)))
	go test -race -timeout 12m $(RACE)
	BANKSIA_TEST_ENGINE=postgres go test -timeout 12m $(ENGINES)
	@echo "All tests passed."

verify: ## check generated files and the OpenAPI document against their sources
	go mod verify
	go test ./internal/banksiatest/... ./internal/web/... .

vulncheck: $(PLACES) ## look for known vulnerabilities in the code that is reached
	@go mod download $(VULNDB_MODULE)
	go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 -db "$(VULNDB)" ./...

generate: ## make the generated files anew
	go generate ./internal/web

fmt: ## format the Go files
	$(GOFMT) -w $(SOURCES)

bench: $(PLACES) ## run the Go benchmarks
	go test -run xxx -bench . ./...

load: ## measure import, upload, both engines side by side, and three nodes
	@scripts/install build run load
	@$(MAKE) --no-print-directory build
	scripts/bench-import
	scripts/bench-upload
	scripts/bench-engines

# FAULTS is how many; nodes are stopped a tenth as often.
# BANKSIA_TEST_SEED=N repeats the cuts of a run.
FAULTS ?= 3000

faults: $(PLACES) ## kill, cut the power and the network, FAULTS=3000 times
	@scripts/install build run test
	cd cmd/banksia && BANKSIA_TEST_FAULTS=$(FAULTS) go test -count 1 -timeout 10h -run '^TestCuts$$'
	BANKSIA_TEST_FAULTS=$$(( $(FAULTS) / 10 )) go test -count 1 -v -timeout 10h -run '^TestNodes$$|^TestKilledAtEveryStage$$|^TestBackupOfNodes$$|^TestMigrate$$|^TestCrash$$' ./cmd/banksia ./internal/catalog

fuzz: $(PLACES) ## run each fuzz target for ten seconds
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; go test -run xxx -fuzz "^$$target\$$" -fuzztime 10s -fuzzminimizetime 20x $$package || exit 1; \
		done; \
	done
