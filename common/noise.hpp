// What member i adds to tensor t: small integers at an address, not a stream.
//
// A noise element is a pure function of (seed, epoch, tensor, pair, element). Each field has counter or
// key words of its own, so all addresses of a run are distinct. Law `philox10_two_table_v1`: element e
// takes byte (e mod 8) of the words (0, 1) and the same byte of the words (2, 3) of Philox block e / 8,
// each reduced to 7 bits, looks one up in kNoiseTableA, the other in kNoiseTableB, and adds. Mean 0,
// variance 255.97, kurtosis 3.002, at most 63 in size: an int8 normal of standard deviation 16.
//
// Elements of a tensor and pair (r = noise_rank; runs begin at multiples of 64 elements, n' = n up to
// the next multiple):
//   low_rank m x n   B: term q, input i  -> q n' + i        A: term q, output o -> r n' + q m' + o
//                    E = A B^T / sqrt(r) in sixteenths of sixteenths
//   product n        z_i = element(i) * element(n' + i), standard deviation 256
//   full             weight i -> i, row by row, standard deviation 16
// A pair is an address that two members share, of which member 2j adds +, member 2j + 1 adds -
// (antithetic pairs: arXiv 2511.16652, section 4); members that are independent have an address each
// and add +.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/rng.hpp"

namespace eggroll {

inline constexpr const char* kNoiseLaw = "philox10_two_table_v1";
inline constexpr int kNoiseMax = 63;        // largest magnitude of an element
inline constexpr int kNoiseVariance = 256;  // nominal; the exact variance of the law is 255.97
inline constexpr uint32_t kInitialisationEpoch = 0xFFFFFFFFu;  // never a generation's epoch

inline constexpr int8_t kNoiseTableA[128] = {
    -35, -27, -25, -23, -22, -21, -20, -19, -18, -17, -17, -16, -16, -15, -15, -14, -14, -13, -13,
    -12, -12, -12, -11, -11, -10, -10, -10, -9,  -9,  -9,  -9,  -8,  -8,  -8,  -7,  -7,  -7,  -7,
    -6,  -6,  -6,  -5,  -5,  -5,  -5,  -4,  -4,  -4,  -4,  -3,  -3,  -3,  -3,  -2,  -2,  -2,  -2,
    -2,  -1,  -1,  -1,  -1,  0,   0,   0,   0,   1,   1,   1,   1,   2,   2,   2,   2,   2,   3,
    3,   3,   3,   4,   4,   4,   4,   5,   5,   5,   5,   6,   6,   6,   7,   7,   7,   7,   8,
    8,   8,   9,   9,   9,   9,   10,  10,  10,  11,  11,  12,  12,  12,  13,  13,  14,  14,  15,
    15,  16,  16,  17,  17,  18,  19,  20,  21,  22,  23,  25,  27,  35,
};
inline constexpr int8_t kNoiseTableB[128] = {
    -28, -24, -22, -20, -19, -18, -17, -16, -16, -15, -15, -14, -14, -13, -13, -12, -12, -11, -11,
    -11, -10, -10, -10, -9,  -9,  -9,  -9,  -8,  -8,  -8,  -7,  -7,  -7,  -7,  -6,  -6,  -6,  -6,
    -5,  -5,  -5,  -5,  -5,  -4,  -4,  -4,  -4,  -3,  -3,  -3,  -3,  -3,  -2,  -2,  -2,  -2,  -2,
    -1,  -1,  -1,  -1,  -1,  0,   0,   0,   0,   1,   1,   1,   1,   1,   2,   2,   2,   2,   2,
    3,   3,   3,   3,   3,   4,   4,   4,   4,   5,   5,   5,   5,   5,   6,   6,   6,   6,   7,
    7,   7,   7,   8,   8,   8,   9,   9,   9,   9,   10,  10,  10,  11,  11,  11,  12,  12,  13,
    13,  14,  14,  15,  15,  16,  16,  17,  18,  19,  20,  22,  24,  28,
};

// Everything of an address but the element.
struct NoiseAddress {
  uint64_t seed = 0;
  uint32_t epoch = 0;
  uint32_t tensor = 0;
  uint32_t pair = 0;
};

// The Philox block that holds elements 8 * block ... 8 * block + 7.
EGGROLL_HD constexpr PhiloxBlock noise_block(const NoiseAddress& at, uint32_t block) {
  return philox4x32({{block, at.pair, at.tensor, at.epoch}}, static_cast<uint32_t>(at.seed),
                    static_cast<uint32_t>(at.seed >> 32));
}

// The value of one of the eight elements of a block, lane in 0..7. Code of a device brings its own
// copy of the tables.
EGGROLL_HD constexpr int8_t noise_of_block(const PhiloxBlock& block, int lane,
                                           const int8_t* table_a, const int8_t* table_b) {
  const int shift = 8 * (lane & 3);
  const uint32_t a = (block.word[lane >> 2] >> shift) & 127u;
  const uint32_t b = (block.word[2 + (lane >> 2)] >> shift) & 127u;
  return static_cast<int8_t>(table_a[a] + table_b[b]);
}
constexpr int8_t noise_of_block(const PhiloxBlock& block, int lane) {
  return noise_of_block(block, lane, kNoiseTableA, kNoiseTableB);
}

// One element by itself: slow, for oracles and single look-ups.
constexpr int8_t noise_element(const NoiseAddress& at, uint32_t element) {
  return noise_of_block(noise_block(at, element >> 3), static_cast<int>(element & 7u));
}

}  // namespace eggroll
