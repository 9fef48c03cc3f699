#!/bin/bash
# Builds what is measured, installs what it is compared with (nginx, etcd; on a
# machine that starts services by itself stop those two: they are not used), runs
# the comparisons, and writes bench/RESULTS.md.
#
# Usage: bench/run.sh [BUILD_DIR] [--quick] [NAME...]
set -euo pipefail
cd "$(dirname "$0")/.."
build=build
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ] && [ -d "$1" ]; then
    build=$1
    shift
fi
scripts/install-deps.sh build bench
[ -d "$build" ] || meson setup "$build"
ninja -C "$build" yzma bench/load
exec python3 bench/bench.py --build "$build" "$@"
