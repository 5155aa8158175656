# shellcheck shell=bash
# Sourced by tests/faults/run.sh. Disks that are full for a while, and checkpoints that are damaged.
# shellcheck disable=SC2034,SC2154  # what tests/faults/common.sh and it share

disks() {
  local disk failure='No space left on device (failed once)' success='is written, after checkpoints had failed'
  begin_fault "disk full, then room again" "$((QUICK ? 2 : 12))" 400 --population 4096 --checkpoint-every 10  # ten milliseconds each, or more
  open_disk || { not_run "$fault" "a private mount namespace needs root"; return 0; }
  while is_wanted; do
    begin_run_in "$disk"
    start_plain
    while is_wanted && await_instant && ((records < generations - 100)) && fill_disk; do :; done
    await_end
    check_run
  done
  end_fault
  note "$fault: full until at least one checkpoint has failed; the time is that from the room to the next record"
}

# A small one in a mount namespace of its own, which ends with the process that holds it.
open_disk() {
  mkdir "$scratch/disk"
  # shellcheck disable=SC2016  # expanded by the inner shell
  unshare --mount --propagation private bash -c \
    'mount -t tmpfs -o size=8m tmpfs "$1" && touch "$1/is-there" && exec -a "$1/holder" sleep infinity' - "$scratch/disk" \
    >/dev/null 2>&1 &
  local holder=$!
  disk=/proc/$holder/root$scratch/disk
  until [[ -e $disk/is-there ]]; do
    kill -0 "$holder" 2>/dev/null || return 1
    pause 0.01
  done
}

fill_disk() {
  local failed written
  failed=$(count_lines "$failure") written=$(count_lines "$success")
  head -c 64M /dev/zero >"$disk/ballast" 2>/dev/null || true
  await has_lines $((failed + 1)) "$failure" || return 1
  pause "0.$((100 + RANDOM % 500))"
  rm "$disk/ballast"
  begin_latency
  times=$((times + 1))
  time_to_next_generation && await has_lines $((written + 1)) "$success"
}

count_lines() { grep -cF -- "$1" "$log" || true; }
has_lines() { (($(count_lines "$2") >= $1)); }

damages() {
  local passed_over=0 goes_on_from
  local -a checkpoints=()
  begin_fault "newest checkpoint damaged, --resume" "$((QUICK ? 4 : 24))" 100 --population 256 --checkpoint-every 10
  while is_wanted; do
    begin_run
    expected_ranks=$((1 + RANDOM % ranks))
    start_job "$EGGROLL" train "${options[@]}" --run "$run"
    await has_records $((21 + RANDOM % 60)) || true
    kill -TERM "$job" 2>/dev/null || true
    await_end
    mapfile -t checkpoints < <(compgen -G "$run/checkpoint-*.h5" | sort -r)
    damage "${checkpoints[0]}"
    times=$((times + 1))
    mark_start
    begin_latency
    start_job mpirun -np "$expected_ranks" "$EGGROLL" train --resume "$run" --threads 1
    time_to_next_start || true
    await_end
    goes_on_from=${checkpoints[0]}
    if grep -qF "passing over ${checkpoints[0]}: " "$log"; then
      passed_over=$((passed_over + 1)) goes_on_from=${checkpoints[1]}
    fi
    goes_on_from=${goes_on_from##*-}
    check_run 'stopped by a signal' "resumed after generation $((10#${goes_on_from%.h5}))"
  done
  end_fault
  note "$fault: cut, or one to eight bytes changed, at random places; $passed_over times the older one was gone on from, else" \
    "the bytes were none that the format uses; the time is that from the start of the job"
}

damage() {  # FILE
  local size at byte
  size=$(stat -c %s "$1")
  if ((RANDOM % 3 == 0)); then
    truncate -s $(((RANDOM << 15 | RANDOM) % size)) "$1"
    return
  fi
  for ((changes = RANDOM % 8; changes >= 0; --changes)); do
    at=$(((RANDOM << 15 | RANDOM) % size))
    byte=$(od -An -tu1 -j "$at" -N 1 "$1")
    printf '%b' "\\x$(printf %x $((byte ^ (1 + RANDOM % 255))))" | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
  done
}
