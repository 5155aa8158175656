#!/usr/bin/env bash
# From a fresh machine to a language model that learns: set-up, build, corpus, training on MPI ranks, summary, sample.
#   deploy/quickstart.sh [OPTIONS OF eggroll train]      e.g. --seed 2, --generations 2000, --data my.txt, --update threshold
#   EGGROLL_RANKS=N     MPI ranks (default: the cores of this machine, at least 2)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$here")
source "$here/mpi_env.sh"

arguments=("$@")
has() { local a; for a in "${arguments[@]}"; do [[ "$a" == "--$1" || "$a" == "--$1="* ]] && return 0; done; return 1; }
value_of() {
  local i
  for i in "${!arguments[@]}"; do
    [[ "${arguments[i]}" == "--$1="* ]] && echo "${arguments[i]#*=}" && return
    [[ "${arguments[i]}" == "--$1" ]] && echo "${arguments[i + 1]:-}" && return
  done
}
if has help; then
  sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
  exit 0
fi

cores=$(nproc)
ranks=${EGGROLL_RANKS:-$((cores < 2 ? 2 : cores))}
[[ "$ranks" =~ ^[1-9][0-9]*$ ]] || { echo "quickstart: EGGROLL_RANKS = $ranks: allowed are whole numbers from 1" >&2; exit 2; }

"$here/setup.sh"
"$here/build.sh" cpu eggroll
"$here/corpus.sh" "$top/data/kjv.txt"

# What the command line says wins over what is said here: a folder of one's own, another text.
data=$top/data/kjv.txt
run=$top/runs/quickstart-$(date +%Y%m%d-%H%M%S)
if has resume; then
  run=$(value_of resume)  # which has its data and settings
else
  has data || arguments+=(--data "$data")
  has config || arguments+=(--config "$here/configs/quickstart.ini")
fi
if has run; then
  run=$(value_of run)
elif ! has resume; then
  arguments+=(--run "$run")
fi
# The quick start fits two cores; more ranks take a thread each.
has threads || arguments+=(--threads 1)

echo "training on $ranks ranks: mpirun -np $ranks build/eggroll train ${arguments[*]}"
mpirun -np "$ranks" "$top/build/eggroll" train "${arguments[@]}"

has dry-run && exit 0
echo
echo "sample: build/eggroll sample --checkpoint $run --prompt 'And God said unto '"
"$top/build/eggroll" sample --checkpoint "$run" --prompt 'And God said unto ' --length 400
