#!/bin/bash
# Builds the program as it was at a commit, in a folder of its own: FOLDER/build/yzma.
#
# Usage: scripts/build-old.sh COMMIT FOLDER
set -euo pipefail
commit=${1:?usage: scripts/build-old.sh COMMIT FOLDER}
folder=${2:?usage: scripts/build-old.sh COMMIT FOLDER}
cd "$(dirname "$0")/.."
rm -rf "$folder"
mkdir -p "$folder"
git archive "$commit" | tar -x -C "$folder"
meson setup "$folder/build" "$folder" >/dev/null
ninja -C "$folder/build" yzma >/dev/null
