#!/usr/bin/env bash
# Collects a built program with the libraries and the launcher it needs, for a machine that has neither MPI nor HDF5 nor Boost.
#   deploy/bundle.sh FOLDER [PROGRAM]     PROGRAM: default build-cuda/eggroll
#   FOLDER/eggroll train ...              there; and FOLDER/mpirun -np 2 FOLDER/eggroll train ...
# Not in it: the C and C++ libraries, which must be as new there as here, the driver, and NCCL.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if (($# < 1 || $# > 2)) || [[ $1 == -* ]]; then
  sed -n 2,5p "$0" | cut -c3- >&2
  exit 2
fi
folder=$1
program=${2:-build-cuda/eggroll}
[[ -x $program ]] || { echo "bundle: $program is not there; build it first (deploy/build.sh cuda)" >&2; exit 2; }
[[ ! -e $folder ]] || { echo "bundle: $folder exists already" >&2; exit 2; }

launcher=$(command -v orterun) || { echo "bundle: this needs Open MPI 4, whose mpirun is orterun" >&2; exit 2; }
plugins=$(ompi_info --path pkglibdir --parsable | cut -d: -f3)  # .../openmpi/lib/openmpi3
data=$(ompi_info --path pkgdatadir --parsable | cut -d: -f3)
settings=$(ompi_info --path sysconfdir --parsable | cut -d: -f3)
prefix=$(ompi_info --path prefix --parsable | cut -d: -f3)

# What Open MPI looks for lies below OPAL_PREFIX as it lies below the prefix here.
place() { mkdir -p "$folder/open-mpi/$(dirname "${1#"$prefix"/}")" && cp -rL "$1" "$folder/open-mpi/${1#"$prefix"/}"; }
mkdir -p "$folder/lib" "$folder/open-mpi/bin"
install -s "$program" "$folder/lib/eggroll-program" 2>/dev/null || install "$program" "$folder/lib/eggroll-program"
place "$plugins"
place "$data"
cp -L "$launcher" "$(command -v orted)" "$folder/open-mpi/bin/"
mkdir -p "$folder/open-mpi/etc" && cp -rL "$settings" "$folder/open-mpi/etc/openmpi"
# Plug-ins for networks and launchers that the machine is not said to have.
find "$folder/open-mpi" -name '*.so' | grep -E '_(ucx|ofi|verbs|openib|usnic|psm2?|portals4|ugni|cuda|lustre|pvfs2|hcoll|fca|mxm)\.so$' | xargs -r rm

# Libraries of everything in it, but not those that any system or CUDA brings.
{ ldd "$folder/lib/eggroll-program" "$folder"/open-mpi/bin/*; find "$folder/open-mpi" -name '*.so' -exec ldd {} +; } 2>/dev/null |
  awk '$2 == "=>" && $3 ~ "^/" {print $3}' | sort -u |
  grep -vE '/(ld-linux[^/]*|lib(c|m|dl|rt|pthread|resolv|util|stdc\+\+|gcc_s|nccl|cuda|nvidia[^.]*))(\.so|-)' |
  xargs -r cp -Lt "$folder/lib"

cat >"$folder/environment" <<'START'
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[1]}")")" && pwd)
export OPAL_PREFIX=$here/open-mpi
# NCCL is part of CUDA's installation, or of a Python package.
for nccl in /usr/local/cuda/lib64 /usr/local/cuda/lib /usr/lib/x86_64-linux-gnu \
  $(python3 -c 'import nvidia.nccl as n; print(list(n.__path__)[0] + "/lib")' 2>/dev/null); do
  [[ -e $nccl/libnccl.so.2 ]] && { LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$nccl; break; }
done
export LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_plm=isolated OMPI_MCA_pml=ob1
export OMPI_MCA_btl=self,vader,tcp OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_rmaps_base_oversubscribe=1
export PMIX_MCA_pcompress_base_silence_warning=1 # its compression is a plug-in that nobody here needs
START
for name in eggroll mpirun; do
  target=$([[ $name == eggroll ]] && echo lib/eggroll-program || echo open-mpi/bin/orterun)
  printf '#!/usr/bin/env bash\nsource "$(dirname "$(readlink -f "$0")")/environment"\nexec "$here/%s" "$@"\n' "$target" >"$folder/$name"
  chmod +x "$folder/$name"
done
echo "bundle: $folder, $(du -sh "$folder" | cut -f1)"
