#!/bin/bash
# Fuzzes every decoder with libFuzzer under AddressSanitizer and UBSan, one target
# after the other.
#
# Usage: scripts/fuzz.sh SECONDS [TARGET...]     (SECONDS for each target; no target: all)
#
# A timeout is one of the wall clock, so it is long: at idle priority the machine may be
# busy with other things. The corpus grows in build-fuzz/corpus/TARGET, from the captured packets and
# tests/fuzz/corpus/TARGET. What breaks a target is written to tests/fuzz/corpus/TARGET
# as hex, so that it is a test from then on. scripts/fuzz-keep.sh takes what is worth
# keeping of what it has grown to.
set -euo pipefail
seconds=${1:?usage: scripts/fuzz.sh SECONDS [TARGET...]}
shift
cd "$(dirname "$0")/.."
build=build-fuzz

if [ ! -e $build/build.ninja ]; then
    CC=clang meson setup $build -Dfuzzing=true -Db_sanitize=address,undefined -Db_lundef=false \
        -Dc_args="-fsanitize=fuzzer-no-link -fno-sanitize-recover=all" >/dev/null
fi
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source##*/fuzz_}
        targets+=("${name%.c}")
    done
fi
ninja -C $build "${targets[@]/#/tests/fuzz/fuzz_}" >/dev/null

seed() { # TARGET: hex files become seeds
    python3 - "$build/corpus/$1" tests/fuzz/corpus/"$1" tests/vectors/memberlist/*/ <<'END'
import glob, hashlib, os, sys
out, *folders = sys.argv[1:]
os.makedirs(out, exist_ok=True)
for folder in folders:
    for path in glob.glob(os.path.join(folder, "*.hex")):
        text = "".join(line for line in open(path) if not line.startswith("#"))
        data = bytes.fromhex("".join(text.split()))
        with open(os.path.join(out, hashlib.sha1(data).hexdigest()), "wb") as file:
            file.write(data)
    for path in glob.glob(os.path.join(folder, "*.lines")):
        for line in open(path):
            data = bytes.fromhex(line)
            with open(os.path.join(out, hashlib.sha1(data).hexdigest()), "wb") as file:
                file.write(data)
END
}

passed=0 failed=0
for target in "${targets[@]}"; do
    seed "$target"
    mkdir -p "$build/found/$target"
    if "$build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len=8192 -timeout=300 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$build/found/$target/" "$build/corpus/$target" >"$build/found/$target.log" 2>&1
    then
        passed=$((passed + 1))
        echo "$target: $(grep -c . < <(ls "$build/corpus/$target")) inputs kept," \
            "$(awk '/number_of_executed_units/ { print $2 }' "$build/found/$target.log") runs"
    else
        failed=$((failed + 1))
        for file in "$build/found/$target"/*; do
            [ -f "$file" ] || continue
            name=tests/fuzz/corpus/$target/$(basename "$file").hex
            od -An -v -tx1 -w32 "$file" | tr -d ' ' >"$name"
            echo "$target: broken, kept as $name; see $build/found/$target.log"
        done
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
