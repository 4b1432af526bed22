#!/usr/bin/env bash
# Runs every test, then the gates (benches/README.md), then, with the shipped program, the tests of
# the terminal and of shutdowns with thousands of sessions. `test.sh shipped` runs only the latter,
# with the program that WSTAP_PROGRAM names. With cargo-nextest each test has its own process and
# time limit (.config/nextest.toml); without it plain `cargo test` runs the same tests.
set -euo pipefail
cd "$(dirname "$0")/.."

shipped() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --test it -E 'test(/^(terminal|crowds)::/)'
    else
        cargo test --locked --test it -- terminal:: crowds::
    fi
}
if [ "${1:-}" = shipped ]; then
    shipped
    exit
fi

# A test writes this file; one from an earlier run would be stale.
rm -f target/confusion.txt
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --lib --bins --tests
else
    echo "test.sh: cargo-nextest is not installed; using cargo test" >&2
    cargo test --locked --lib --bins --tests
fi
cargo test --locked --doc
make gates
make shipped-program
# The runner hides what passing tests print: injected faults against the verdicts on them.
cat target/confusion.txt
