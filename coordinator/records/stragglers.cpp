#include "coordinator/records/stragglers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace eggroll {
namespace {

constexpr uint64_t kSaidAfter = 10;  // generations in a row
constexpr size_t kMostInSummary = 5;

}  // namespace

std::vector<std::string> Stragglers::add(const std::vector<SlowRank>& slow) {
  ++generations_;
  std::vector<std::string> lines;
  for (const SlowRank& each : slow) {
    const std::string& name = names_[static_cast<size_t>(each.rank)];
    Seen& seen = seen_[name];
    seen.in_a_row = seen.last + 1 == generations_ ? seen.in_a_row + 1 : 1;
    seen.last = generations_;
    ++seen.generations;
    seen.times += each.times;
    if (seen.is_said || seen.in_a_row < kSaidAfter) continue;
    seen.is_said = true;
    lines.push_back(fmt::format("{} is slow: a tile takes it {:.1f} times as long as others", name,
                                each.times));
  }
  return lines;
}

std::vector<std::string> Stragglers::names_of(const std::vector<SlowRank>& slow) const {
  std::vector<std::string> names;
  for (const SlowRank& each : slow) names.push_back(names_[static_cast<size_t>(each.rank)]);
  return names;
}

std::vector<std::string> Stragglers::summary() const {
  std::vector<std::pair<double, std::string>> slowest;
  for (const auto& [name, seen] : seen_)
    if (10 * seen.generations >= generations_)
      slowest.push_back(
          {-seen.times, fmt::format("slow                     {}: in {} of {} generations, {:.1f} "
                                    "times as long for a tile as others",
                                    name, seen.generations, generations_,
                                    seen.times / static_cast<double>(seen.generations))});
  std::ranges::sort(slowest);
  std::vector<std::string> lines;
  for (const auto& [times, line] : slowest)
    if (lines.size() < kMostInSummary) lines.push_back(line);
  return lines;
}

std::vector<std::string> gather_names(Collectives& group, const std::string& mine) {
  std::array<char, 96> name{};
  std::copy_n(mine.begin(), std::min(mine.size(), name.size() - 1), name.begin());
  const std::vector<size_t> counts(static_cast<size_t>(group.size()), name.size());
  std::vector<std::array<char, 96>> all(group.rank() == 0 ? counts.size() : 0);
  group.gather(bytes_of(name), counts, bytes_of(all));
  std::vector<std::string> names;
  for (const auto& each : all) names.emplace_back(each.data());
  return names;
}

}  // namespace eggroll
