#!/bin/bash
# The pure floors have no clock, socket, file, thread, random source, log or
# writable global of their own: this looks at the symbols of what was built.
#
# Usage: scripts/check-floors.sh BUILD     (a build without sanitizers)
#
# 1. Whatever a floor's library leaves undefined is defined by a floor below it
#    or stands in scripts/floors.allow.
# 2. No floor has data that can be written, but for the failure handler of
#    base/check.c, which is set once before there are threads.
set -euo pipefail
build=${1:?usage: scripts/check-floors.sh BUILD}
here=$(dirname "$0")
allow=$here/floors.allow

# Each floor with those below it.
floors=(
    "base:"
    "crdt:base"
    "swim:base"
    "store:base crdt"
    "store/log:base"
    "sync:base crdt store"
    "node:base crdt swim store sync"
    "sim:base crdt swim store"
    "sim/nodes:base crdt swim store store/log sync node sim"
)
passed=0 failed=0

archives_of() {
    local archive
    for archive in "$build/src/$1"/lib*.a; do
        [ ! -e "$archive" ] || echo "$archive"
    done
}

is_allowed() { # FLOOR OBJECT SYMBOL
    local floor symbol object
    while read -r floor symbol object; do
        [[ $floor == "*" || $floor == "$1" ]] || continue
        [[ -z $object || $object == "$2" ]] || continue
        # shellcheck disable=SC2053  # the pattern is meant
        [[ $3 == $symbol ]] && return 0
    done < <(grep -v '^#' "$allow")
    return 1
}

for entry in "${floors[@]}"; do
    floor=${entry%%:*}
    mapfile -t archives < <(archives_of "$floor")
    if [ ${#archives[@]} -eq 0 ]; then
        echo "floor $floor: no library in $build/src/$floor: nothing to look at"
        failed=$((failed + 1))
        continue
    fi
    below=()
    for other in $floor ${entry#*:}; do
        mapfile -t -O ${#below[@]} below < <(archives_of "$other")
    done
    defined=$(nm --defined-only --extern-only "${below[@]}" | awk 'NF == 3 { print $3 }' | sort -u)
    bad=0 seen=0
    while read -r object symbol; do
        seen=$((seen + 1))
        if ! is_allowed "$floor" "$object" "$symbol"; then
            echo "floor $floor: $object uses $symbol"
            bad=1
        fi
    done < <(nm -A --undefined-only "${archives[@]}" |
        awk 'NF >= 3 { n = split($1, part, /[:\/]/); print part[n - 1] == "" ? part[n - 2] : part[n - 1], $NF }' |
        awk 'NR == FNR { defined[$1]; next } !($2 in defined)' <(echo "$defined") - | sort -u)
    while read -r section symbol; do
        if [[ $floor/$symbol != base/on_failure ]]; then
            echo "floor $floor: $symbol in $section can be written"
            bad=1
        fi
    done < <(objdump -t "${archives[@]}" |
        awk 'NF > 3 && $(NF-2) ~ /^(\.data|\.bss|\.tdata|\.tbss|\*COM\*)/ && $(NF-2) !~ /^\.data\.rel\.ro/ &&
             $NF !~ /^\./ { print $(NF-2), $NF }')
    if [ "$bad" -eq 0 ] && [ "$seen" -gt 0 ]; then
        passed=$((passed + 1))
    else
        [ "$seen" -gt 0 ] || echo "floor $floor: no symbols seen"
        failed=$((failed + 1))
    fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
