#!/usr/bin/env bash
# Set-up, build, all tests. deploy/test.sh [OPTIONS OF ctest], e.g. -L unit, -R resumes
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/setup.sh"
"$here/build.sh" cpu
cd "$here/.."
start=$SECONDS
ctest --preset cpu --parallel "$(nproc)" "$@"
echo "tests: $((SECONDS - start)) s"
