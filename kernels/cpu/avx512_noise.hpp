// The noise law in AVX-512, 64 values of a pair at a time, in pieces: a function that makes noise and
// nothing else runs several such groups in turn, a product runs one beside its own instructions.
#pragma once

#include "kernels/cpu/avx512.hpp"

namespace eggroll::cpu {
namespace {

// Keys of the rounds, and what the epoch makes of the second one.
struct PhiloxKeys {
  alignas(64) uint32_t k0[16], k1[16];
  uint32_t c2_second;

  PhiloxKeys(uint64_t seed, uint32_t epoch) : c2_second(epoch ^ static_cast<uint32_t>(seed >> 32)) {
    const __m512i round = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const auto keys = [&](uint64_t key, uint32_t weyl) {
      return _mm512_add_epi32(
          _mm512_set1_epi32(static_cast<int32_t>(key)),
          _mm512_mullo_epi32(round, _mm512_set1_epi32(static_cast<int32_t>(weyl))));
    };
    store(k0, keys(seed, kPhiloxWeyl0));
    store(k1, keys(seed >> 32, kPhiloxWeyl1));
  }
};

// Where 64 values begin. The blocks of a tensor and pair differ in c0 alone, so that half of the
// first two rounds is the same for all of them.
struct PhiloxStart {
  uint32_t block;     // the first of eight
  uint32_t c0_third;  // what high(p1) of the second round makes into c0,
  uint32_t c2_third;  // what low(p0) of the first makes into c2,
  uint32_t c3_third;
  int8_t* out;
};

// Goes through rows, 64 values at a time.
class NoiseCursor {
 public:
  NoiseCursor(NoiseRows& rows, const PhiloxKeys& keys) : rows_(rows), keys_(keys) {
    if (more()) begin_row();
  }

  const PhiloxKeys& keys() const { return keys_; }
  bool more() const { return rows_.next != rows_.end; }
  const PhiloxStart& here() const { return here_; }
  void advance() {
    here_.block += 8;
    here_.out += 64;
    rows_.made += 64;
    if (rows_.made < rows_.next->count) return;
    rows_.made = 0;
    ++rows_.next;
    if (more()) begin_row();
  }

 private:
  void begin_row() {
    const NoiseRow& row = *rows_.next;
    const uint64_t p1 = uint64_t{row.tensor} * kPhiloxMultiplier1;
    const uint32_t c0 = static_cast<uint32_t>(p1 >> 32) ^ row.pair ^ keys_.k0[0];
    const uint64_t p0 = uint64_t{c0} * kPhiloxMultiplier0;  // of the second round
    here_ = {.block = (row.first + rows_.made) / 8,
             .c0_third = static_cast<uint32_t>(p1) ^ keys_.k0[1],
             .c2_third = static_cast<uint32_t>(p0 >> 32) ^ keys_.k1[1],
             .c3_third = static_cast<uint32_t>(p0),
             .out = row.out + rows_.made};
  }

  NoiseRows& rows_;
  const PhiloxKeys& keys_;
  PhiloxStart here_{};
};

// Philox4x32 with eight counters in the low halves of 64-bit lanes. What the high halves hold is
// rubbish: multiplications read low halves only. A round of one counter (c0, c1, c2, c3):
//   p0 = c0 M0                 p1 = c2 M1
//   c0 = high(p1) ^ c1 ^ k0    c1 = low(p1)
//   c2 = high(p0) ^ c3 ^ k1    c3 = low(p0)
// Instructions are given as such where the intrinsics of g++ 12 keep vectors of constants in
// registers that there are too few of.
struct Philox64 {
  __m512i c0, c1, c2, c3;

  // The first two rounds.
  [[gnu::always_inline]] void start(const PhiloxKeys& keys, const PhiloxStart& at, __m512i m0,
                                    __m512i m1) {
    alignas(64) static constexpr uint64_t kBlocks[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    asm("vpbroadcastd %1,%0" : "=v"(c2) : "m"(at.block));
    asm("vpaddd %1,%0,%0" : "+v"(c2) : "m"(kBlocks));
    multiply(c2, m0);
    c1 = high_half(c2);
    exclusive_or(c1, keys.c2_second);
    multiply(c1, m1);
    c0 = high_half(c1);
    exclusive_or(c0, at.c0_third);
    exclusive_or(c2, at.c2_third);
    asm("vpbroadcastd %1,%0" : "=v"(c3) : "m"(at.c3_third));
  }

  [[gnu::always_inline]] void round(const PhiloxKeys& keys, int round, __m512i m0, __m512i m1) {
    multiply(c0, m0);
    multiply(c2, m1);
    exclusive_or(c1, high_half(c2), keys.k0[round]);
    exclusive_or(c3, high_half(c0), keys.k1[round]);
    const __m512i p0 = c0, p1 = c2;
    c0 = c1;
    c2 = c3;
    c1 = p1;
    c3 = p0;
  }

  // The last round, and the values; table_a, table_b: the first halves of the tables.
  [[gnu::always_inline]] __m512i values(const PhiloxKeys& keys, __m512i m0, __m512i m1,
                                        __m512i table_a, __m512i table_b) {
    constexpr int kLast = kPhiloxRounds - 1;
    multiply(c0, m0);
    multiply(c2, m1);
    return _mm512_add_epi8(look_up(table_a, kNoiseTableA, words(c2, c1, keys.k0[kLast])),
                           look_up(table_b, kNoiseTableB, words(c0, c3, keys.k1[kLast])));
  }

  // Nothing of the instructions before is moved behind this point, and nothing back.
  [[gnu::always_inline]] void keep_order() {
    asm volatile("" : "+v"(c0), "+v"(c1), "+v"(c2), "+v"(c3));
  }

 private:
  [[gnu::always_inline]] static void multiply(__m512i& a, __m512i m) {
    asm("vpmuludq %1,%0,%0" : "+v"(a) : "v"(m));
  }
  [[gnu::always_inline]] static __m512i high_half(__m512i product) {
    return _mm512_shuffle_epi32(product, static_cast<_MM_PERM_ENUM>(0xF5));
  }
  [[gnu::always_inline]] static void exclusive_or(__m512i& a, const uint32_t& key) {
    asm("vpxord %1%{1to16%},%0,%0" : "+v"(a) : "m"(key));
  }
  [[gnu::always_inline]] static void exclusive_or(__m512i& a, __m512i b, const uint32_t& key) {
    asm("vpternlogd $0x96,%2%{1to16%},%1,%0" : "+v"(a) : "v"(b), "m"(key));
  }
  // Words 1 : 0 or 3 : 2 of the block together, eight bytes a counter.
  [[gnu::always_inline]] static __m512i words(__m512i product, __m512i c, const uint32_t& key) {
    constexpr __mmask16 kLowHalves = 0x5555;
    __m512i swapped = _mm512_shuffle_epi32(product, static_cast<_MM_PERM_ENUM>(0xB1));
    asm("vpternlogd $0x96,%2%{1to16%},%1,%0%{%3%}"
        : "+v"(swapped)
        : "v"(c), "m"(key), "Yk"(kLowHalves));
    return swapped;
  }
  [[gnu::always_inline]] static __m512i look_up(__m512i first_half, const int8_t (&table)[128],
                                                __m512i index) {
    asm("vpermi2b %2,%1,%0"
        : "+v"(index)
        : "v"(first_half), "m"(*reinterpret_cast<const __m512i_u*>(table + 64)));
    return index;
  }
};

}  // namespace
}  // namespace eggroll::cpu
