#!/bin/bash
# Builds what is measured, installs what it is compared with (on a machine that starts
# services by itself stop nginx, redis and etcd: those are not the ones used), runs the
# comparisons, and writes bench/RESULTS.md. All of it takes about an hour; with --quick,
# which only tries it out, under 8 minutes. bench/README.md has the names.
#
# Usage: bench/run.sh [BUILD_DIR] [--quick] [--help] [NAME...]
set -euo pipefail
cd "$(dirname "$0")/.."
build=build
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ] && [ -e "$1/build.ninja" ]; then
    build=$1
    shift
fi
scripts/install-deps.sh build bench
[ -e "$build/build.ninja" ] || meson setup "$build"
ninja -C "$build" yzma bench/load bench/visible bench/fdatasync bench/watchers
exec python3 bench/bench.py --build "$build" "$@"
