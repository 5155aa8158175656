// What all ranks make sure of before any work: that they run the same thing, and that none of them
// has found an error. Both are collective, and give every rank the same answer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/messages/collectives.hpp"

namespace eggroll {

// Something that must be the same on all ranks, e.g. {"config", the text of it}.
struct Fact {
  std::string name;
  std::string value;
};

// Throws on every rank the same ConfigError of one line when a rank's facts differ from those of
// rank 0: the fact, the first such rank, its host, its value and that of rank 0. Of a text of
// several lines, the first line that differs.
void agree(Collectives& group, const std::vector<Fact>& facts);

struct Failure {
  int rank = 0;
  std::string host;
  std::string message;  // at most kFailureBytes, longer ones are cut
  int code = 0;         // exit code
};
inline constexpr size_t kFailureBytes = 1000;

// The failure of the lowest rank that has one, or nothing. Ranks where all is well give "" and 0.
// So an error found on any rank ends all ranks with one line and one exit code.
std::optional<Failure> first_failure(Collectives& group, const std::string& my_error, int my_code);

}  // namespace eggroll
