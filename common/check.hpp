// Errors. A room that cannot go on throws Error with one plain line; only main catches.
//   ConfigError  the user's options, files or data: found before work starts, exit code 2 on every rank
//   Error        anything else that stops the run: exit code 1 on every rank
#pragma once

#include <stdexcept>
#include <string>

namespace eggroll {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class ConfigError : public Error {
 public:
  using Error::Error;
};

// A promise between rooms; on in every build.
inline void require(bool holds, const char* what) {
  if (!holds) throw Error(std::string("internal promise broken: ") + what);
}

}  // namespace eggroll
