#!/usr/bin/env bash
# Builds the fuzz targets and runs each for a bounded time, one process at a time, starting from the kept seeds.
#   tests/fuzz/run.sh [EXECUTIONS | SECONDSs] [TARGET...]
#     200000    executions of a text target, and a tenth of them of the checkpoint target (the default)
#     60s       seconds of each target
# What it finds beyond the seeds stays in build-fuzz/corpus, inputs that break something in build-fuzz/crashes.
# Exit code 1 if any target broke.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

budget=${1:-200000}
shift || true
if [[ ! "$budget" =~ ^[1-9][0-9]*s?$ ]]; then
  echo "fuzz: $budget is neither a number of executions (200000) nor of seconds (60s)" >&2
  exit 2
fi
missing=()
command -v clang++ >/dev/null || missing+=(clang)
if command -v clang++ >/dev/null && [[ ! -e "$(clang++ -print-file-name=libclang_rt.fuzzer-x86_64.a)" &&
    ! -e "$(clang++ -print-runtime-dir)/libclang_rt.fuzzer-x86_64.a" ]]; then
  missing+=("libclang-rt-$(clang++ -dumpversion | cut -d. -f1)-dev")
fi
if ((${#missing[@]})); then
  echo "fuzz: missing ${missing[*]}: apt-get install ${missing[*]}" >&2
  exit 2
fi

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz | tail -n 1
targets=("$@")
((${#targets[@]})) || targets=(config resume metrics corpus ternary checkpoint)
work=build-fuzz
mkdir -p "$work/crashes"
[[ -d /dev/shm && -w /dev/shm ]] && export TMPDIR=/dev/shm
export ASAN_OPTIONS="allocator_may_return_null=1:${ASAN_OPTIONS:-}"

broken=0
printf '%-12s %11s %9s %12s %8s %8s\n' target executions seconds executions/s edges crashes
for target in "${targets[@]}"; do
  mkdir -p "$work/corpus/$target"
  limits=(-timeout=20 -rss_limit_mb=2048 -max_len=4096)
  [[ "$target" == checkpoint ]] && limits=(-timeout=30 -rss_limit_mb=2048 -max_len=20000)
  if [[ "$budget" == *s ]]; then
    limits+=("-max_total_time=${budget%s}")
  elif [[ "$target" == checkpoint ]]; then
    limits+=("-runs=$(((budget + 9) / 10))")
  else
    limits+=("-runs=$budget")
  fi
  log="$work/$target.log"
  before=$(find "$work/crashes" -type f -not -name "*slow-unit*" | wc -l)
  begin=$SECONDS
  status=0
  nice -n 10 "$work/fuzz_$target" "${limits[@]}" -print_final_stats=1 -artifact_prefix="$work/crashes/$target-" \
    "$work/corpus/$target" "tests/fuzz/seeds/$target" >"$log" 2>&1 || status=$?
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)
  crashes=$(($(find "$work/crashes" -type f -not -name '*slow-unit*' | wc -l) - before))
  ((status == 0)) || broken=1
  seconds=$((SECONDS - begin))
  printf '%-12s %11s %9s %12s %8s %8s\n' "$target" "${executions:-?}" "$seconds" \
    "$((${executions:-0} / (seconds > 0 ? seconds : 1)))" "${edges:-?}" "$crashes"
  ((status == 0)) || echo "  see $log"
done
exit "$broken"
