#!/usr/bin/env bash
# Is the CUDA twin right on this machine's GPU, and how fast is it? Needs nvcc, CMake, ninja and a GPU; no MPI, HDF5 or Boost.
#   deploy/gpu_check.sh [--quick] [--no-sanitizer] [--no-benchmark] [--json FILE] [--log FILE]
# Builds the kernels alone (build-gpu/) for this GPU, holds them to the CPU's and to the oracle with random inputs, prints the
# figures of docs/performance.md (--json: to a file, too), and holds them once more, in small, under compute-sanitizer where that
# is installed. It ends within ten minutes and says what it had no time for. --log: all it prints, to a file, too.
set -euo pipefail
limit_s=585
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

place() { [[ $1 == /* ]] && echo "$1" || echo "$here/$1"; }
quick=() benchmark=(--benchmark) sanitizer=1 json=() record=
while (($#)); do
  case $1 in
    --quick) quick=(--quick) ;;
    --no-benchmark) benchmark=() ;;
    --no-sanitizer) sanitizer=0 ;;
    --json) json=(--json "$(place "${2:?gpu_check: --json needs a file}")"); shift ;;
    --log) record=$(place "${2:?gpu_check: --log needs a file}"); shift ;;
    *) sed -n 2,6p "$0" | cut -c3- >&2; exit 2 ;;
  esac
  shift
done
if [[ -n $record ]]; then
  : >"$record" || exit 2
  exec > >(tee -a "$record") 2>&1
  trap 'exec >&- 2>&-; wait' EXIT # until tee has written all
fi

PATH+=:${CUDA_HOME:-/usr/local/cuda}/bin
for program in cmake ninja; do
  command -v "$program" >/dev/null || { echo "gpu_check: $program is not installed" >&2; exit 2; }
done
if ! capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sed -n 1p) || [[ -z $capability ]]; then
  echo "gpu_check: no NVIDIA GPU here (nvidia-smi finds none)" >&2
  exit 2
fi
architecture=${capability/./}
[[ $architecture == 90 ]] && architecture=90a # the instructions of Hopper alone

log=$(mktemp -t eggroll-gpu-check.XXXXXX)
trap 'rm -f "$log"; exec >&- 2>&-; wait' EXIT
left_s() { echo $((limit_s > SECONDS ? limit_s - SECONDS : 1)); }

echo "gpu_check: building for compute capability $capability"
if ! { timeout "$(left_s)" cmake -S . -B build-gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DEGGROLL_KERNELS_ONLY=ON \
         -DEGGROLL_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$architecture-real" &&
       timeout "$(left_s)" cmake --build build-gpu; } >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  echo "gpu_check: the build failed; its last words are above" >&2
  exit 2
fi
echo "gpu_check: built after $SECONDS s"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | sed -n 1p

# A failed check is looked into below, too: what compute-sanitizer says may be why.
failed=0
timeout -k 5 "$(left_s)" build-gpu/gpu_check "${quick[@]}" "${benchmark[@]}" "${json[@]}" || failed=$?
((failed != 124 && failed != 137)) || echo "gpu_check: not through after $SECONDS s"

((sanitizer)) || exit $((failed != 0))
if ! command -v compute-sanitizer >/dev/null; then
  echo "compute-sanitizer is not installed: no search for races and bad accesses"
  exit $((failed != 0))
fi
# sanitize TOOL OPTION-OF-GPU_CHECK
sanitize() {
  local tool=$1 code seconds
  seconds=$(($(left_s) < 150 ? $(left_s) : 150))
  if ((seconds < 20)); then
    echo "compute-sanitizer $tool, $2: no time left for it"
  elif timeout -k 5 "$seconds" compute-sanitizer --tool "$tool" --error-exitcode 3 build-gpu/gpu_check "$2" >"$log" 2>&1; then
    echo "compute-sanitizer $tool, $2: nothing found"
  else
    code=$?
    tail -n 20 "$log"
    if ((code == 124 || code == 137)); then
      echo "compute-sanitizer $tool, $2: not through after $seconds s"
    elif grep -q 'Device not supported' "$log"; then
      echo "compute-sanitizer $tool, $2: it cannot run on this machine"
    else
      echo "compute-sanitizer $tool, $2: exit code $code"
      failed=1
    fi
  fi
}
for tool in memcheck racecheck initcheck synccheck; do sanitize "$tool" --quick; done
sanitize racecheck --large-blocks
echo "gpu_check: $( ((failed)) && echo failed || echo passed), $SECONDS s"
exit $((failed != 0))
