#!/bin/bash
# Two rules about files as such: one file one subject, so none above 800 lines
# (1,200 for tests, which are lists of short stories); and no path of the machine that it was written on.
# Usage: scripts/check-files.sh
set -euo pipefail
cd "$(dirname "$0")/.."
passed=0 failed=0
# The brackets keep this file from finding itself.
declare -A named
while IFS=: read -r file line text; do
    echo "$file:$line: names a path of one machine: $text"
    named[$file]=1
done < <(git grep -InE '(^|[^A-Za-z0-9._/])/(wor[k]|roo[t]|home/[a-z]+|tmp/w[t])/' || true)
while read -r lines file; do
    bad=${named[$file]:-0}
    case $file in
    *vectors/* | */crc_tables.h | *.svg | *go.sum) ;; # data, not written by hand
    docs/openapi.yaml) ;; # one document, which its readers want in one file
    *)
        lines_max=800
        [[ $file == tests/* ]] && lines_max=1200
        if [ "$lines" -gt "$lines_max" ]; then
            echo "$file: $lines lines, above $lines_max"
            bad=1
        fi
        ;;
    esac
    if [ "$bad" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done < <(git ls-files -z | xargs -0 -n 500 wc -l | grep -v ' total$')
[ $((passed + failed)) -gt 0 ] || { echo "no files seen"; failed=1; }
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
