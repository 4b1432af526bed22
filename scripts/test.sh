#!/usr/bin/env bash
# Runs every test. With cargo-nextest each test has a process and a time limit of its own
# (.config/nextest.toml); without it plain `cargo test` runs the same tests.
set -euo pipefail
cd "$(dirname "$0")/.."

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --lib --bins --tests
else
    echo "test.sh: cargo-nextest is not installed; using cargo test" >&2
    cargo test --locked --lib --bins --tests
fi
cargo test --locked --doc
