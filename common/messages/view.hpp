// A view: the ranks of a run that work together, and the rule by which the next one follows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace eggroll {

struct View {
  uint32_t number = 0;
  std::vector<int> ranks;              // of the world, ascending; the first one leads
  std::vector<std::string> proposals;  // what each of them said when the view was agreed on
  std::vector<std::string> lost;       // "rank 2 on n2: its process ended"
};

// How a rank of the last view stands, as its leader sees it.
struct Standing {
  bool is_lost = false;
  bool has_ended = false;  // lost for certain: no other part of the cluster can hold it
};

// Whether those of a view that are not lost may go on. Ranks that are silent may be at work
// elsewhere, in a cluster cut in two, and both parts must not go on with one run. So those that are
// left must be more than half of those that have not ended for certain; of two halves it is the one
// with the lowest rank among these. standings: of the ranks of the view, in its order.
bool may_go_on(const std::vector<Standing>& standings);
// How many of them have not ended for certain.
size_t not_ended(const std::vector<Standing>& standings);

}  // namespace eggroll
