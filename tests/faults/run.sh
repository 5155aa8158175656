#!/usr/bin/env bash
# Does every fault that a run has to outlive, many times, and prints one table. After each the run has to come to the parameters
# of an undisturbed one, with one record a generation, and to leave no process and no file behind. Exit code 1 where it did not.
#
#   tests/faults/run.sh [QUICK=1] [SEED=N] [ONLY=NAME,...]      QUICK: fewer of each, in about four minutes
#   EGGROLL=build/eggroll                                       the program
#
#   kills     SIGKILL of one to three ranks of a run with --survive
#   deaths    SIGKILL of mpirun, of rank 0, or of any rank, under eggroll supervise
#   pauses    SIGSTOP of a rank for two to three seconds, without and with --survive
#   silences  SIGSTOP of a rank for good, with --survive
#   hangs     SIGSTOP of a rank for good, under eggroll supervise --hang-after
#   network   tests/hosts/run.sh: hosts whose link is cut, for a while or for good, or slow and lossy; root alone
#   disks     a disk that is full for a while; root alone
#   damages   the newest checkpoint cut or changed, then train --resume
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
names=(kills deaths pauses silences hangs network disks damages)
usage() { echo "usage: tests/faults/run.sh [QUICK=1] [SEED=N] [ONLY=NAME,...]    NAME: ${names[*]}" >&2; exit 2; }
# shellcheck disable=SC2034  # QUICK and SEED are used by what is sourced
QUICK=0 SEED=1 ONLY=$(IFS=,; echo "${names[*]}")
for word in "$@"; do
  [[ $word =~ ^(QUICK=[01]|SEED=[0-9]{1,9}|ONLY=[a-z]+(,[a-z]+)*)$ ]] || usage
  declare "$word"
done
IFS=, read -ra chosen <<<"$ONLY"
for name in "${chosen[@]}"; do
  [[ " ${names[*]} " == *" $name "* ]] || usage
done
EGGROLL=$(realpath "${EGGROLL:-$here/../../build/eggroll}")
[[ -x $EGGROLL ]] || { echo "$EGGROLL: no such program; build it, or name it in EGGROLL" >&2; exit 2; }
# shellcheck source=deploy/mpi_env.sh
source "$here/../../deploy/mpi_env.sh"
# shellcheck source=tests/faults/common.sh
source "$here/common.sh"
for name in kills deaths stops storage; do
  # shellcheck source=/dev/null
  source "$here/$name.sh"
done

leave() {
  local code=$?
  trap '' INT TERM
  interrupted=''
  if [[ -n $hosts ]]; then
    kill -TERM "$hosts" 2>/dev/null || true
    wait "$hosts" || true
  fi
  close_scratch
  [[ -z $shared_memory ]] || rm -rf "$shared_memory"
  exit "$code"
}
hosts='' shared_memory=''
set_traps
open_scratch faults
shared_memory=$(mktemp -d /dev/shm/eggroll-faults-XXXXXX)  # killed ranks leave files there
export OMPI_MCA_btl_vader_backing_directory=$shared_memory

# Its rows are part of the table.
network() {
  local code=0 output=$scratch/hosts.out
  env -u OMPI_MCA_btl_vader_backing_directory "$here/../hosts/run.sh" "$EGGROLL" >"$output" &
  hosts=$!
  wait "$hosts" || code=$?
  pause 0.001  # where a signal ends this
  hosts=''
  if ((code == 77)); then
    not_run "link of a host cut, slow or lossy" "$(sed -n 's/^SKIP: //p' "$output")"
    return
  fi
  mapfile -t -O "${#rows[@]}" rows < <(grep '^| ' "$output" | grep -v '^| fault ')
  grep -v '^|' "$output" || true
  ((code == 0)) || failures=$((failures + 1))
}

for name in "${names[@]}"; do
  [[ ",$ONLY," != *",$name,"* ]] || "$name"
done
print_table
printf '%s\n' "${notes[@]}"
echo "$SECONDS s"
((failures == 0))
