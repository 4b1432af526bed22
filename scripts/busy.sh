#!/bin/sh
# Runs the tests beside two busy loops, to find those that depend on a quiet machine.
set -eu
cd "$(dirname "$0")/.."

loops=""
trap 'kill $loops 2>/dev/null || :' EXIT
for _ in 1 2; do
    sh -c 'while :; do :; done' &
    loops="$loops $!"
done
WSTAP_BUSY=1 cargo nextest run --locked --lib --bins --tests
