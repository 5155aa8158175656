#!/usr/bin/env bash
# Installs everything eggroll-mpi builds and runs with, from the distribution's own packages.
# The CUDA Toolkit and NCCL, for the preset cuda, are not the distribution's: NVIDIA's packages or the site's modules bring them.
# Quiet, safe to run again: packages that are present are left alone, and then nothing needs the network.
#   deploy/setup.sh [--baselines]
#   --baselines            also the libraries that bench_baselines measures ours against; the program needs none of them
#   EGGROLL_SKIP_SETUP=1   do nothing (a site where the packages come from modules)
set -euo pipefail

baselines=0
for argument in "$@"; do
  case $argument in
    --baselines) baselines=1 ;;
    *) echo "setup: $argument: the only argument allowed is --baselines" >&2; exit 2 ;;
  esac
done

if [[ "${EGGROLL_SKIP_SETUP:-0}" == 1 ]]; then
  echo "setup: skipped (EGGROLL_SKIP_SETUP=1)"
  exit 0
fi

packages=(
  g++ cmake ninja-build                 # compiler and build
  libopenmpi-dev openmpi-bin            # MPI
  libhdf5-dev                           # checkpoints (the serial library: one rank writes)
  libboost-program-options-dev          # command line and config files
  nlohmann-json3-dev                    # metrics.jsonl, --json
  libfmt-dev                            # text
  libxxhash-dev                         # parameter digests and checkpoint checksums
  zlib1g-dev                            # the gzip figure beside a loss
  libbox2d-dev libmujoco-dev            # environments: landers, walkers
  libgif-dev libpng-dev                 # pictures of an episode
  librandom123-dev                      # reference Philox, compared with ours in the tests
  libgtest-dev                          # tests
  bible-kjv bible-kjv-text              # the corpus of the quick start
  python3-minimal python3-h5py          # tests read a checkpoint from outside; plots
  python3-matplotlib                    # deploy/plot.py
)
if ((baselines)); then
  packages+=(
    libdnnl-dev                         # oneDNN: products of int8
    libopenblas-dev                     # OpenBLAS: products of float
  )
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  echo "setup: this script knows Debian and Ubuntu; install the equivalents of: ${missing[*]}" >&2
  echo "setup: and run again with EGGROLL_SKIP_SETUP=1" >&2
  exit 1
fi
as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || { echo "setup: needs root or sudo to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi

log=$(mktemp -t eggroll-setup.XXXXXX)
trap 'rm -f "$log"' EXIT
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
if ! { "${as_root[@]}" apt-get update && \
       "${as_root[@]}" apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 25 "$log" >&2
  echo "setup: the package manager failed; its last words are above" >&2
  exit 1
fi
