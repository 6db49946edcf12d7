# Everything there is to do with this repository; `make help` lists it.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run build test soak check fuzz bench bench-full bench-publish bench-build bench-go bench-guard robustness java docs image image-test clean

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

LINT_VERSION := v2.15.0
LINT         := bin/golangci-lint-$(LINT_VERSION)

HANDLER   ?= examples/python/handler.py  # what make run serves
IMAGE     ?= fnpod                       # what make image is called
FUZZTIME  ?= 10s                         # how long make fuzz runs each target
TESTFLAGS ?=                             # more flags of go test
SOAK      ?= Faults|Crowd|Tunnels|Slow|Memory|Kernel|Soak|Rolling|LeaveNothing  # which tests make soak runs
BENCH     ?= .                           # which benchmarks make bench-go runs

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## build, and serve the Python example on :8080 (admin port :8081)
	@scripts/need go python3
	@$(MAKE) --no-print-directory build
	@listen=$${FNPOD_LISTEN:-:8080} admin=$${FNPOD_ADMIN:-:8081}; \
		echo "try: curl $${listen/#:/localhost:}/   and: curl $${admin/#:/localhost:}/metrics"
	@exec bin/fnpod serve $(strip $(HANDLER)) --log-format text --drain-delay 0s

build: ## the static binary, bin/fnpod
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/fnpod ./cmd/fnpod

test: ## all tests, with the race detector and in random order; installs what they need
	@scripts/need go gcc git python3 node ruby php perl javac curl wrk pgrep nginx haproxy nats-server mosquitto mosquitto_pub flask waitress-serve puma
	@scripts/express
	@scripts/test $(TESTFLAGS)

soak: ## faults, load and memory in full size, for about two hours; figures are printed
	@scripts/need go gcc git python3 node
	go test ./e2e -count 1 -timeout 0 -v -soak -run '$(strip $(SOAK))'

check: $(LINT) ## what a linter can find
	go vet ./...
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv bin/golangci-lint $@

fuzz: ## every fuzz target for FUZZTIME
	@scripts/fuzz $(strip $(FUZZTIME))

bench: bench-build ## fnpod beside other servers: tables, plots and samples in bench/results, in less than ten minutes
	@scripts/need go nginx haproxy gunicorn waitress-serve uvicorn python3 node ruby php perl javac perf ip
	@scripts/bench quick

bench-full: bench-build ## the same with more rounds and connections, and overload: more than half an hour
	@scripts/need go nginx haproxy gunicorn waitress-serve uvicorn python3 node ruby php perl javac perf ip
	@scripts/bench full

bench-publish: bench-build ## all experiments, and their results into bench/README.md, in less than twenty minutes; QUEUE_PROXY=, FWATCHDOG=, PROCESSOR= are measured beside
	@scripts/need go nginx haproxy gunicorn waitress-serve uvicorn python3 node ruby php perl javac perf ip
	@scripts/bench publish

bench-build: build
	@scripts/need go
	go build -buildvcs=false -o bin/fnpod-bench ./cmd/fnpod-bench

bench-go: ## the benchmarks of all packages
	go test -run '^$$' -bench '$(strip $(BENCH))' -benchmem ./...

bench-guard: ## allocations, instructions and system calls per request against bench/budgets.json
	@scripts/need go python3 perf valgrind
	@$(MAKE) --no-print-directory bench-build
	go test -count 1 -run 'Allocat' ./...
	bin/fnpod-bench guard

robustness: ## hostile conversations with fnpod, nginx and HAProxy; writes the report in docs/robustness.md
	@scripts/need go nginx haproxy
	@$(MAKE) --no-print-directory bench-build
	bin/fnpod-bench robustness --into docs/robustness.md

java: ## build the jar of the Java worker again
	@scripts/need go javac
	go test ./workers/wrapper -run JavaJar -count 1 -update

docs: ## write the generated documents again
	go test ./cmd/fnpod ./metrics -run Manual -count 1 -update

image: build ## the image fnpod, around bin/fnpod
	DOCKER_BUILDKIT=0 docker build --target local -t $(strip $(IMAGE)) .

image-test: build ## run the image and a function image for real; needs root
	@scripts/need docker dockerd curl python3 node
	@scripts/image-test

clean: ## remove what was built
	rm -rf bin
