#include "tests/support/eggroll_program.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <thread>

namespace eggroll::test {

namespace fs = std::filesystem;

std::string eggroll(const std::string& arguments, const std::string& environment) {
  return environment + " exec " + quoted(EGGROLL_BINARY) + " " + arguments;
}

std::string mpirun(int ranks, const std::string& arguments, const std::string& environment) {
  return "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
         " OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none " +
         environment + " exec " + quoted(EGGROLL_MPIRUN) + " -np " + std::to_string(ranks) + " " +
         quoted(EGGROLL_BINARY) + " " + arguments;
}

std::string and_one_rank(const std::string& arguments) {
  return and_one_rank_of(binary(), arguments);
}

std::string and_one_rank_of(const fs::path& program, const std::string& arguments) {
  return " : -np 1 " + quoted(program.string()) + " " + arguments;
}

fs::path binary() { return EGGROLL_BINARY; }

std::string expect_success(const std::string& command, double timeout_s) {
  const CommandResult result = run_command(command, timeout_s);
  EXPECT_EQ(result.exit_code, 0) << command << '\n' << result.output;
  return result.output;
}

nlohmann::json inspect(const fs::path& path) {
  const std::string output =
      expect_success(eggroll("inspect --json --checkpoint " + quoted(path.string())));
  nlohmann::json json = nlohmann::json::parse(output, nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(json.is_object()) << output;
  return json;
}

std::string digest_of(const fs::path& path) {
  const nlohmann::json json = inspect(path);
  return json.is_object() ? json.value("parameters_digest", "none") : "none";
}

std::vector<nlohmann::json> metrics_of(const fs::path& run) {
  std::vector<nlohmann::json> records;
  std::istringstream lines(read_text(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line) && !lines.eof();)
    records.push_back(nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false));
  return records;
}

void expect_records(const fs::path& run, size_t generations) {
  const std::vector<nlohmann::json> records = metrics_of(run);
  EXPECT_EQ(records.size(), generations);
  for (size_t i = 0; i < records.size(); ++i) {
    ASSERT_TRUE(records[i].is_object());
    ASSERT_EQ(records[i].value("generation", size_t{0}), i + 1);
  }
}

bool reaches(const fs::path& run, size_t generations) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (metrics_of(run).size() < generations) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

pid_t process_of(const fs::path& run, int rank) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (fs::read_symlink(entry.path() / "exe", error) != fs::path(EGGROLL_BINARY)) continue;
    // Words end with a zero byte there.
    const auto has_word = [](const std::string& words, std::string word) {
      word += '\0';
      return (std::string(1, '\0') + words).find('\0' + word) != std::string::npos;
    };
    if (!has_word(read_text(entry.path() / "cmdline"), run.string())) continue;
    const std::string environment = read_text(entry.path() / "environ");
    const bool is_alone = environment.find("OMPI_COMM_WORLD_RANK=") == std::string::npos;
    if (is_alone ? rank == 0
                 : has_word(environment, "OMPI_COMM_WORLD_RANK=" + std::to_string(rank)))
      return static_cast<pid_t>(std::stol(name));
  }
  return -1;
}

bool handles(pid_t process, int signal) {
  const std::string mark = "SigCgt:";
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < limit) {
    const std::string status = read_text("/proc/" + std::to_string(process) + "/status");
    const size_t at = status.find(mark);
    if (at != std::string::npos &&
        (std::stoull(status.substr(at + mark.size()), nullptr, 16) >> (signal - 1) & 1) != 0)
      return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

bool is_suspended(pid_t process) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < limit) {
    const std::string stat = read_text("/proc/" + std::to_string(process) + "/stat");
    if (stat.find(") T ") != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

std::vector<std::string> listed(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder, error))
    names.push_back(entry.path().lexically_relative(folder).string());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> lines_with(const std::string& output, const std::string& beginning) {
  std::vector<std::string> found;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(beginning)) found.push_back(line);
  return found;
}

}  // namespace eggroll::test
