// The folder of a run, and the one process that writes there. `lock` names it: host, pid, job,
// since when. It is held by a lock of the file system where that has some, and touched every few
// seconds, so that on one whose locks do not reach across hosts a live holder is told from one that
// is gone. `status.json` says how the run stands, for programs that watch it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/config.hpp"

namespace eggroll {

// Whether the run folder holds checkpoints, readable or not.
bool holds_checkpoints(const RunConfig& config);
// The folder in which a run goes on without --run: that of the checkpoint that --resume names. Throws
// ConfigError where a file is in no such folder.
std::string folder_to_resume_in(const std::string& resume);
// Whether a run that is resumed goes on in its own folder.
bool goes_on_in_place(const RunConfig& config);
// A folder holds one run: a new one does not write among the checkpoints of another. Throws
// ConfigError.
void check_run_folder(const RunConfig& config);

// Where status.json says that the run of this folder has finished with so many generations: says so
// again, as this process, for whoever waits for that. Whether it does.
bool confirm_finished(const std::string& run, uint64_t generations);

enum class RunStatus { running, finished, stopped, failed };

class RunFolder {
 public:
  // Makes the folder where there is none, takes its lock and writes config_text as config.ini, beside
  // one that a person wrote. Throws ConfigError when another process holds it. replaces_lost: the
  // holder is known to be lost, as rank 0 of this very run was.
  RunFolder(const RunConfig& config, const std::string& config_text, bool replaces_lost);
  // Lets go of the folder. A run that has said nothing of its end has failed.
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  // A line about a lock that a killed process left here; empty: there was none.
  const std::string& taken_over() const { return taken_over_; }
  // A line about a config.ini that has another name now; empty: there was none.
  const std::string& kept_beside() const { return kept_beside_; }
  // Writes status.json; a disk that does not take it is no reason to end.
  void say(RunStatus state, int exit_code, uint64_t generation, const std::string& message = "");

 private:
  class Lock;

  const std::string run_;
  std::string taken_over_, kept_beside_;
  bool has_ended_ = false;
  std::unique_ptr<Lock> lock_;
};

}  // namespace eggroll
