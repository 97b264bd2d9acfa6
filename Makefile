# "make" alone explains the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo development)
PLACES := internal/place/data/places.bin

# Packages whose tests also run under the race detector: those that share state
# between goroutines.
RACE := ./internal/api/... ./internal/auth ./internal/blob/... ./internal/catalog ./internal/task ./internal/derive

.PHONY: help run build test check fmt bench load fuzz

help: ## explain the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1|/' | column -t -s '|'

run: ## install what is missing, build, and serve on http://localhost:8000
	@scripts/install build run
	@$(MAKE) --no-print-directory build
	@exec ./bin/banksia serve

build: $(PLACES) ## build ./bin/banksia
	go build -ldflags "-X main.version=$(VERSION)" -o bin/banksia ./cmd/banksia

$(PLACES): internal/place/package-lock.json internal/place/build.go
	@echo "Packing the place names"
	@go generate ./internal/place
	@touch $@

test: ## install what is missing and run all tests
	@scripts/install build run test
	@$(MAKE) --no-print-directory check

check: $(PLACES)
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	go vet ./...
	go test -timeout 12m ./...
	go test -race -timeout 12m $(RACE)
	@echo "All tests passed."

fmt: ## format the Go files
	gofmt -w $$(git ls-files '*.go')

bench: $(PLACES) ## run the Go benchmarks
	go test -run xxx -bench . ./...

load: build ## measure import and upload against the tools' own speed
	scripts/bench-import
	scripts/bench-upload

fuzz: $(PLACES) ## run each fuzz target for ten seconds
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; go test -run xxx -fuzz "^$$target\$$" -fuzztime 10s -fuzzminimizetime 20x $$package || exit 1; \
		done; \
	done
