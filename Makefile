# tollgate: `make help` says what there is.
.PHONY: help demo test wasm image bench fuzz lint fmt
.DEFAULT_GOAL := help

CARGO ?= cargo
FUZZ_SECONDS ?= 10

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: wasm ## play a system's document in a real Envoy, then stay up (SEED=kuadrant, kong, apisix, envoy-ai-gateway, envoy-ai-gateway/metering or jupiter; ONCE=1: play, check and exit; STORAGE=limitador: two Envoys share the tutorial's limits)
	@$(CARGO) build --locked --package envoy-test --bin demo
	@ONCE=$(ONCE) SEED=$(SEED) STORAGE=$(STORAGE) $(CARGO) run --quiet --locked --package envoy-test --bin demo

test: wasm ## unit, property and end-to-end tests
	$(CARGO) test --locked --workspace

wasm: ## build the filter to dist/tollgate.wasm
	@build/wasm.sh

image: wasm ## the image from which Istio loads the filter, dist/tollgate-image.tar; takes no container engine
	@build/image.sh

bench: wasm ## CPU microseconds a request, beside no filter and Envoy's own rate limit filter (STORAGE=limitador: also with counters there)
	@STORAGE=$(STORAGE) $(CARGO) run --quiet --locked --profile native --package envoy-test --bin bench -- $(ARGS)

fuzz: ## fuzz every target for FUZZ_SECONDS (10); takes a nightly toolchain
	@fuzz/run.sh $(FUZZ_SECONDS)

lint: ## formatting and clippy, natively and for the module
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@if [ -d "$$(rustc --print sysroot)/lib/rustlib/wasm32-wasip1" ]; then \
	  $(CARGO) clippy --locked --package tollgate --lib --target wasm32-wasip1 -- -D warnings; fi
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --locked check licenses bans sources; fi

fmt: ## format the source
	$(CARGO) fmt --all
