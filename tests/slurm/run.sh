#!/usr/bin/env bash
# deploy/slurm/train.sbatch on a real SLURM of three nodes, which this starts and stops: a run stopped by its time limit goes
# on with fewer nodes; one whose node dies, that of the script too, goes on with the others; a cancelled one goes on when it is
# submitted again; an array trains a seed a task; srun starts ranks as mpirun does; wrong variables are refused. Every run has
# to end with the parameters of one that nothing disturbed.
#   tests/slurm/run.sh PROGRAM      PROGRAM: the eggroll to be tested; exit code 77: no SLURM can be started here
set -euo pipefail
[[ $# -eq 1 && -x "$1" ]] || { echo "usage: tests/slurm/run.sh PROGRAM" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
program=$(realpath "$1")
work=$(mktemp -d -t eggroll-slurm.XXXXXX)
leave() {
  local code=$?
  trap '' INT TERM
  "$here/cluster.sh" stop "$work/cluster" || true
  rm -rf "$work"
  exit "$code"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

begin=$SECONDS
code=0
"$here/cluster.sh" start "$work/cluster" 3 || code=$?
((code == 0)) || exit "$code"
export SLURM_CONF=$work/cluster/slurm.conf
echo "SLURM of three nodes after $((SECONDS - begin)) s"

# A site's own settings: the nodes share one network address, and all of it stays on the loopback device.
export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
# shellcheck source=deploy/mpi_env.sh
source "$top/deploy/mpi_env.sh"
mkdir -p "$work/home/build" "$work/runs"
ln -s "$program" "$work/home/build/eggroll"
ln -s "$top/deploy" "$work/home/deploy"
awk 'BEGIN { srand(5); for (i = 0; i < 6000; ++i) printf "%s ", substr("evolutionstrategies", 1 + int(12 * rand()), 2 + int(6 * rand())) }' >"$work/text"
cat >"$work/config.ini" <<'EOF'
layers = 1
width = 64
population = 128
tokens-per-update = 16
validate-every = 0
checkpoint-every = 50
EOF
readonly few=300
export EGGROLL_HOME=$work/home EGGROLL_DATA=$work/text EGGROLL_CONFIG=$work/config.ini
export EGGROLL_HANG_AFTER=60
EGGROLL_SUPERVISE=yes
if ! "$program" --help 2>&1 | grep -q supervise; then
  echo "note: this program has no command supervise; the ranks are started by mpirun alone"
  EGGROLL_SUPERVISE=no
fi
export EGGROLL_SUPERVISE

table=()
failures=0
verdict() {  # NAME SECONDS DETAIL; reads `fault`, empty where all was well
  local word=PASS
  [[ -z "$fault" ]] || { word=FAIL; failures=$((failures + 1)); }
  table+=("$(printf '%-4s  %-44s %4s s  %s' "$word" "$1" "$2" "${fault:-$3}")")
  echo "$word: $1${fault:+: $fault}"
  fault=
}
fault=
wrong() { fault=${fault:-$*}; }
digest_of() { "$program" inspect --checkpoint "$1" 2>/dev/null | awk '/parameters_digest/ { print $NF }'; }
state_of() { timeout 10 scontrol show job "$1" 2>/dev/null | grep -o 'JobState=[A-Z]*' | head -n 1 | cut -d= -f2; }
field_of() { timeout 10 scontrol show job "$1" 2>/dev/null | grep -o "$2=[^ ]*" | head -n 1 | cut -d= -f2; }
generation_in() { if [[ -e "$1/metrics.jsonl" ]]; then wc -l <"$1/metrics.jsonl"; else echo 0; fi; }
until_within() {  # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@"; do ((SECONDS < end)) || return 1; sleep 0.5; done
}
is_in_state() { [[ "$(state_of "$1")" == "$2" ]]; }
has_ended() { [[ "$(state_of "$1")" =~ ^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|BOOT_FAIL|OUT_OF_MEMORY)$ ]]; }
has_reached() { (($(generation_in "$1") >= $2)); }
is_queued_again() { is_in_state "$1" PENDING && [[ "$(field_of "$1" Restarts)" -ge 1 ]]; }
node_is_down() { [[ "$(timeout 10 sinfo -h -n "$1" -o %t)" == down* ]]; }
node_is_idle() { [[ "$(timeout 10 sinfo -h -n "$1" -o %t)" == idle ]]; }
submit() { timeout 20 sbatch --parsable --output="$work/log-%j" "$@" "$top/deploy/slurm/train.sbatch"; }
show() { awk -v work="$work" '{ gsub(work, "."); print "    " $0 }' <<<"$1"; }
ends_well() {  # JOB SECONDS RUN DIGEST
  until_within "$2" has_ended "$1" || { wrong "job $1 is $(state_of "$1") after $2 s more"; timeout 10 scancel "$1" || true; return 0; }
  is_in_state "$1" COMPLETED || wrong "job $1 ended $(state_of "$1")"
  [[ "$(digest_of "$3")" == "$4" ]] || wrong "digest $(digest_of "$3"), undisturbed $4"
}
show_log() { [[ -z "$fault" ]] || { echo "  the job's log:"; show "$(tail -n 40 "$work/log-$1" 2>&1)"; }; }

plain() {  # NAME GENERATIONS SEED: without SLURM and without any disturbance
  env -u EGGROLL_RUN timeout 120 mpirun -np 2 "$program" train --config "$EGGROLL_CONFIG" --data "$EGGROLL_DATA" --threads 1 \
    --run "$work/runs/$1" --generations "$2" --seed "$3" >"$work/log-$1" 2>&1 || { cat "$work/log-$1"; exit 1; }
  digest_of "$work/runs/$1"
}
begin=$SECONDS
seed_7=$(plain seed_7 "$few" 7)
seed_9=$(plain seed_9 "$few" 9)
# As many as take about half a minute.
generations=$(tail -n 1 "$work/runs/seed_9/metrics.jsonl" | grep -o '"elapsed_s":[0-9.e-]*' | awk -F: -v few="$few" '{ print int(30 * few / $2) }')
export EGGROLL_OPTIONS="--generations $generations"
undisturbed=$(plain undisturbed "$generations" 1)
echo "undisturbed runs ($generations and twice $few generations): digests $undisturbed $seed_7 $seed_9, $((SECONDS - begin)) s"

stopped_by_its_time_limit() {
  local begin=$SECONDS run=$work/runs/limit config=$work/limit.ini job stood nodes expected
  # Without an end until it has been stopped, whatever its pace.
  { cat "$EGGROLL_CONFIG"; echo "generations = 1000000"; } >"$config"
  job=$(EGGROLL_RUN=$run EGGROLL_CONFIG=$config EGGROLL_OPTIONS='' submit --nodes=3 --ntasks-per-node=1 --time=10 --signal=B:USR1@90)
  until_within 60 has_reached "$run" 100 || wrong "no 100 generations within 60 s"
  # SLURM looks at time limits every half minute, and sends the signal up to a minute early.
  timeout 10 scontrol update "JobId=$job" TimeLimit=2
  show "$(timeout 10 squeue -o '%.6i %.9T %.6M %.6l %.5D %R')"
  until_within 120 is_queued_again "$job" || wrong "not queued again within 120 s: $(state_of "$job")"
  stood=$(generation_in "$run")
  grep -q 'signal USR1' "$work/log-$job" || wrong "the signal did not come"
  grep -q 'exit code 75' "$work/log-$job" || wrong "no exit code 75"
  sed -i "s/^generations = .*/generations = $((stood + few))/" "$config"
  expected=$(plain limit_undisturbed $((stood + few)) 1)
  timeout 10 scontrol update "JobId=$job" NumNodes=2-2 NumTasks=2 TimeLimit=10 StartTime=now || wrong "the job takes no other number of nodes"
  show "$(timeout 10 squeue -o '%.6i %.9T %.6M %.6l %.5D %R')"
  ends_well "$job" 120 "$run" "$expected"
  nodes=$(field_of "$job" NumNodes)
  [[ "$nodes" == 2 ]] || wrong "its second start had $nodes nodes"
  show "$(grep 'train.sbatch:' "$work/log-$job")"
  show_log "$job"
  verdict "stopped by its limit, goes on with 2 of 3 nodes" $((SECONDS - begin)) "stopped after generation $stood, went on to $((stood + few))"
}

node_dies() {  # NODE, SHORT WORDS
  local begin=$SECONDS run=$work/runs/$1 job stood
  job=$(EGGROLL_RUN=$run EGGROLL_MAX_RESTARTS=0 submit --nodes=3 --ntasks-per-node=1 --time=10)
  until_within 60 has_reached "$run" 200 || wrong "no 200 generations within 60 s"
  "$here/cluster.sh" kill-node "$work/cluster" "$1"
  stood=$(generation_in "$run")
  ((stood < generations)) || wrong "the run was over before the node died"
  until_within 120 node_is_down "$1" || wrong "SLURM does not see that $1 is gone"
  show "$(timeout 10 sinfo -N -o '%N %t %E')"
  until_within 60 is_queued_again "$job" || wrong "not queued again: $(state_of "$job")"
  timeout 10 scontrol update "JobId=$job" NumNodes=2-2 NumTasks=2 StartTime=now || wrong "the job takes no other number of nodes"
  ends_well "$job" 120 "$run" "$undisturbed"
  [[ "$(field_of "$job" NumNodes)" == 2 ]] || wrong "its second start had $(field_of "$job" NumNodes) nodes"
  show "$(grep 'train.sbatch:' "$work/log-$job")"
  show_log "$job"
  "$here/cluster.sh" start-node "$work/cluster" "$1" || wrong "$1 does not come back"
  until_within 60 node_is_idle "$1" || wrong "$1 is not idle again"
  verdict "$2 dies, goes on with the other two" $((SECONDS - begin)) "died after generation $stood of $generations"
}

array_of_seeds() {
  local begin=$SECONDS job
  job=$(EGGROLL_RUN=$work/runs/array EGGROLL_SEEDS="7 9" EGGROLL_OPTIONS="--generations $few" \
    submit --array=1-2 --nodes=1 --ntasks-per-node=2 --time=10)
  ends_well "${job}_1" 90 "$work/runs/array-seed7" "$seed_7"
  ends_well "${job}_2" 90 "$work/runs/array-seed9" "$seed_9"
  verdict "an array of two seeds" $((SECONDS - begin)) "runs array-seed7 and array-seed9"
}

# SLURM gives what it cancels five seconds here (KillWait).
cancelled() {
  local begin=$SECONDS run=$work/runs/cancelled job stood kept
  job=$(EGGROLL_RUN=$run submit --nodes=2 --ntasks-per-node=1 --time=10)
  until_within 60 has_reached "$run" 120 || wrong "no 120 generations within 60 s"
  timeout 10 scancel "$job"
  until_within 60 has_ended "$job" || wrong "job $job is $(state_of "$job")"
  is_in_state "$job" CANCELLED || wrong "job $job ended $(state_of "$job")"
  stood=$(generation_in "$run")
  kept=$("$program" inspect --checkpoint "$run" | awk '$1 == "generation" { print $2 }')
  ((kept >= 100)) || wrong "its newest checkpoint is of generation $kept of $stood"
  show_log "$job"
  job=$(EGGROLL_RUN=$run submit --nodes=3 --ntasks-per-node=1 --time=10)
  ends_well "$job" 120 "$run" "$undisturbed"
  show_log "$job"
  verdict "cancelled, submitted again" $((SECONDS - begin)) "cancelled in generation $stood, went on after $kept"
}

ranks_of_srun() {
  local begin=$SECONDS job
  job=$(EGGROLL_RUN=$work/runs/srun EGGROLL_LAUNCHER=srun EGGROLL_SEEDS=7 EGGROLL_OPTIONS="--generations $few" \
    submit --nodes=1 --ntasks-per-node=2 --time=10)
  ends_well "$job" 90 "$work/runs/srun" "$seed_7"
  grep -q '2 ranks' "$work/log-$job" || wrong "not one run of two ranks"
  show_log "$job"
  verdict "two ranks started by srun" $((SECONDS - begin)) "EGGROLL_LAUNCHER=srun, one node"
}

srun_without_pmix() {
  local begin=$SECONDS code=0 output
  output=$(timeout 60 srun --mpi=none --nodes=2 --ntasks=2 "$program" train --data "$EGGROLL_DATA" --run "$work/runs/none" 2>&1) || code=$?
  ((code != 0 && code != 124)) || wrong "exit code $code"
  [[ ! -e "$work/runs/none" ]] || wrong "it made a run folder"
  if [[ $EGGROLL_SUPERVISE == yes ]]; then
    ((code == 2)) || wrong "exit code $code, not 2"
    grep -q '^eggroll: .*--mpi=pmix' <<<"$output" || wrong "no line says --mpi=pmix"
  fi
  show "$(grep -v '^$' <<<"$output" | head -n 4)"
  verdict "srun without --mpi=pmix is refused" $((SECONDS - begin)) "exit code $code"
}

wrong_variables() {
  local begin=$SECONDS assignment output code count=0 left=$work/home-without-program
  mkdir -p "$left"
  for assignment in EGGROLL_HOME="$left" EGGROLL_DATA="$work/absent" EGGROLL_CONFIG="$work/absent" EGGROLL_RANKS_PER_NODE=0 \
    EGGROLL_RANKS_PER_NODE=two EGGROLL_THREADS=-1 EGGROLL_THREADS=99999 EGGROLL_LAUNCHER=mpiexec EGGROLL_BINDING=cores EGGROLL_SUPERVISE=1 \
    EGGROLL_MAX_RESTARTS=x EGGROLL_HANG_AFTER=0 EGGROLL_MAX_REQUEUES=1e3 EGGROLL_SEEDS='1 b' EGGROLL_SEEDS='1 2' EGGROLL_OPTIONS='--seed 3' \
    SLURM_JOB_ID= SLURM_JOB_NUM_NODES=; do
    code=0
    output=$(env SLURM_JOB_ID=1 SLURM_JOB_NUM_NODES=1 EGGROLL_RUN="$work/runs/wrong" "$assignment" \
      timeout 20 bash "$top/deploy/slurm/train.sbatch" 2>&1) || code=$?
    ((code == 2)) || wrong "$assignment: exit code $code"
    [[ $(wc -l <<<"$output") -eq 1 && "$output" == "train.sbatch: ${assignment%%=*} = '${assignment#*=}': "* ]] || wrong "$assignment: $output"
    count=$((count + 1))
  done
  [[ ! -e "$work/runs/wrong" ]] || wrong "a run folder was made"
  verdict "wrong variables are refused" $((SECONDS - begin)) "$count of them, each by name, value and what is allowed"
}

wrong_variables
srun_without_pmix
ranks_of_srun
array_of_seeds
cancelled
stopped_by_its_time_limit
node_dies n3 "a node"
node_dies n1 "the node of the script"

echo
echo "what SLURM recorded of the jobs that ended:"
show "$(cut -d' ' -f1,3,4,6,8-11 "$work/cluster/log/jobs")"
echo
printf '%s\n' "${table[@]}"
echo "$((${#table[@]} - failures)) of ${#table[@]} passed, $SECONDS s"
((failures == 0))
