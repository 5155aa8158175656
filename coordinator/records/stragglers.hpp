// Which ranks were slow, generation after generation: what a person is told of it. Rank 0.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/messages/collectives.hpp"
#include "coordinator/generation_record.hpp"

namespace eggroll {

class Stragglers {
 public:
  // The ranks of the present group, each by its name, "rank 2 on n7".
  void know_ranks(std::vector<std::string> names) { names_ = std::move(names); }
  // After each generation. The lines that are to be said now: of ranks that have been slow for some
  // generations in a row, once each.
  std::vector<std::string> add(const std::vector<SlowRank>& slow);
  std::vector<std::string> names_of(const std::vector<SlowRank>& slow) const;
  // Those that were slow in a tenth of the generations or more, the slowest first.
  std::vector<std::string> summary() const;

 private:
  struct Seen {
    uint64_t generations = 0;
    uint64_t last = 0;  // generation in which it was slow, counted here
    uint64_t in_a_row = 0;
    double times = 0;  // sum over these generations
    bool is_said = false;
  };

  std::vector<std::string> names_;
  uint64_t generations_ = 0;
  std::map<std::string, Seen> seen_;
};

// Collective. The names of all on rank 0; elsewhere none.
std::vector<std::string> gather_names(Collectives& group, const std::string& mine);

}  // namespace eggroll
