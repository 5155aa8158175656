// The terminal on which a person watches a run.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

namespace eggroll {

class Terminal {
 public:
  // That of standard output, if it is one. Open MPI gives its ranks pseudo-terminals, so under mpirun
  // that of mpirun's own output.
  static std::optional<Terminal> of_output();

  // Its width at present, as a person may change it; 80 where it does not say.
  size_t columns() const;

 private:
  explicit Terminal(std::string path) : path_(std::move(path)) {}

  std::string path_;  // mpirun's; empty: this process's standard output
};

}  // namespace eggroll
