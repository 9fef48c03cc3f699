#!/bin/bash
# Installs what is missing of the Debian packages that this project needs; says
# nothing when all are there.
#
# Usage: scripts/install-deps.sh GROUP...
#   build    compiler, build system, libraries (with the unit tests' library)
#   test     what the system tests run and read, what some of them cut networks with, and set clocks
#   demo     the records that the demonstration loads
#   check    second compiler with its sanitizers, and the formatter
#   interop  Go, for the tests against hashicorp/memberlist; and a serf agent
#   bench    what the benchmarks compare with, and LMDB's tool to compact a copy
set -euo pipefail

packages_of() {
    case $1 in
    build) echo gcc libc6-dev binutils meson ninja-build pkg-config libcmocka-dev libcurl4-openssl-dev \
                liblmdb-dev libmicrohttpd-dev libssl-dev libuv1-dev libyajl-dev libzstd-dev ;;
    test) echo python3 python3-jsonschema python3-yaml curl nftables iproute2 util-linux faketime ;;
    demo) echo python3 iso-codes ;;
    check) echo clang libclang-rt-14-dev clang-format-14 ;;
    interop) echo golang-go golang-github-hashicorp-memberlist-dev serf ;;
    bench) echo python3 util-linux nginx-light redis-server etcd-server wrk lmdb-utils ;;
    *) echo "$0: no group '$1'" >&2; exit 2 ;;
    esac
}

wanted=()
for group in "$@"; do
    packages=$(packages_of "$group")
    read -ra list <<<"$(echo $packages)"
    wanted+=("${list[@]}")
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "Not a Debian machine: please see to it that the equivalents of these are installed:" >&2
    echo "  ${wanted[*]}" >&2
    exit 0
fi

missing=()
for package in "${wanted[@]}"; do
    status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Missing packages. As root: apt-get install -y --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "Installing from Debian: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
