# shellcheck shell=bash
# Sourced by tests/faults/run.sh. One to three ranks of a `--survive` run are killed at random instants: between and within
# generations, at the same time, and while a checkpoint is being written. A job that ends is counted and started again.
# shellcheck disable=SC2034,SC2154  # what tests/faults/common.sh and it share

kills() {
  local while_writing=0 job_ends=0
  local -a ranks_after=() killed_at=()
  begin_fault "rank killed, --survive" "$((QUICK ? 20 : 200))" 50 --population 128 --checkpoint-every 20
  expected_ranks=
  while is_wanted; do
    begin_run
    start_surviving
    kill_ranks $((1 + RANDOM % 3))
    await measure_kills || true
    await_end
    for _ in 1 2; do
      ! grep -q 'parameters digest' "$log" || break
      job_ends=$((job_ends + 1))
      echo "$fault, run $runs: the job ended: $(grep -a '^eggroll:' "$log" | tail -n 1)"
      check_orphans
      start_surviving --auto-resume
      await_end
    done
    exit_code=0  # mpirun's says nothing of ranks that may be lost
    ranks_after=()
    check_run 'parameters digest'
  done
  end_fault
  note "$fault: $runs runs, $while_writing kills while a checkpoint was written, ${#latencies[@]} followed by a generation, the" \
    "others by the run's end; $job_ends jobs ended and were started again"
}

kill_ranks() {  # HOW-MANY
  local victims=$1 made instant target extra_ms reached_ms victim left=$ranks
  local -a order=()
  mapfile -t order < <(for ((rank = 0; rank < ranks; ++rank)); do echo "$RANDOM $rank"; done | sort -n | cut -d' ' -f2)
  await has_records 1 || return 0
  find_ranks
  for ((made = 0; made < victims; ++made)); do
    choose_instant
    await is_instant || break
    ! is_writing || while_writing=$((while_writing + 1))
    victim=${process_of[${order[made]}]:-}
    if [[ -n $victim ]] && kill -KILL "$victim" 2>/dev/null; then
      begin_latency
      times=$((times + 1)) left=$((left - 1))
      ranks_after[made]=$left killed_at[made]=$since
    fi
  done
  poll_s=0.005
}

choose_instant() {
  instant=generation poll_s=0.005
  if ((made > 0 && RANDOM % 3 == 0)); then
    instant=together
  elif ((RANDOM % 3 == 0)); then
    instant=checkpoint poll_s=0.001
  fi
  target=$((records + 1 + RANDOM % (generations / (victims + 1)))) extra_ms=$((RANDOM % 60)) reached_ms=
}

is_instant() {
  measure_kills || true
  case $instant in
    together) true ;;
    checkpoint) is_writing ;;
    generation)
      now_ms
      ((records < target)) || reached_ms=${reached_ms:-$now}
      [[ -n $reached_ms ]] && ((now - reached_ms >= extra_ms))
      ;;
  esac
}

# A kill is followed by a generation when one is made by no more ranks than it has left.
measure_kills() {
  local made
  look_at_records
  for made in "${!ranks_after[@]}"; do
    ((last_ranks <= ranks_after[made])) || continue
    since=${killed_at[made]}
    end_latency
    unset "ranks_after[$made]"
  done
  return 1  # so that waiting for it lasts until the job's end
}
