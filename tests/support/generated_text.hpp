// Text that looks like simple English and is the same on every machine: sentences of a small
// grammar, one a line, an empty line after some of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

namespace eggroll::test {

inline std::string generated_text(size_t bytes, uint64_t seed = 1) {
  constexpr std::array kNouns = {"river", "shepherd", "mountain", "garden", "stranger", "lantern",
                                 "horse", "daughter", "village",  "winter", "merchant", "stone",
                                 "bird",  "forest",   "letter",   "sailor", "brother",  "night"};
  constexpr std::array kVerbs = {"followed", "remembered", "carried", "saw",   "found",   "left",
                                 "watched",  "crossed",    "called",  "loved", "guarded", "knew"};
  constexpr std::array kAdjectives = {"old",   "silent", "golden", "great",
                                      "small", "bitter", "young",  "distant"};
  constexpr std::array kPlaces = {"beyond the",  "under the", "beside the",
                                  "through the", "near the",  "before the"};
  constexpr std::array kJoints = {", and ", " because ", ", but ", " when "};
  std::mt19937_64 random(seed);  // and no distribution: the standard leaves theirs open
  const auto one_of = [&](const auto& words) { return words[random() % words.size()]; };
  // One draw a statement: the operands of + may be drawn in any order.
  const auto add_thing = [&](std::string& text) {
    text += "the ";
    if (random() % 3 == 0) text.append(one_of(kAdjectives)).append(" ");
    text += one_of(kNouns);
  };
  const auto add_clause = [&](std::string& text) {
    add_thing(text);
    text.append(" ").append(one_of(kVerbs)).append(" ");
    add_thing(text);
    if (random() % 2 != 0) return;
    text.append(" ").append(one_of(kPlaces));
    text.append(" ").append(one_of(kNouns));
  };
  std::string text;
  while (text.size() < bytes) {
    const size_t start = text.size();
    add_clause(text);
    text[start] = 'T';
    if (random() % 3 == 0) {
      text += one_of(kJoints);
      add_clause(text);
    }
    text += random() % 8 == 0 ? ".\n\n" : ".\n";
  }
  text.resize(bytes);
  return text;
}

}  // namespace eggroll::test
