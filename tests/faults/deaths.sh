# shellcheck shell=bash
# Sourced by tests/faults/run.sh. The whole job dies under `eggroll supervise`: mpirun, rank 0 or any rank is killed.
# shellcheck disable=SC2034,SC2154  # what tests/faults/common.sh and it share

deaths() {
  local before made
  begin_fault "job killed under supervise, a checkpoint each 10 generations" "$((QUICK ? 6 : 36))" 400 \
    --population 256 --checkpoint-every 10
  while is_wanted; do
    begin_run
    start_supervised
    for ((made = 0; made < 12; ++made)); do
      if ! { is_wanted && await_instant && kill_job && time_to_next_start; }; then break; fi
      orphans=$((orphans + $(processes_of "$run" | grep -cxF "$before" || true)))
    done
    await_end
    check_run
  done
  end_fault
  note "$fault: $runs runs; mpirun, rank 0 or any rank killed; the time is that from the kill to the first record of the next" \
    "start, new or made again"
}

kill_job() {
  local victim
  find_ranks
  case $((RANDOM % 3)) in
    0) victim=$(pgrep -f "^mpirun .*$run" || true) ;;
    1) victim=${process_of[0]:-} ;;
    2) victim=${process_of[RANDOM % ranks]:-} ;;
  esac
  before=$(processes_of "$run" | grep -vx "$job" || true)
  mark_start
  [[ -n $victim ]] && kill -KILL "$victim" 2>/dev/null || return 1
  begin_latency
  times=$((times + 1))
}
