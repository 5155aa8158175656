# shellcheck shell=bash
# Sourced by tests/faults/run.sh. A random rank is stopped (SIGSTOP), for two to three seconds or for good.
# shellcheck disable=SC2034,SC2154  # what tests/faults/common.sh and it share

pauses() {
  begin_fault "rank stopped for 2 to 3 s" "$((QUICK ? 2 : 12))" 400 --population 256 --checkpoint-every 100
  pause_ranks start_plain
  begin_fault "rank stopped for 2 to 3 s, --survive --silence-limit 5" "$((QUICK ? 2 : 12))" 400 \
    --population 256 --checkpoint-every 100
  pause_ranks start_surviving --silence-limit 5
  note "rank stopped for 2 to 3 s: its time is that from SIGCONT"
}

pause_ranks() {  # START-OF-THE-JOB...
  while is_wanted; do
    begin_run
    "$@"
    while is_wanted && await_instant && stop_rank; do
      pause "2.$((100 + RANDOM % 900))"
      kill -CONT "$victim" || break
      begin_latency
      times=$((times + 1))
      time_to_next_generation || break
    done
    await_end
    check_run
  done
  end_fault
}

stop_rank() {
  find_ranks
  victim=${process_of[RANDOM % ranks]:-}
  [[ -n $victim ]] && kill -STOP "$victim" 2>/dev/null
}

# The others go on without it; the supervisor ends it at last.
silences() {
  begin_fault "rank stopped for good, --survive --silence-limit 2" "$((QUICK ? 1 : 8))" 100 --population 256 --checkpoint-every 40
  expected_ranks=$((ranks - 1))
  while is_wanted; do
    begin_run
    start_supervised --survive --silence-limit 2
    if await_instant && stop_rank; then
      begin_latency
      times=$((times + 1))
      ! await has_fewer_ranks "$ranks" || end_latency
    fi
    await_end
    check_run ": silent for 2 s; 3 ranks go on"
  done
  end_fault
}

# Nobody goes on; the supervisor ends the job and starts it again.
hangs() {
  begin_fault "rank stopped for good, supervise --hang-after 4" "$((QUICK ? 2 : 10))" 400 --population 256 --checkpoint-every 10
  supervisor=(--hang-after 4)
  while is_wanted; do
    begin_run
    start_supervised
    while is_wanted && await_instant && mark_start && stop_rank; do
      begin_latency
      times=$((times + 1))
      time_to_next_start || break
    done
    await_end
    check_run "hung: nothing has come from it for"
  done
  supervisor=()
  end_fault
  note "$fault: the supervisor waits no less than ten times the longest generation, the start of the job counted as one"
}
