#include "common/messages/view.hpp"

#include <algorithm>

namespace eggroll {

size_t not_ended(const std::vector<Standing>& standings) {
  return static_cast<size_t>(std::ranges::count(standings, false, &Standing::has_ended));
}

bool may_go_on(const std::vector<Standing>& standings) {
  const auto left = static_cast<size_t>(std::ranges::count(standings, false, &Standing::is_lost));
  const size_t could_be = not_ended(standings);
  if (2 * left != could_be) return 2 * left > could_be;
  const auto lowest = std::ranges::find(standings, false, &Standing::has_ended);
  return lowest != standings.end() && !lowest->is_lost;
}

}  // namespace eggroll
