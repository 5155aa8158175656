# shellcheck shell=bash
# Sourced by tests/faults/run.sh and tests/hosts/run.sh: runs that are disturbed on purpose, and one table of what became of
# them. EGGROLL is the program. A fault goes from begin_fault to end_fault, each of its runs from begin_run to check_run.
# shellcheck disable=SC2034  # what a fault sets here is used by the scripts
readonly ranks=4 run_limit_s=150 fault_limit_s=420
scratch=''
declare -A digest_after=()  # of undisturbed runs, by their options
failures=0 rows=() notes=() process_of=() poll_s=0.005 supervisor=()

# Signals end the script in a pause: bash does not outlive a trap that exits out of `read -t`.
set_traps() {
  interrupted=''
  trap leave EXIT
  trap 'interrupted=130' INT
  trap 'interrupted=143' TERM
}
pause() {  # sleeps without a process
  read -r -t "$1" -u 9 || true
  [[ -z $interrupted ]] || exit "$interrupted"
}

open_scratch() {  # NAME
  scratch=$(mktemp -d "${TMPDIR:-/tmp}/eggroll-$1-XXXXXX")
  export OMPI_MCA_orte_tmpdir_base=$scratch  # a killed mpirun leaves files there
  for ((line = 0; line < 700; ++line)); do
    echo "line $line of a text, $((line * 7919 % 32768)) words, $((line % 9))"
  done >"$scratch/text"
  mkfifo "$scratch/clock"
  exec 9<>"$scratch/clock"
}

close_scratch() {
  [[ -n $scratch ]] || return 0
  disown -a
  end_processes_of "$scratch/"
  rm -rf "$scratch"
}

now_ms() { now=$((${EPOCHREALTIME/./} / 1000)); }
digest_of() { "$EGGROLL" inspect --checkpoint "$1" 2>/dev/null | awk '$1 == "parameters_digest" { print $2 }' || true; }

# ---- faults

begin_fault() {  # NAME WANTED GENERATIONS OPTIONS-OF-TRAIN...
  fault=$1 wanted=$2 generations=$3
  options=(--data "$scratch/text" --layers 1 --width 64 --tokens-per-update 8 --threads 1 --validate-every 0
    --generations "${@:3}")
  runs=0 times=0 differing=0 orphans=0 partials=0 hangs=0 latencies=() fault_begun=$SECONDS expected_ranks=$ranks
  RANDOM=${SEED:-1}
  echo "$fault ..." >&2
  local key=${*:3} plain=$scratch/undisturbed
  if [[ -z ${digest_after[$key]:-} ]]; then
    "$EGGROLL" train "${options[@]}" --run "$plain" >"$plain.log" 2>&1 || true
    digest_after[$key]=$(digest_of "$plain")
    [[ -n ${digest_after[$key]} ]] || { cat "$plain.log"; exit 1; }
    rm -rf "$plain"
  fi
  digest=${digest_after[$key]}
}

# Whether the fault is to be done again.
is_wanted() { ((times < wanted && SECONDS - fault_begun < fault_limit_s)); }

end_fault() {
  local -a sorted=()
  local median='-' worst='-'
  if ((${#latencies[@]} > 0)); then
    mapfile -t sorted < <(printf '%d\n' "${latencies[@]}" | sort -n)
    median="${sorted[(${#sorted[@]} - 1) / 2]} ms" worst="${sorted[-1]} ms"
  fi
  row "$fault" "$times" "$differing" "$orphans" "$partials" "$hangs" "$median" "$worst"
  failures=$((failures + differing + orphans + partials + hangs))
  ((times >= wanted)) || { echo "$fault: done $times times, not $wanted"; failures=$((failures + 1)); }
}

row() { rows+=("$(printf '| %-60s | %5s | %9s | %7s | %13s | %5s | %8s | %8s |' "$@")"); }
note() { notes+=("$*"); }
not_run() {
  rows+=("$(printf '| %-60s | not run: %s |' "$1" "$2")")
  note "NOT RUN: $1: $2"
}

print_table() {
  printf '| %-60s | %5s | %9s | %7s | %13s | %5s | %8s | %8s |\n' fault times differing orphans 'partial files' hangs median worst
  printf '|---|--:|--:|--:|--:|--:|--:|--:|\n'
  printf '%s\n' "${rows[@]}"
}

# ---- the runs of a fault

begin_run() { begin_run_in "$scratch"; }
begin_run_in() {  # FOLDER
  runs=$((runs + 1))
  printf -v run '%s/run-%03d' "$1" "$runs"
  printf -v log '%s/log-%03d' "$scratch" "$runs"
  records=0 last_ranks=0
  : >"$log"
}

start_plain() { start_job mpirun -np "$ranks" "$EGGROLL" train "${options[@]}" --run "$run" "$@"; }
start_surviving() {
  start_job env OMPI_MCA_orte_enable_recovery=1 OMPI_MCA_orte_abort_on_non_zero_status=0 \
    mpirun -np "$ranks" "$EGGROLL" train "${options[@]}" --run "$run" --survive "$@"
}
start_supervised() {
  start_job "$EGGROLL" supervise "${supervisor[@]}" -- \
    mpirun -np "$ranks" "$EGGROLL" train "${options[@]}" --run "$run" "$@"
}
start_job() {  # COMMAND...
  "$@" >>"$log" 2>&1 &
  job=$! job_begun=$SECONDS exit_code=0
}

# Waits until the condition holds: 1 where the job has ended before, or hangs and is ended.
await() {  # CONDITION...
  until "$@"; do
    kill -0 "$job" 2>/dev/null || { "$@"; return; }
    if ((SECONDS - job_begun > run_limit_s)); then
      hangs=$((hangs + 1))
      echo "$fault, run $runs: hangs after $records records: $(tail -n 1 "$log")"
      pgrep -af "$run" | sed 's/^/  left: /' || true
      end_processes_of "$run"
      return 1
    fi
    pause "$poll_s"
  done
}

# Some time in the next generations.
await_instant() {
  local part
  printf -v part '0.%03d' $((RANDOM % 30))
  look_at_records
  await has_records $((records + 1 + RANDOM % 20)) && pause "$part"
}

await_end() {
  await false || true
  wait "$job" || exit_code=$?
}

# The records so far: how many, and on how many ranks the last one was made.
look_at_records() {
  local -a lines=()
  [[ ! -e $run/metrics.jsonl ]] || mapfile -t lines <"$run/metrics.jsonl" 2>/dev/null || true
  records=${#lines[@]}
  [[ $records -eq 0 || ! ${lines[-1]} =~ \"ranks\":([0-9]+) ]] || last_ranks=${BASH_REMATCH[1]}
}
has_records() { look_at_records; ((records >= $1)); }
has_fewer_ranks() { look_at_records; ((last_ranks < $1)); }
is_writing() { compgen -G "$run/*.h5.partial" >/dev/null; }

# A new start of the run renames a new metrics.jsonl into its place; `kept` records are in it at first.
mark_start() { ln -f "$run/metrics.jsonl" "$scratch/metrics-before"; }
has_new_start() {
  [[ -e $run/metrics.jsonl && ! $run/metrics.jsonl -ef $scratch/metrics-before ]] || return 1
  look_at_records
  kept=$records
}

begin_latency() { now_ms; since=$now; }
end_latency() { now_ms; latencies+=($((now - since))); }
# From here, or from begin_latency, to the next generation of this start, or of the next one.
time_to_next_generation() { look_at_records; await has_records $((records + 1)) && end_latency; }
time_to_next_start() { await has_new_start && await has_records $((kept + 1)) && end_latency; }

processes_of() { pgrep -f "$1" || true; }

end_processes_of() {
  local -a processes=()
  for _ in {1..40}; do
    mapfile -t processes < <(processes_of "$1")
    ((${#processes[@]} > 0)) || return 0
    kill -KILL "${processes[@]}" 2>/dev/null || true
    pause 0.05
  done
}

find_ranks() {  # process_of[rank]
  local pid word
  process_of=()
  for pid in $(processes_of "$run"); do
    while IFS= read -r -d '' word; do
      [[ $word != OMPI_COMM_WORLD_RANK=* ]] || process_of[${word#*=}]=$pid
    done 2>/dev/null <"/proc/$pid/environ" || true
  done
}

check_orphans() {
  local -a left=()
  mapfile -t left < <(processes_of "$run")
  if ((${#left[@]} > 0)); then  # a process on its way out
    pause 1
    mapfile -t left < <(processes_of "$run")
  fi
  orphans=$((orphans + ${#left[@]}))
  end_processes_of "$run"
}

# What has become of the run: its parameters, its records, what it says, and what is left behind.
check_run() {  # WORDS-IN-ITS-LOG...
  local found words
  local -a wrong=()
  check_orphans
  [[ ! -d $run ]] || partials=$((partials + $(find "$run" -name '*.partial' | wc -l)))
  look_at_records
  found=$(digest_of "$run")
  [[ $found == "$digest" ]] || wrong+=("digest ${found:-none} instead of $digest;")
  ((records == generations)) || wrong+=("$records records;")
  ((exit_code == 0)) || wrong+=("exit code $exit_code;")
  [[ -z $expected_ranks || $last_ranks -eq $expected_ranks ]] || wrong+=("$last_ranks ranks at the end;")
  for words in "$@"; do
    grep -qF -- "$words" "$log" || wrong+=("it does not say: $words;")
  done
  if ((${#wrong[@]} > 0)); then
    differing=$((differing + 1))
    echo "$fault, run $runs: ${wrong[*]}"
    tail -n 8 "$log" | sed 's/^/    /'
  fi
  rm -rf "$run" "$log"
}
