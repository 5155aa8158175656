#!/usr/bin/env bash
# What rounding utilities to integers costs: prints `eggroll bench shaping` as a table and draws it.
#   deploy/experiments/rounding.sh [PICTURE [REPETITIONS]]      default rounding.png, 15 populations a point
#   EGGROLL=PROGRAM    default build/eggroll
# About half a minute of one core.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=${EGGROLL:-$here/../../build/eggroll}
[[ -x $program ]] || { echo "rounding: $program: no such program; deploy/build.sh cpu eggroll makes it" >&2; exit 2; }
figures=$(mktemp -t eggroll-rounding.XXXXXX)
trap 'rm -f "$figures"' EXIT
"$program" bench shaping --json --repetitions "${2:-15}" >"$figures"
/usr/bin/python3 "$here/rounding.py" "$figures" "${1:-rounding.png}"
