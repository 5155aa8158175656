#!/usr/bin/env bash
# Configures and builds a preset quietly (default cpu, into build/); the compiler's words are shown only where it fails.
#   deploy/build.sh [PRESET [TARGET]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=${1:-cpu}
target=${2:-all}
log=$(mktemp -t eggroll-build.XXXXXX)
trap 'rm -f "$log"' EXIT
echo "build: preset $preset"
if ! { cmake --preset "$preset" && cmake --build --preset "$preset" --target "$target"; } >"$log" 2>&1; then
  grep -nE 'error|Error|FAILED' "$log" | head -n 20 >&2 || true
  tail -n 15 "$log" >&2
  echo "build: failed; its last words are above" >&2
  exit 1
fi
