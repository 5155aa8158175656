#!/usr/bin/env bash
# Training over three hosts, which are network namespaces of this machine with TCP between them, while the network fails. Every
# run has to end with the parameters of one process that nothing disturbed, and leave nothing on any host.
#   tests/hosts/run.sh PROGRAM      PROGRAM: the eggroll to be tested; exit code 77: no hosts can be made here
set -euo pipefail
[[ $# -eq 1 && -x "$1" ]] || { echo "usage: tests/hosts/run.sh PROGRAM" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
EGGROLL=$(realpath "$1")
export EGGROLL_NETWORK=eg$((RANDOM % 1000))
# shellcheck source=tests/faults/common.sh
source "$here/../faults/common.sh"
# shellcheck source=deploy/mpi_env.sh
source "$here/../../deploy/mpi_env.sh"
export OMPI_MCA_plm_rsh_agent=$here/on_host OMPI_MCA_plm_rsh_no_tree_spawn=1
export OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=10.77.0.0/24 OMPI_MCA_oob_tcp_if_include=10.77.0.0/24
leave() {
  local code=$?
  trap '' INT TERM
  interrupted=''
  network down || true
  close_scratch
  exit "$code"
}
set_traps
open_scratch hosts

network() { "$here/network.sh" "$1" "$EGGROLL_NETWORK" "${@:2}"; }  # VERB ...
network_up() {
  network down
  network up 3
}
# A run on h1, which reaches the others by the agent.
start() {  # OPTIONS-OF-TRAIN...
  begin_run
  start_job "$here/on_host" h1 "cd $scratch; exec $EGGROLL supervise --hang-after 6 --hosts h1:1,h2:1,h3:1 \
    --probe '$here/on_host {host} true' -- mpirun --host {hosts} -np {ranks} $EGGROLL train ${options[*]} --run $run $*"
  times=1
}
finish() {  # RANKS WORDS-IN-ITS-LOG...
  local host
  expected_ranks=$1
  await_end
  for host in 1 2 3; do
    orphans=$((orphans + $(ip netns pids "${EGGROLL_NETWORK}h$host" | wc -l)))
  done
  check_run "${@:2}"
  end_fault
}
training=(600 --population 96 --checkpoint-every 50)

network_up || exit $?  # 77 where that cannot be done
begin_fault "three hosts, undisturbed" 1 "${training[@]}"
start
finish 3

begin_fault "link of one of three hosts cut for 2.5 s" 1 "${training[@]}"
start
await has_records 100 || true
network cut 3
pause 2.5
network join 3
begin_latency
time_to_next_generation || true
finish 3

network_up
begin_fault "link of one of three hosts cut, started again on two" 1 "${training[@]}"
start
await has_records 100 || true
mark_start
network cut 3
begin_latency
time_to_next_start || true
finish 2 "host h3 does not answer"

network_up
begin_fault "the same, --survive --silence-limit 2: two go on" 1 "${training[@]}"
start --survive --silence-limit 2
await has_records 100 || true
network cut 3
begin_latency
! await has_fewer_ranks 3 || end_latency
finish 2 "silent for 2 s; 2 ranks go on"

network_up
begin_fault "100 ms each way and 1 % loss on one link" 1 25 --population 96 --checkpoint-every 50  # each message takes its time
network delay 3 100
if command -v iptables >/dev/null; then network lose 3 0.01; fi
start
finish 3

print_table
((failures == 0))
