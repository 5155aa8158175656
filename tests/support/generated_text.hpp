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
  const auto one_of = [&](const auto& words) {
    return std::string(words[random() % words.size()]);
  };
  const auto thing = [&] {
    return "the " + (random() % 3 == 0 ? one_of(kAdjectives) + " " : std::string()) +
           one_of(kNouns);
  };
  const auto clause = [&] {
    std::string text = thing() + " " + one_of(kVerbs) + " " + thing();
    if (random() % 2 == 0) text += " " + one_of(kPlaces) + " " + one_of(kNouns);
    return text;
  };
  std::string text;
  while (text.size() < bytes) {
    std::string sentence = clause();
    sentence[0] = 'T';
    if (random() % 3 == 0) sentence += one_of(kJoints) + clause();
    text += sentence + (random() % 8 == 0 ? ".\n\n" : ".\n");
  }
  text.resize(bytes);
  return text;
}

}  // namespace eggroll::test
