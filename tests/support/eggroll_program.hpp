// The program as a person starts it, and what it leaves in a run folder. EGGROLL_BINARY and
// EGGROLL_MPIRUN are set by the build.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/generated_text.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll::test {

// Commands for run_command; the process is the program or mpirun itself, no shell around it.
// environment: NAME=value words before the command.
std::string eggroll(const std::string& arguments, const std::string& environment = "");
std::string mpirun(int ranks, const std::string& arguments, const std::string& environment = "");

// Ends an mpirun command with one rank more that has arguments of its own.
std::string and_one_rank(const std::string& arguments);
std::string and_one_rank_of(const std::filesystem::path& program, const std::string& arguments);
std::filesystem::path binary();

// Runs it and expects exit code 0; what it printed.
std::string expect_success(const std::string& command, double timeout_s = 60);

// `eggroll inspect --json` of a checkpoint or run folder.
nlohmann::json inspect(const std::filesystem::path& path);
std::string digest_of(const std::filesystem::path& path);

// The records of metrics.jsonl, complete lines alone.
std::vector<nlohmann::json> metrics_of(const std::filesystem::path& run);
// One record for each generation 1 ... n, in order.
void expect_records(const std::filesystem::path& run, size_t generations);

// Waits until the run has completed this many generations; false when it does not within a minute.
bool reaches(const std::filesystem::path& run, size_t generations);
// The process that is this rank of the run in a folder, 0 without mpirun; -1 where there is none.
pid_t process_of(const std::filesystem::path& run, int rank);

// Waits until the process has a handler for this signal; false when it has none within ten seconds.
bool handles(pid_t process, int signal);

// Waits until the process is stopped (SIGSTOP); false when it is not within ten seconds.
bool is_suspended(pid_t process);

// All that is in a folder, sorted, with what is in its folders.
std::vector<std::string> listed(const std::filesystem::path& folder);

// The lines of an output that begin with this.
std::vector<std::string> lines_with(const std::string& output, const std::string& beginning);

}  // namespace eggroll::test
