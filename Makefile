# wstap: the common commands. Each is safe to run again.

CARGO ?= cargo
JOBS ?= 2
export CARGO_BUILD_JOBS = $(JOBS)
TARGET = $(abspath $(or $(CARGO_TARGET_DIR),target))
SHIPPED = $(TARGET)/bench/wstap
# The commit that `wstap version` prints; empty outside of a checkout.
COMMIT = $(shell git rev-parse --short=12 HEAD 2>/dev/null)

.PHONY: all build dist test busy versions probe-ladder attach-soak unit live lint fmt bench bench-attach bench-check shipped shipped-program gates gates-update docs fetch clean

all: build

build:
	WSTAP_COMMIT=$(COMMIT) $(CARGO) build --release

# Gets what the tests need, then runs all of them.
test: fetch
	scripts/test.sh

# Runs the tests beside two busy loops: deadlines are generous, and actions that the program
# promises within seconds may take ten times as long.
busy: fetch
	scripts/busy.sh

# Tests with the real gateways of five older versions and their own command line tools: about 4 GB,
# and a quarter of an hour. `make test` includes one of them.
VERSIONS = 2026.1.24-3 2026.2.17 2026.3.7 2026.4.29 2026.7.35
versions: fetch
	for version in $(VERSIONS); do scripts/fetch-gateway.sh $$version || exit 1; done
	CI=true $(CARGO) nextest run --locked --test it --run-ignored all -E 'test(/^live::versions::/)'

# The table of docs/probe.md: compares `wstap probe` with the six commands of OpenClaw's
# troubleshooting page. Half an hour.
probe-ladder: fetch
	CI=true $(CARGO) nextest run --locked --test it --run-ignored all --no-capture -E 'test(/^live::ladder::/)'

# Kills, stops and ends an attached tap 288 times at random moments, and measures how soon clients
# are served without it. A quarter of an hour; needs root.
attach-soak:
	for run in 1 2 3 4; do \
	    CI=true $(CARGO) nextest run --locked --test it --no-capture \
	        -E 'test(/^attach::fail_open::(terminated|killed|stopped)$$/)' > $(TARGET)/attach-soak.txt 2>&1 \
	        || { cat $(TARGET)/attach-soak.txt; exit 1; }; \
	    grep 'direct again' $(TARGET)/attach-soak.txt; done

# The tests that run without Node and the real gateway.
unit:
	$(CARGO) test --lib --bins
	$(CARGO) test --lib --no-default-features -- crypto tls

# Fetches the real gateway and its Node, from the npm registry, into target/openclaw, and an older
# one beside it; nginx, HAProxy, promtool, nft, strace and valgrind into target/packages; Chromium,
# certutil, systemd-analyze and a container engine onto this machine, which needs root. Without the
# programs after the gateway, their tests are skipped, and fail in CI.
fetch:
	scripts/fetch-gateway.sh
	scripts/fetch-gateway.sh 2026.3.7
	scripts/fetch-packages.sh || [ "$(CI)" != true ]

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(CARGO) clippy --locked --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked --document-private-items --quiet

fmt:
	$(CARGO) fmt --all

# Writes the generated pages: verdicts, configuration schema. Runs twice, because the gateways that
# a rule was seen with must be compiled in before docs/verdicts.md can name them.
docs:
	UPDATE_DOCS=1 $(CARGO) test --lib docs || true
	UPDATE_DOCS=1 $(CARGO) test --lib docs

# The program that is shipped and measured: fat LTO, without debug information (profile `dist`).
# Cargo builds it without the library features that the tests' dependencies enable.
dist:
	WSTAP_COMMIT=$(COMMIT) $(CARGO) build --profile dist --locked

shipped: dist
	mkdir -p $(SHIPPED:/wstap=)
	cp $(TARGET)/dist/wstap $(SHIPPED)

bench: shipped
	WSTAP_PROGRAM=$(SHIPPED) $(CARGO) bench

# Repeats the tests that start the program on a terminal with the shipped program, whose libraries
# have fewer features than in the test build.
shipped-program: shipped
	WSTAP_PROGRAM=$(SHIPPED) scripts/test.sh shipped

# Compares the tap with other proxies and checks its budgets (benches/README.md). Under five minutes
# once all is built, on an otherwise idle machine.
bench-check:
	benches/compare --check

# A session through `wstap attach` compared with one through `wstap serve`. Two minutes;
# needs root and nft (make fetch).
bench-attach: shipped
	WSTAP_PROGRAM=$(SHIPPED) $(CARGO) bench --locked --bench attach

# Compares figures that repeat to a few percent with benches/gates/limits.yaml, and runs many
# sessions at once.
gates: shipped
	WSTAP_PROGRAM=$(SHIPPED) $(CARGO) bench --locked --bench gates

# Stores the measured figures where they are better. LOOSEN=1 also raises limits; without it,
# nothing is written if a limit would have to be raised, and the output lists those limits.
gates-update: shipped
	WSTAP_PROGRAM=$(SHIPPED) $(CARGO) bench --locked --bench gates -- --update $(if $(LOOSEN),--loosen)

clean:
	$(CARGO) clean
