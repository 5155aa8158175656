#!/usr/bin/env bash
# Training over three hosts, which are network namespaces of this machine with TCP between them, while the network fails. Every
# run has to end with the parameters of one process that nothing disturbed.
#   tests/hosts/run.sh PROGRAM      PROGRAM: the eggroll to be tested; exit code 77: no hosts can be made here
set -euo pipefail
[[ $# -eq 1 && -x "$1" ]] || { echo "usage: tests/hosts/run.sh PROGRAM" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath "$1")
network=eg$((RANDOM % 1000))
export EGGROLL_NETWORK=$network
work=$(mktemp -d -t eggroll-hosts.XXXXXX)
leave() {
  local code=$?
  trap '' INT TERM
  "$here/network.sh" down "$network" || true
  rm -rf "$work"
  exit "$code"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# shellcheck source=deploy/mpi_env.sh
source "$here/../../deploy/mpi_env.sh"
export OMPI_MCA_plm_rsh_agent=$here/on_host OMPI_MCA_plm_rsh_no_tree_spawn=1
export OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=10.77.0.0/24 OMPI_MCA_oob_tcp_if_include=10.77.0.0/24

awk 'BEGIN { srand(5); for (i = 0; i < 6000; ++i) printf "%s ", substr("evolutionstrategies", 1 + int(12 * rand()), 2 + int(6 * rand())) }' >"$work/text"
train=(train --data "$work/text" --layers 1 --width 64 --population 96 --tokens-per-update 8 --threads 1 --validate-every 0
  --checkpoint-every 50 --generations)
digest() { "$program" inspect --checkpoint "$1" | awk '$1 == "parameters_digest" { print $2 }'; }
recorded() { if [[ -f "$work/$1/metrics.jsonl" ]]; then wc -l <"$work/$1/metrics.jsonl"; else echo 0; fi; }
await() {  # RUN GENERATION
  for _ in {1..600}; do
    (($(recorded "$1") < $2)) || return 0
    sleep 0.1
  done
  return 1
}
expect() {  # GENERATIONS of the runs that follow
  generations=$1
  "$program" "${train[@]}" "$generations" --run "$work/undisturbed-$generations" >"$work/log" 2>&1
  expected=$(digest "$work/undisturbed-$generations")
}

network_up() {
  local code=0
  "$here/network.sh" down "$network"
  "$here/network.sh" up "$network" 3 || code=$?
  ((code == 0)) || exit "$code"
}
# Starts a run on h1, which reaches the others by the agent.
start() {  # RUN OPTIONS OF supervise AND train ...
  local run=$1
  shift
  timeout 150 "$here/on_host" h1 "cd $work; exec $program supervise --hang-after 6 --hosts h1:1,h2:1,h3:1 --probe '$here/on_host {host} true' -- \
    mpirun --host {hosts} -np {ranks} $program ${train[*]} $generations --run $work/$run $*" >"$work/$run.log" 2>&1 &
  job=$!
}
passed=0
tried=0
table=()
finish() {  # RUN WHAT WORDS-IN-ITS-LOG
  local code=0 result=PASS note begin=$SECONDS
  wait "$job" || code=$?
  note="exit code $code, $(digest "$work/$1" 2>/dev/null || echo no digest), $(recorded "$1") records"
  if ((code != 0)) || [[ "$(digest "$work/$1")" != "$expected" || "$(recorded "$1")" != "$generations" ]] ||
    ! grep -q -- "$3" "$work/$1.log"; then
    result=FAIL
    tail -n 25 "$work/$1.log" | sed 's/^/    /'
  fi
  tried=$((tried + 1))
  [[ $result == FAIL ]] || passed=$((passed + 1))
  table+=("$(printf '%s  %-62s %s' "$result" "$2" "$note")")
  echo "${table[-1]}"
}

expect 600
network_up
start plain
finish plain "three hosts, undisturbed" "3 ranks"

start blink
await blink 100 || true
"$here/network.sh" cut "$network" 3
sleep 2.5
"$here/network.sh" join "$network" 3
finish blink "the cable of one host pulled for 2.5 s" "3 ranks"

network_up
start gone
await gone 100 || true
"$here/network.sh" cut "$network" 3
finish gone "the cable of one host pulled for good, started again on two" "host h3 does not answer"

network_up
start survived --survive --silence-limit 2
await survived 100 || true
"$here/network.sh" cut "$network" 3
finish survived "the same with --survive: two hosts go on inside the job" "silent for 2 s; 2 ranks go on"

expect 25  # each message takes its time
network_up
"$here/network.sh" delay "$network" 3 100
if command -v iptables >/dev/null; then "$here/network.sh" lose "$network" 3 0.01; fi
start slow
finish slow "100 ms each way and a frame of a hundred lost on one link" "3 ranks"

echo
printf '%s\n' "${table[@]}"
echo "$passed of $tried passed, $SECONDS s"
((passed == tried))
