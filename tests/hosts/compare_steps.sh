#!/usr/bin/env bash
# What an update costs between hosts (network namespaces of this machine) with links of some rate, by --step: medians over
# generations of the time that messages take, beside the least that the bytes of a host's ranks take at that rate.
#   tests/hosts/compare_steps.sh PROGRAM TEXT [HOSTS] [RATE] [RANKS]    PROGRAM: an eggroll; HOSTS: 2 to 9, or 4; RATE: 100mbit, or
#   1gbit; RANKS: on each host, or 1
# exit code 77: no hosts can be made here
set -euo pipefail
usage() { sed -n '4,5s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
[[ $# -ge 2 && $# -le 5 && -x "$1" && -e "$2" ]] || usage
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath "$1")
text=$(realpath "$2")
hosts=${3:-4}
rate=${4:-1gbit}
ranks=${5:-1}
[[ "$hosts" =~ ^[2-9]$ && "$rate" =~ ^[1-9][0-9]*[mg]bit$ && "$ranks" =~ ^[1-9]$ ]] || usage
# shellcheck source=deploy/mpi_env.sh
source "$here/../../deploy/mpi_env.sh"
export EGGROLL_NETWORK=es$((RANDOM % 1000))
scratch=$(mktemp -d)
leave() {
  local code=$?
  "$here/network.sh" down "$EGGROLL_NETWORK" || true
  rm -rf "$scratch"
  exit "$code"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$here/network.sh" up "$EGGROLL_NETWORK" "$hosts"
for ((host = 1; host <= hosts; ++host)); do "$here/network.sh" slow "$EGGROLL_NETWORK" "$host" "$rate"; done
export OMPI_MCA_plm_rsh_agent=$here/on_host OMPI_MCA_plm_rsh_no_tree_spawn=1
export OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=10.77.0.0/24 OMPI_MCA_oob_tcp_if_include=10.77.0.0/24
list=$(seq -s, -f "h%g:$ranks" "$hosts")
carried() { cat "/sys/class/net/${EGGROLL_NETWORK}c1/statistics/rx_bytes"; }  # out of h1
for step in replicated sharded; do
  before=$(carried)
  "$here/on_host" h1 "cd $scratch; exec mpirun --host $list -np $((hosts * ranks)) $program train --data $text --population 96 \
    --tokens-per-update 2 --generations 12 --threads 1 --validate-every 0 --checkpoint-every 0 --digest-every 0 --step $step \
    --run $scratch/$step" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
  python3 - "$step" "$rate" "$scratch/$step" "$(($(carried) - before))" <<'PYTHON'
import json, statistics, sys
step, rate, run, carried = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
records = [json.loads(line) for line in open(f"{run}/metrics.jsonl")][1:]
wait, whole = (statistics.median(r[k] for r in records) for k in ("all_reduce_s", "generation_s"))
sent = carried / (len(records) + 1)
least = 8 * sent / (float(rate[:-4]) * (1e9 if rate[-4] == "g" else 1e6))
digest = next(l.split()[-1] for l in open(f"{run}/summary") if l.startswith("parameters digest"))
print(f"{step:10}  generation {1e3 * whole:7.1f} ms  messages of the update {1e3 * wait:7.1f} ms  "
      f"{sent / 1e6:5.1f} MB out of a host, {1e3 * least:7.1f} ms at {rate} ({least / wait:.2f})  digest {digest}")
PYTHON
done
