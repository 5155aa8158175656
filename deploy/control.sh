#!/usr/bin/env bash
# A policy that learns to act: set-up, build, training in an environment by its configuration, evaluation, a moving picture.
#   deploy/control.sh [ENV] [OPTIONS OF eggroll train]     ENV: CartPole-v1 (the default) or another of deploy/configs/control/
#   EGGROLL_RANKS=N     MPI ranks (default 1: a process with a thread for each core)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$here")
source "$here/mpi_env.sh"

if [[ "${1:-}" == --help ]]; then
  sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
  exit 0
fi
env=CartPole-v1
[[ $# -gt 0 && "$1" != --* ]] && env=$1 && shift
config=$here/configs/control/$env.ini
if [[ ! -f "$config" ]]; then
  known=$(cd "$here/configs/control" && printf '%s\n' *.ini | sed 's/\.ini$//' | paste -sd, | sed 's/,/, /g')
  echo "control: $env: there is no configuration for it; there are $known" >&2
  exit 2
fi
ranks=${EGGROLL_RANKS:-1}
[[ "$ranks" =~ ^[1-9][0-9]*$ ]] || { echo "control: EGGROLL_RANKS = $ranks: allowed are whole numbers from 1" >&2; exit 2; }

"$here/setup.sh"
"$here/build.sh" cpu eggroll

run=$top/runs/$env-$(date +%Y%m%d-%H%M%S)
arguments=("$@")
for i in "${!arguments[@]}"; do
  [[ ${arguments[i]} == --run=* ]] && run=${arguments[i]#*=} && unset 'arguments[i]' && break
  [[ ${arguments[i]} == --run ]] && run=${arguments[i + 1]:?control: --run: a folder is missing} && unset 'arguments[i]' 'arguments[i+1]' && break
done
launch=()
((ranks > 1)) && launch=(mpirun -np "$ranks")
echo "training: ${launch[*]:+${launch[*]} }build/eggroll train --config $config --run $run ${arguments[*]}"
"${launch[@]}" "$top/build/eggroll" train --config "$config" --run "$run" "${arguments[@]}"
echo
"$top/build/eggroll" evaluate --checkpoint "$run" --episodes 100
"$top/build/eggroll" rollout --checkpoint "$run" --render "$run/episode.gif" >"$run/episode.jsonl"
echo "an episode   $run/episode.gif, episode.jsonl"
