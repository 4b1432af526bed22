#!/bin/sh
# Puts what the tests need of the system's packages where the tests look for it.
#
#   scripts/fetch-packages.sh
#
# ip (iproute2) makes the tests' own network, nginx stands in front of the tap there. What is on the
# PATH is used. Missing ones are downloaded as Debian packages and unpacked into target/packages (or
# $WSTAP_PACKAGES_DIR): nothing is installed, so that no service is set up or started and this
# machine stays as it is. Exit codes: 0 all are there, 69 one is missing and cannot be had.
set -eu

UNAVAILABLE=69
# Seconds for one call of apt.
LIMIT=120

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
dir=${WSTAP_PACKAGES_DIR:-$root/target/packages}

fail() {
    echo "fetch-packages: $*" >&2
    exit "$UNAVAILABLE"
}

# True when program $1 starts, from the PATH or unpacked.
runs() {
    for program in "$1" "/usr/sbin/$1" "$dir/usr/sbin/$1" "$dir/sbin/$1" "$dir/bin/$1"; do
        if command -v "$program" >/dev/null 2>&1 && "$program" "$2" >/dev/null 2>&1; then
            found=$program
            return 0
        fi
    done
    return 1
}

# apt with a time limit; what it says is kept for the message when it fails.
apt() {
    timeout "$LIMIT" apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=2 "$@" \
        >>"$dir/apt.log" 2>&1
}

# Makes program $1 with version flag $2 available from package $3.
need() {
    if runs "$1" "$2"; then
        echo "fetch-packages: $1 is $found"
        return
    fi
    command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 ||
        fail "$1 is missing, and without apt this cannot fetch it: install $3 and run this again"
    mkdir -p "$dir/archives"
    : >"$dir/apt.log"
    cd "$dir/archives"
    rm -f "$3"_*.deb
    # The lists may be absent or too old; only then are they renewed, which needs root.
    apt download "$3" || { apt update && apt download "$3"; } || {
        tail -n 5 "$dir/apt.log" >&2
        fail "$1 is missing and apt cannot download $3; see $dir/apt.log"
    }
    dpkg-deb -x "$3"_*.deb "$dir"
    runs "$1" "$2" || fail "$1 of package $3 does not start here: install $3 and run this again"
    echo "fetch-packages: $1 is $found"
}

need ip -V iproute2
need nginx -v nginx
