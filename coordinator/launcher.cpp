#include "coordinator/launcher.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <string>

#include "common/check.hpp"

namespace eggroll {
namespace {

long number_in(const char* name) {
  const char* value = std::getenv(name);
  return value ? std::atol(value) : 0;
}

[[noreturn]] void refuse_srun() {
  throw ConfigError(fmt::format(
      "srun started {} processes that know nothing of each other (SLURM_STEP_NUM_TASKS); start "
      "them with srun --mpi=pmix, or with mpirun",
      number_in("SLURM_STEP_NUM_TASKS")));
}

}  // namespace

void refuse_srun_without_pmix() {
  if (!std::getenv("SLURM_STEP_ID") || number_in("SLURM_STEP_NUM_TASKS") < 2) return;
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_NAMESPACE", "PMI_SIZE", "PMI_FD"})
    if (std::getenv(name)) return;
  refuse_srun();
}

void refuse_unrelated_processes(int ranks) {
  // Open MPI's own mpirun says how many ranks there are, and is right.
  if (ranks > 1 || std::getenv("OMPI_COMM_WORLD_SIZE")) return;
  if (std::getenv("SLURM_STEP_ID") && number_in("SLURM_STEP_NUM_TASKS") > 1) refuse_srun();
  for (const char* name : {"PMI_SIZE", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_SIZE"})
    if (number_in(name) > 1)
      throw ConfigError(
          fmt::format("the launcher started {} processes that know nothing of each other ({}); it "
                      "belongs to another MPI than the one this program is built with",
                      number_in(name), name));
}

bool is_first_process() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "PMI_RANK"})
    if (const char* rank = std::getenv(name)) return std::string(rank) == "0";
  return true;
}

}  // namespace eggroll
