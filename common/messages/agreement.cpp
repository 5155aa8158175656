#include "common/messages/agreement.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "common/check.hpp"

namespace eggroll {

namespace {

constexpr size_t kExcerpt = 60;  // characters of a value in an error

// Text in a message of fixed size, cut to fit.
template <size_t N>
struct Text {
  uint32_t length = 0;
  std::array<char, N> characters{};

  Text() = default;
  Text(std::string_view text) : length(static_cast<uint32_t>(std::min(text.size(), N))) {
    std::memcpy(characters.data(), text.data(), length);
  }
  operator std::string_view() const { return {characters.data(), length}; }
};

// How a rank's facts differ from those of rank 0.
struct Difference {
  bool exists = false;
  Text<64> host;
  Text<64> fact;
  Text<2 * kExcerpt> mine;
  Text<2 * kExcerpt> of_rank_0;
};

struct FailureMessage {
  int32_t code = 0;
  Text<64> host;
  Text<kFailureBytes> message;
};

template <typename T>
std::vector<T> all_gather_values(Collectives& group, const T& mine) {
  std::vector<T> all(static_cast<size_t>(group.size()));
  group.all_gather(bytes_of(mine), bytes_of(all));
  return all;
}

// Each string with its length before it, so that no two lists of facts look alike.
std::string pack(const std::vector<Fact>& facts) {
  std::string bytes;
  const auto append = [&bytes](const std::string& text) {
    const uint64_t length = text.size();
    bytes.append(reinterpret_cast<const char*>(&length), sizeof length);
    bytes.append(text);
  };
  for (const Fact& fact : facts) {
    append(fact.name);
    append(fact.value);
  }
  return bytes;
}

std::vector<Fact> unpack(std::string_view bytes) {
  const auto take = [&bytes] {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    std::string text(bytes.substr(sizeof length, length));
    bytes.remove_prefix(sizeof length + length);
    return text;
  };
  std::vector<Fact> facts;
  while (!bytes.empty()) {
    std::string name = take();
    facts.push_back({std::move(name), take()});
  }
  return facts;
}

std::vector<Fact> facts_of_rank_0(Collectives& group, std::string packed) {
  uint64_t size = packed.size();
  group.broadcast(bytes_of(size));
  packed.resize(size);
  group.broadcast(bytes_of(packed));
  return unpack(packed);
}

// The line of `value` that holds `position`, or as much of it around `position` as an error has
// room for.
std::string excerpt(std::string_view value, size_t position) {
  size_t first = value.substr(0, position).rfind('\n') + 1;  // npos + 1 is 0
  const size_t end = std::min(value.find('\n', position), value.size());
  if (end - first > kExcerpt && position - first > kExcerpt / 2) first = position - kExcerpt / 2;
  std::string text(value.substr(first, std::min(end - first, kExcerpt)));
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  const bool is_cut_before = first > 0 && value[first - 1] != '\n';
  const bool is_cut_after = end - first > kExcerpt;
  return fmt::format("{}{}{}", is_cut_before ? "..." : "", text, is_cut_after ? "..." : "");
}

Difference difference(const std::vector<Fact>& mine, const std::vector<Fact>& reference) {
  const auto differ = [](std::string_view fact, std::string_view value, std::string_view expected) {
    return Difference{true, std::string_view(host_name()), fact, value, expected};
  };
  for (size_t i = 0; i < std::max(mine.size(), reference.size()); ++i) {
    if (i >= reference.size()) return differ(mine[i].name, "a value", "none");
    if (i >= mine.size()) return differ(reference[i].name, "none", "a value");
    if (mine[i].name != reference[i].name)
      return differ("what to compare", mine[i].name, reference[i].name);
    const std::string& value = mine[i].value;
    const std::string& expected = reference[i].value;
    if (value == expected) continue;
    const auto at = std::ranges::mismatch(value, expected).in1 - value.begin();
    const auto position = static_cast<size_t>(at);
    return differ(mine[i].name, excerpt(value, position), excerpt(expected, position));
  }
  return {};
}

}  // namespace

void agree(Collectives& group, const std::vector<Fact>& facts) {
  std::string packed = pack(facts);
  const std::vector<uint64_t> hashes =
      all_gather_values<uint64_t>(group, XXH3_64bits(packed.data(), packed.size()));
  if (std::ranges::count(hashes, hashes[0]) == group.size()) return;

  const std::vector<Fact> reference = facts_of_rank_0(group, std::move(packed));
  const std::vector<Difference> differences =
      all_gather_values(group, difference(facts, reference));
  const auto first = std::ranges::find(differences, true, &Difference::exists);
  require(first != differences.end(), "facts of different hash differ");
  throw ConfigError(fmt::format(
      "the ranks do not agree on {}: rank {} on {} has \"{}\", rank 0 has \"{}\"",
      std::string_view(first->fact), first - differences.begin(), std::string_view(first->host),
      std::string_view(first->mine), std::string_view(first->of_rank_0)));
}

std::optional<Failure> first_failure(Collectives& group, const std::string& my_error, int my_code) {
  const bool is_failure = my_code != 0 || !my_error.empty();
  const int32_t code = is_failure && my_code == 0 ? 1 : my_code;
  // Nearly always nobody fails: the texts travel only when somebody does.
  const std::vector<int32_t> codes = all_gather_values(group, code);
  const auto first = std::ranges::find_if(codes, [](int32_t c) { return c != 0; });
  if (first == codes.end()) return std::nullopt;

  const auto rank = static_cast<size_t>(first - codes.begin());
  const FailureMessage failure = all_gather_values(
      group, FailureMessage{code, std::string_view(host_name()), std::string_view(my_error)})[rank];
  return Failure{static_cast<int>(rank), std::string(std::string_view(failure.host)),
                 std::string(std::string_view(failure.message)), failure.code};
}

}  // namespace eggroll
