// What simple models make of a text: the figures a loss is read beside. All in bits per byte; a
// text too short to have a figure has 0. Bigram figures are over the bytes that have one before
// them, all but the first.
#pragma once

#include <cstdint>
#include <span>

namespace eggroll {

// Entropy of the text under its own byte counts, and of each byte given the byte before it under
// its own pair counts.
double unigram_entropy(std::span<const uint8_t> text);
double bigram_entropy(std::span<const uint8_t> text);

// Cross-entropy of `text` under counts of `counted`, smoothed. Unigram: (count + 1/256) / (total + 1);
// bigram, which backs off no further: (pair count + 1/256) / (count of the first byte + 1).
double unigram_cross_entropy(std::span<const uint8_t> text, std::span<const uint8_t> counted);
double bigram_cross_entropy(std::span<const uint8_t> text, std::span<const uint8_t> counted);

// Size of the text as `gzip -9` would write it, in bits per byte of text. zlib makes it here, whose
// sizes are within a percent of the command's.
double gzip_bits_per_byte(std::span<const uint8_t> text);

}  // namespace eggroll
