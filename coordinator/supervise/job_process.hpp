// A command that runs as a job: started in a session of its own, and ended with everything that it
// has started on this machine. For `eggroll supervise`.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace eggroll {

// From here on processes whose parent has gone become children of this one, so that none is lost.
void adopt_orphans();

class JobProcess {
 public:
  // Searches the PATH. environment: set beside what there is. Throws Error where it cannot start.
  JobProcess(const std::vector<std::string>& command,
             const std::map<std::string, std::string>& environment);
  ~JobProcess();  // ends it
  JobProcess(const JobProcess&) = delete;
  JobProcess& operator=(const JobProcess&) = delete;

  void signal(int number) const;
  // Its exit code once it has ended, 128 + signal where one ended it.
  std::optional<int> exit_code();
  // Ends what is left of it, stopped processes too: TERM, and KILL two seconds later.
  void end();

 private:
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
};

}  // namespace eggroll
