#!/usr/bin/env bash
# Low rank beside full rank in reinforcement learning (arXiv 2511.16652, section 6): for each task a random search over sigma and learning
# rate, the same number of trials for r = 1, r = 4 and full rank, all with the same members, then seeds of the best of each. Prints a table
# (return over 100 episodes, mean and standard error over seeds, environment steps, CPU seconds) and draws the curves.
#   deploy/experiments/control.sh [FOLDER [TASK ...]] [--trials N] [--seeds N] [--jobs N]
# FOLDER (default runs/control-experiment) keeps runs and results: what is there of a task is not run again. Without a task: the five of
# classic control, about forty minutes of a core; others take longer (the script's BUDGETS).
#   EGGROLL=PROGRAM    default build/eggroll
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
program=${EGGROLL:-$top/build/eggroll}
[[ -x $program ]] || { echo "control: $program: no such program; deploy/build.sh cpu eggroll makes it" >&2; exit 2; }
[[ $# -gt 0 && $1 != -* ]] || set -- "$top/runs/control-experiment" "$@"
/usr/bin/python3 "$here/control.py" "$program" "$@"
