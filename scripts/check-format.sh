#!/bin/bash
# Every C file is as clang-format 14 writes it with the .clang-format here.
# Usage: scripts/check-format.sh [--fix]
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t files < <(git ls-files 'src/*.c' 'src/*.h' 'tests/*.c' 'tests/*.h' 'bench/*.c' 'bench/*.h')
if [ "${1:-}" = --fix ]; then
    clang-format-14 -i "${files[@]}"
    exit
fi
passed=0 failed=0
# All at once, and each by itself only when something is wrong.
if [ "${#files[@]}" -gt 0 ] && clang-format-14 --dry-run -Werror "${files[@]}" 2>/dev/null; then
    echo "${#files[@]} passed, 0 failed"
    exit
fi
for file in "${files[@]}"; do
    if clang-format-14 --dry-run -Werror "$file" 2>/dev/null; then
        passed=$((passed + 1))
    else
        echo "$file: not formatted (make format)"
        failed=$((failed + 1))
    fi
done
[ $((passed + failed)) -gt 0 ] || { echo "no files seen"; failed=1; }
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
