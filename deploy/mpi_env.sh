# Sourced: settings with which Open MPI's mpirun serves us on a workstation and inside a container. A value that is already set stays.
#   more ranks than cores and threads that may use all cores of the node
export OMPI_MCA_rmaps_base_oversubscribe="${OMPI_MCA_rmaps_base_oversubscribe:-1}"
export OMPI_MCA_hwloc_base_binding_policy="${OMPI_MCA_hwloc_base_binding_policy:-none}"
#   the same to the mpirun of Open MPI 5, which is PRRTE's
export PRTE_MCA_rmaps_default_mapping_policy="${PRTE_MCA_rmaps_default_mapping_policy:-:oversubscribe}"
export PRTE_MCA_hwloc_default_binding_policy="${PRTE_MCA_hwloc_default_binding_policy:-none}"
#   after Ctrl-C: seconds to finish the generation and write a checkpoint, twice (mpirun waits them out; its default is 1)
export OMPI_MCA_odls_base_sigkill_timeout="${OMPI_MCA_odls_base_sigkill_timeout:-2}"
#   where ranks may not read each other's memory (seccomp in a container) Open MPI 4.1 tries it all the same, and complains of every
#   message before it sends it another way
if [[ -z "${OMPI_MCA_btl_vader_single_copy_mechanism:-}" ]] && ! "$(dirname "${BASH_SOURCE[0]}")/single_copy.sh"; then
  export OMPI_MCA_btl_vader_single_copy_mechanism=none
fi
#   root, as in a container
if [[ $EUID -eq 0 ]]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
