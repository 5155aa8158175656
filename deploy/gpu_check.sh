#!/usr/bin/env bash
# Is the CUDA backend right on this machine's GPU, and how fast is it? Needs nvcc, CMake, ninja and a GPU; no MPI, HDF5 or Boost.
#   deploy/gpu_check.sh [--quick] [--no-sanitizer] [--no-benchmark] [--json FILE]
# Builds the kernels alone (build-gpu/) for this GPU, holds them to the CPU's and to the oracle with random inputs, once more in
# small under compute-sanitizer where that is installed, and prints the figures of docs/performance.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

quick=() benchmark=(--benchmark) sanitizer=1 json=()
while (($#)); do
  case $1 in
    --quick) quick=(--quick) ;;
    --no-benchmark) benchmark=() ;;
    --no-sanitizer) sanitizer=0 ;;
    --json) json=(--json "${2:?gpu_check: --json needs a file}"); shift ;;
    *) sed -n 2,5p "$0" | cut -c3- >&2; exit 2 ;;
  esac
  shift
done

for program in cmake ninja; do
  command -v "$program" >/dev/null || { echo "gpu_check: $program is not installed" >&2; exit 2; }
done
if ! capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1) || [[ -z $capability ]]; then
  echo "gpu_check: no NVIDIA GPU here (nvidia-smi finds none)" >&2
  exit 2
fi
architecture=${capability/./}
[[ $architecture == 90 ]] && architecture=90a # the instructions of Hopper alone

log=$(mktemp -t eggroll-gpu-check.XXXXXX)
trap 'rm -f "$log"' EXIT
echo "gpu_check: building for compute capability $capability"
if ! { cmake -S . -B build-gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DEGGROLL_KERNELS_ONLY=ON -DEGGROLL_CUDA=ON \
         -DCMAKE_CUDA_ARCHITECTURES="$architecture-real" && cmake --build build-gpu; } >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  echo "gpu_check: the build failed; its last words are above" >&2
  exit 2
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | head -n 1

build-gpu/gpu_check "${quick[@]}" "${benchmark[@]}" "${json[@]}"

((sanitizer)) || exit 0
if ! command -v compute-sanitizer >/dev/null; then
  echo "compute-sanitizer is not installed: no search for races and bad accesses"
  exit 0
fi
for tool in memcheck racecheck initcheck synccheck; do
  if timeout 150 compute-sanitizer --tool "$tool" --error-exitcode 3 build-gpu/gpu_check --quick >"$log" 2>&1; then
    echo "compute-sanitizer $tool: nothing found"
  else
    code=$?
    tail -n 20 "$log"
    if ((code == 124)); then
      echo "compute-sanitizer $tool: not through after 150 s"
    else
      echo "compute-sanitizer $tool: exit code $code"
      exit 1
    fi
  fi
done
