#!/bin/bash
# Worlds of whole nodes (yzma-sim nodes) for as long as told, one process a core, each
# with seeds of its own; one in sixteen seconds goes to worlds of 50 nodes. Ends with
# the sums by kind and "N worlds, N failed"; a failure prints its seed and the command that
# replays it. Told to end before, it ends after the present worlds, with the same.
#
# Usage: scripts/soak.sh BUILD SECONDS [FIRST-SEED]     (no seed: from the clock, and printed)
set -euo pipefail
build=${1:?usage: scripts/soak.sh BUILD SECONDS [FIRST-SEED]} seconds=${2:?} first=${3:-$(date +%s)000000}
sim=$build/src/sim/main/yzma-sim
cores=$(nproc) folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'kill "${pids[@]}" 2>/dev/null || true' INT TERM
echo "first seed $first, $cores processes, $seconds s"
large=$((seconds / 16))
pids=()
for ((core = 0; core < cores; core++)); do
    seed=$((first + core * 100000000))
    {
        nice -n 19 "$sim" nodes --seed "$seed" --seconds $((seconds - large)) --keep-going || true
        [ "$large" -eq 0 ] ||
            nice -n 19 "$sim" nodes --seed "$seed" --nodes 50 --operations 300 --seconds "$large" --keep-going || true
    } >"$folder/$core" 2>&1 &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    while kill -0 "$pid" 2>/dev/null; do # a signal ends the wait, and not what is waited for
        wait "$pid" || true
    done
done
grep -hE '^(seed|replay)' "$folder"/* || true
grep -hE '^[0-9]+ worlds|^of them' "$folder"/*
awk '/^faults:/ { sub(/^faults: /, ""); n = split($0, part, /, /)
                  for (i = 1; i <= n; i++) { split(part[i], field, " "); name[i] = field[1]; sum[i] += field[2] }
                  kinds = n }
     END { printf "faults:"; for (i = 1; i <= kinds; i++) printf " %s %d%s", name[i], sum[i], i < kinds ? "," : "\n" }' \
    "$folder"/*
awk '/^[0-9]+ worlds, [0-9]+ failed/ { worlds += $1; failed += $3; runs++ }
     END { printf "%d worlds, %d failed\n", worlds, failed; exit !(worlds > 0 && failed == 0 && runs >= '"$cores"') }' "$folder"/*
