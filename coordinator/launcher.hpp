// What the environment says of the launcher that started this process.
#pragma once

namespace eggroll {

// A launcher that started several processes for a job, of which each believes to be alone: they would
// train the same run side by side. Throws ConfigError, said by the first of them. Before MPI is up it
// knows of srun without a process manager alone, where Open MPI would abort; afterwards `ranks` says
// what MPI made of it.
void refuse_srun_without_pmix();
void refuse_unrelated_processes(int ranks);

// Whether this process is the first of those that the launcher started, MPI or not.
bool is_first_process();

}  // namespace eggroll
