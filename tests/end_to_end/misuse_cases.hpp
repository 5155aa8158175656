// A wrong command and what the program must say of it (misuse_test.cpp).
#pragma once

#include <string>
#include <vector>

namespace eggroll::test {

struct Case {
  std::string what;
  std::string arguments;
  std::vector<std::string> named;  // what the line must hold: key and value, or the file
  std::string environment;
};

// Of task control: where folder has what write_control_inputs() put there, `text`, and `done`, a run of
// task lm.
std::vector<Case> control_cases();
// The folder: its path.
void write_control_inputs(const std::string& folder);

}  // namespace eggroll::test
