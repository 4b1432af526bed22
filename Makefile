# wstap: the few commands that everybody needs. Each is safe to run again.

CARGO ?= cargo
JOBS ?= 2
export CARGO_BUILD_JOBS = $(JOBS)
TARGET = $(abspath $(or $(CARGO_TARGET_DIR),target))
SHIPPED = $(TARGET)/bench/wstap
# cargo fmt does not see these: build.rs lists them.
RULES = $(wildcard src/verdict/rules/*.rs)

.PHONY: all build test unit live lint fmt bench bench-check shipped gates gates-update docs fetch clean

all: build

build:
	$(CARGO) build --release

# Gets what the tests need, then runs all of them.
test: fetch
	scripts/test.sh

# What runs without Node and the real gateway.
unit:
	$(CARGO) test --lib --bins
	$(CARGO) test --lib --no-default-features -- crypto tls

# The real gateway and its Node, from the npm registry, into target/openclaw; nginx, HAProxy, promtool,
# nft, strace and valgrind into target/packages; Chromium, certutil and systemd-analyze onto this machine, which takes
# root. Without the latter two lines' programs their tests are skipped, and fail in CI.
fetch:
	scripts/fetch-gateway.sh
	scripts/fetch-packages.sh || [ "$(CI)" != true ]

lint:
	$(CARGO) fmt --all --check
	rustfmt --edition 2024 --check $(RULES)
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(CARGO) clippy --locked --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked --document-private-items --quiet

fmt:
	$(CARGO) fmt --all
	rustfmt --edition 2024 $(RULES)

# Writes the pages that are made from the code: verdicts, configuration schema.
docs:
	UPDATE_DOCS=1 $(CARGO) test --lib docs

# The program as people build it, for benches to measure: the tests' libraries switch on more in ours.
shipped:
	$(CARGO) build --release --locked
	mkdir -p $(SHIPPED:/wstap=)
	cp $(TARGET)/release/wstap $(SHIPPED)

bench: shipped
	WSTAP_PROGRAM=$(SHIPPED) $(CARGO) bench

# Measures the tap against other proxies and holds it against its budgets (benches/README.md). Under five
# minutes once all is built, on a machine that does nothing else.
bench-check:
	benches/compare --check

# Figures that repeat to a few percent, against benches/gates/limits.yaml; and many sessions at once.
gates: shipped
	WSTAP_PROGRAM=$(SHIPPED) $(CARGO) bench --locked --bench gates

# Writes down what they are now, where that is better. LOOSEN=1 also raises limits: without it nothing is
# written and what would be raised is told.
gates-update: shipped
	WSTAP_PROGRAM=$(SHIPPED) $(CARGO) bench --locked --bench gates -- --update $(if $(LOOSEN),--loosen)

clean:
	$(CARGO) clean
