#!/bin/bash
# Takes from what `make fuzz` has grown the fewest inputs that reach what all of them
# reach, into tests/fuzz/corpus/TARGET/found.lines: one a line, in hex.
#
# Usage: scripts/fuzz-keep.sh [TARGET...]     (no target: all)
set -euo pipefail
cd "$(dirname "$0")/.."
build=build-fuzz length_max=400
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source##*/fuzz_}
        targets+=("${name%.c}")
    done
fi
for target in "${targets[@]}"; do
    kept=$(mktemp -d)
    "$build/tests/fuzz/fuzz_$target" -set_cover_merge=1 -max_len=$length_max -timeout=300 "$kept" \
        "$build/corpus/$target" >/dev/null 2>&1
    for file in "$kept"/*; do
        od -An -v -tx1 "$file" | tr -d ' \n'
        echo
    done | grep . | sort >"tests/fuzz/corpus/$target/found.lines"
    rm -r "$kept"
    echo "$target: $(wc -l <"tests/fuzz/corpus/$target/found.lines") inputs kept"
done
