#!/usr/bin/env bash
# tests/faults/kills.sh [KILLS=200]: small `train --survive` runs on four ranks, of each of which one to three are
# killed (SIGKILL) at random instants: between and within generations, at the same time, and while a checkpoint is
# being written. Every run must come to the parameters of the undisturbed one and leave nothing behind. A run whose
# job ends is counted and gone on with. Exit code 1 where a digest differs, or a process, a file, or a hang is left.
#
#   KILLS=500 SECONDS_AT_MOST=3600 SEED=7 tests/faults/kills.sh
#   EGGROLL=build/eggroll     the program
set -euo pipefail
cd "$(dirname "$0")/../.."
source deploy/mpi_env.sh
export OMPI_MCA_orte_enable_recovery=1 OMPI_MCA_orte_abort_on_non_zero_status=0
for word in "$@"; do
  [[ $word =~ ^(KILLS|SECONDS_AT_MOST|SEED)=[0-9]+$ ]] || { echo "usage: $0 [KILLS=200] [SECONDS_AT_MOST=N] [SEED=N]"; exit 2; }
  declare "$word"
done
KILLS=${KILLS:-200} SECONDS_AT_MOST=${SECONDS_AT_MOST:-86400} SEED=${SEED:-1}
EGGROLL=$(realpath "${EGGROLL:-build/eggroll}")
readonly ranks=4 generations=50 run_limit_us=60000000

RANDOM=$SEED
scratch=$(mktemp -d "${TMPDIR:-/tmp}/eggroll-kills-XXXXXX")
mpirun_pid=
end() {
  [[ -z $mpirun_pid ]] || kill -KILL "$mpirun_pid" 2>/dev/null || true
  pkill -KILL -f "$scratch/" 2>/dev/null || true
  rm -rf "$scratch"
}
trap end EXIT
trap 'exit 1' INT TERM
for ((line = 0; line < 700; ++line)); do echo "line $line of a text, $RANDOM words, $((RANDOM % 9))"; done >"$scratch/text"
options=(--data "$scratch/text" --layers 1 --width 64 --population 128 --tokens-per-update 8 --threads 1
  --validate-every 0 --checkpoint-every 20 --generations $generations)

mkfifo "$scratch/clock"
exec 9<>"$scratch/clock"
pause() { read -r -t "$1" -u 9 || true; }  # sleeps without a process
now_us() { now=${EPOCHREALTIME/./}; }
digest_of() { "$EGGROLL" inspect --json --checkpoint "$1" 2>/dev/null | grep -o '"parameters_digest": *"[0-9a-f]*"' | grep -o '[0-9a-f]*"$' | tr -d '"' || true; }

# The records so far: how many, and on how many ranks the last one was made.
look_at_records() {
  local -a lines=()
  [[ ! -e $1/metrics.jsonl ]] || mapfile -t lines <"$1/metrics.jsonl" 2>/dev/null || true
  records=${#lines[@]}
  [[ $records -eq 0 || ! ${lines[-1]} =~ \"ranks\":([0-9]+) ]] || last_ranks=${BASH_REMATCH[1]}
}

find_ranks() {  # process_of[rank] for the children of mpirun
  local pid word
  for pid in $(pgrep -P "$mpirun_pid" || true); do
    while IFS= read -r -d '' word; do
      [[ $word != OMPI_COMM_WORLD_RANK=* ]] || process_of[${word#*=}]=$pid
    done 2>/dev/null <"/proc/$pid/environ" || true
  done
}

is_writing() { compgen -G "$1/*.h5.partial" >/dev/null; }

digests_differ=0 orphans=0 partials=0 hangs=0 runs=0 kills=0 job_ends=0 begun_anew=0 while_writing=0 after_the_end=0 \
  regroupings=0
: >"$scratch/latencies"

# One job, of which `wanted` ranks are killed. 0: came to its end.
one_job() {
  local run=$1 wanted=$2
  shift 2
  local -A process_of=() killed_at=()
  local -a order=() waiting_for=()
  local records=0 last_ranks=$ranks left=$ranks now start target=0 by_checkpoint=0 together=0 made=0
  mpirun -np $ranks "$EGGROLL" train "$@" --survive >>"$run.out" 2>&1 &
  mpirun_pid=$!
  now_us; start=$now
  mapfile -t order < <(for r in 0 1 2 3; do echo "$RANDOM $r"; done | sort -n | cut -d' ' -f2)
  choose_instant() {
    together=$((made > 0 && RANDOM % 3 == 0)) by_checkpoint=$((RANDOM % 3 == 0))
    target=$((records + 1 + RANDOM % (generations / (wanted + 1)))) extra_us=$((RANDOM % 60000)) reached_at=0
  }
  local extra_us=0 reached_at=0
  choose_instant
  while kill -0 "$mpirun_pid" 2>/dev/null; do
    look_at_records "$run"
    now_us
    for i in "${!waiting_for[@]}"; do
      ((last_ranks <= waiting_for[i])) || continue
      echo $(((now - killed_at[$i]) / 1000)) >>"$scratch/latencies"
      unset "waiting_for[$i]"
      regroupings=$((regroupings + 1))
    done
    if ((now - start > run_limit_us)); then
      hangs=$((hangs + 1))
      echo "run $runs: hangs after $records records, made $made kills: $(tail -1 "$run.out")"
      pgrep -a -P "$mpirun_pid" | sed 's/^/  left: /' || true
      pkill -KILL -f "$run" || true
      break
    fi
    local is_due=0
    if ((made < wanted && records > 0)); then
      if ((records >= target && reached_at == 0)); then reached_at=$now; fi
      if ((together)); then is_due=1
      elif ((by_checkpoint)); then ! is_writing "$run" || is_due=1
      elif ((reached_at > 0 && now - reached_at >= extra_us)); then is_due=1; fi
    fi
    if ((is_due)); then
      ((${#process_of[@]} == ranks)) || find_ranks
      local victim=${process_of[${order[$made]}]:-}
      ! is_writing "$run" || while_writing=$((while_writing + 1))
      if [[ -n $victim ]] && kill -KILL "$victim" 2>/dev/null; then
        now_us
        kills=$((kills + 1)) left=$((left - 1))
        waiting_for[made]=$left killed_at[$made]=$now
        ((records < generations)) || after_the_end=$((after_the_end + 1))
      fi
      made=$((made + 1))
      choose_instant
      ((together)) && continue
    fi
    if ((by_checkpoint && made < wanted)); then pause 0.001; else pause 0.005; fi
  done
  local code=0
  wait "$mpirun_pid" || code=$?
  mpirun_pid=
  grep -q 'parameters digest' "$run.out"
}

processes_of() { pgrep -c -f "$1" || true; }

check_left_behind() {
  local left
  left=$(processes_of "$1")
  if ((left > 0)); then  # a process on its way out
    sleep 1
    left=$(processes_of "$1")
  fi
  orphans=$((orphans + left))
  pkill -KILL -f "$1" || true
}

mpirun -np $ranks "$EGGROLL" train "${options[@]}" --run "$scratch/undisturbed" >"$scratch/undisturbed.out" 2>&1
digest=$(digest_of "$scratch/undisturbed")
[[ -n $digest ]] || { cat "$scratch/undisturbed.out"; exit 1; }
echo "undisturbed: $generations generations on $ranks ranks, digest $digest"

SECONDS=0
while ((kills < KILLS && SECONDS < SECONDS_AT_MOST)); do
  runs=$((runs + 1))
  run=$scratch/run-$runs.
  wanted=$((1 + RANDOM % 3))
  arguments=("${options[@]}" --run "$run")
  for ((attempt = 1; ; ++attempt)); do
    if one_job "$run" $((attempt == 1 ? wanted : 0)) "${arguments[@]}"; then break; fi
    check_left_behind "$run"
    job_ends=$((job_ends + 1))
    echo "run $runs: the job ended: $(grep -a '^eggroll:' "$run.out" | tail -1)"
    if ((attempt == 3)); then break; fi
    if compgen -G "$run/checkpoint-*.h5" >/dev/null; then
      arguments=(--resume "$run" --threads 1)
    else
      begun_anew=$((begun_anew + 1))
    fi
  done
  check_left_behind "$run"
  found=$(digest_of "$run")
  records=$(wc -l <"$run/metrics.jsonl")
  if [[ $found != "$digest" || $records -ne $generations ]]; then
    digests_differ=$((digests_differ + 1))
    echo "run $runs: digest ${found:-none}, $records records"
    tail -5 "$run.out"
  fi
  partials=$((partials + $(find "$run" -name '*.partial' | wc -l)))
  rm -rf "$run" "$run.out"
done

sort -n "$scratch/latencies" >"$scratch/sorted"
count=$(wc -l <"$scratch/sorted")
median=$(sed -n "$(((count + 1) / 2))p" "$scratch/sorted")
worst=$(tail -1 "$scratch/sorted")
row() { printf '| %-44s | %9s |\n' "$1" "$2"; }
row "kills" "$kills"
row "of these while a checkpoint was written" "$while_writing"
row "of these after the last generation" "$after_the_end"
row "runs" "$runs"
row "jobs that ended and were started again" "$job_ends"
row "of these before any checkpoint, begun anew" "$begun_anew"
row "differing digests or records" "$digests_differ"
row "orphans" "$orphans"
row "partial files" "$partials"
row "hangs" "$hangs"
row "losses followed by a generation" "$regroupings"
row "median time to the next generation" "${median:--} ms"
row "worst time to the next generation" "${worst:--} ms"
row "seconds" "$SECONDS"
((digests_differ + orphans + partials + hangs == 0))
