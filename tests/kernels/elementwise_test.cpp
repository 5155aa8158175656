// What each instruction set table does element by element, over all there is or to the extremes,
// against the formulas of docs/model.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tests/support/isa_tables.hpp"
#include "tests/support/oracle.hpp"

namespace eggroll::cpu {
namespace {

using oracle::clip8;
using oracle::floor_div;
using oracle::Random;
using oracle::round_perturbation;
using test::Guarded;
using test::isa_tables;
using test::IsaTable;

int8_t as_int8(uint8_t activation) { return static_cast<int8_t>(activation ^ 0x80); }

int8_t any(Random& random, int largest) {
  return static_cast<int8_t>(static_cast<int>(random() % (2 * largest + 1)) - largest);
}

std::vector<int8_t> many(Random& random, size_t n, int largest) {
  std::vector<int8_t> values(n);
  for (int8_t& v : values) v = any(random, largest);
  return values;
}

class Elementwise : public testing::TestWithParam<IsaTable> {
 protected:
  const Isa& isa() const { return *GetParam().isa; }
};
INSTANTIATE_TEST_SUITE_P(Cpu, Elementwise, testing::ValuesIn(isa_tables()),
                         [](const auto& info) { return std::string(info.param.isa->name); });

// x at the first elements with every norm weight; the others bring the mean of |x| to `mean`.
// Returns false where no x of this length has it.
bool expect_norm(const Isa& isa, size_t n, int log2_n, int mean, int x, Random& random) {
  constexpr int kWeights = 255;
  const int64_t own = int64_t{kWeights} * std::abs(x);
  const int64_t others = static_cast<int64_t>(n) - kWeights;
  int64_t left = std::max<int64_t>(0, int64_t{mean} * static_cast<int64_t>(n) - own);
  if (left > 127 * others || own > (mean + 1) * static_cast<int64_t>(n) - 1) return false;
  std::vector<int8_t> xs(n, static_cast<int8_t>(x)), weights = many(random, n, 127);
  for (int w = 0; w < kWeights; ++w) weights[w] = static_cast<int8_t>(w - 127);
  for (size_t i = kWeights; i < n; ++i) {
    const int64_t size = std::min<int64_t>(127, left);
    xs[i] = static_cast<int8_t>(i % 2 == 0 ? size : -size);
    left -= size;
  }
  Guarded<uint8_t> out(n);
  isa.layer_norm(xs.data(), weights.data(), n, log2_n, out.data());
  for (size_t i = 0; i < n; ++i) {
    const int64_t expected = clip8(floor_div(int64_t{xs[i]} * weights[i], std::max(1, mean)));
    if (as_int8(out[i]) == expected) continue;
    ADD_FAILURE() << int{xs[i]} << " * " << int{weights[i]} << " / " << mean << " is "
                  << int{as_int8(out[i])} << ", should be " << expected;
    return true;
  }
  EXPECT_TRUE(out.margins_are_untouched());
  return true;
}

TEST_P(Elementwise, LayerNormIsExactForEveryInputEveryWeightAndEveryDivisor) {
  Random random(1);
  int cases = 0;
  for (int mean = 0; mean <= 127; ++mean)
    for (int x = -127; x <= 127; ++x)
      cases += expect_norm(isa(), 1024, 10, mean, x, random) ||
               expect_norm(isa(), 16384, 14, mean, x, random);
  // A mean of 127 has no input but +-127, one of 126 few, one of 0 only small ones.
  EXPECT_GT(cases, 125 * 255);
}

TEST_P(Elementwise, LayerNormTakesTheMeanOfItsWholeLength) {
  Random random(2);
  for (int log2_n : {6, 8, 10, 12, 14})
    for (int i = 0; i < 50; ++i) {
      const size_t n = size_t{1} << log2_n;
      std::vector<int8_t> xs(n, 0);
      const std::vector<int8_t> weights = many(random, n, 127);
      for (size_t k = 0; k < n; ++k)
        if (random() % 50 < static_cast<uint64_t>(i)) xs[k] = any(random, 127);
      int64_t magnitude = 0;
      for (int64_t x : xs) magnitude += std::abs(x);
      const int64_t a = std::max<int64_t>(1, magnitude / static_cast<int64_t>(n));
      Guarded<uint8_t> out(n);
      isa().layer_norm(xs.data(), weights.data(), n, log2_n, out.data());
      for (size_t k = 0; k < n; ++k)
        ASSERT_EQ(as_int8(out[k]), clip8(floor_div(int64_t{xs[k]} * weights[k], a)));
      EXPECT_TRUE(out.margins_are_untouched());
    }
}

// Every sum of three gate inputs at their ends, with every state.
TEST_P(Elementwise, TheForgetGateIsExactAtItsEnds) {
  const int ends[] = {-127, -126, -64, -1, 0, 1, 63, 64, 126, 127};
  std::vector<int8_t> fx, fh, bias, h;
  for (int a : ends)
    for (int b : ends)
      for (int c : ends)
        for (int state = -127; state <= 127; ++state) {
          fx.push_back(static_cast<int8_t>(a));
          fh.push_back(static_cast<int8_t>(b));
          bias.push_back(static_cast<int8_t>(c));
          h.push_back(static_cast<int8_t>(state));
        }
  const size_t n = fx.size() / 64 * 64;
  Guarded<int8_t> f(n);
  Guarded<uint8_t> gated(n);
  isa().gru_forget(fx.data(), fh.data(), bias.data(), h.data(), n, f.data(), gated.data());
  for (size_t i = 0; i < n; ++i) {
    const int64_t gate = clip8(int64_t{fx[i]} + fh[i] + bias[i]);
    ASSERT_EQ(f[i], gate);
    ASSERT_EQ(as_int8(gated[i]), floor_div((gate + 127) * h[i], 256));
  }
  EXPECT_TRUE(f.margins_are_untouched() && gated.margins_are_untouched());
}

// Every gate with every candidate and every state: the product needs 17 bits.
TEST_P(Elementwise, TheNewStateIsExactForEveryGateCandidateAndState) {
  constexpr size_t n = 256;
  Random random(3);
  std::vector<int8_t> bias(n);
  for (int f = -127; f <= 127; ++f)
    for (int c = -127; c <= 127; ++c) {
      const std::vector<int8_t> gate(n, static_cast<int8_t>(f));
      const int8_t cx = any(random, 127);  // cx + ch + bias = c, by two ways to split the rest
      const int8_t ch = static_cast<int8_t>(clip8(c - cx));
      const std::vector<int8_t> cxs(n, cx), chs(n, ch);
      std::fill(bias.begin(), bias.end(), static_cast<int8_t>(c - cx - ch));
      const std::vector<int8_t> x = many(random, n, 127);
      Guarded<int8_t> h(n), moved(n);
      Guarded<uint8_t> h_u8(n);
      for (size_t i = 0; i < n; ++i) {
        h[i] = static_cast<int8_t>(std::min<int>(127, static_cast<int>(i) - 127));
        moved[i] = x[i];
      }
      isa().gru_update(cxs.data(), chs.data(), bias.data(), gate.data(), n, h.data(), h_u8.data(),
                       moved.data());
      for (size_t i = 0; i < n; ++i) {
        const int64_t before = std::min<int64_t>(127, static_cast<int64_t>(i) - 127);
        const int64_t next = before + floor_div((f + 127) * (c - before), 256);
        ASSERT_EQ(h[i], next) << f << " " << c << " " << before;
        ASSERT_EQ(as_int8(h_u8[i]), next);
        ASSERT_EQ(moved[i], clip8(x[i] + next));
      }
      ASSERT_TRUE(h.margins_are_untouched() && moved.margins_are_untouched() &&
                  h_u8.margins_are_untouched());
    }
}

TEST_P(Elementwise, TheCandidateIsClippedAtItsEnds) {
  const std::vector<int8_t> most(64, 127), least(64, -127), open(64, 127);
  std::vector<int8_t> h(64, 0), x(64, 127);
  std::vector<uint8_t> h_u8(64);
  isa().gru_update(most.data(), most.data(), most.data(), open.data(), 64, h.data(), h_u8.data(),
                   x.data());
  EXPECT_EQ(h[63], 254 * 127 / 256);
  EXPECT_EQ(x[63], 127);
  isa().gru_update(least.data(), least.data(), least.data(), open.data(), 64, h.data(), h_u8.data(),
                   x.data());
  EXPECT_EQ(h[63], 126 + floor_div(254 * (-127 - 126), 256));
}

TEST_P(Elementwise, AddingClipsEverySum) {
  for (int a = -127; a <= 127; ++a) {
    std::vector<int8_t> y(256);
    Guarded<int8_t> x(256);
    for (int i = 0; i < 256; ++i) {
      y[i] = static_cast<int8_t>(std::min(127, i - 127));
      x[i] = static_cast<int8_t>(a);
    }
    isa().add_clip(y.data(), 256, x.data());
    for (int i = 0; i < 256; ++i) ASSERT_EQ(x[i], clip8(int64_t{a} + y[i]));
    ASSERT_TRUE(x.margins_are_untouched());
  }
}

TEST_P(Elementwise, ExponentialsAddUpForEveryLogit) {
  Random random(4);
  const auto expect_sum = [&](const std::vector<int8_t>& logits) {
    uint64_t sum = 0;
    for (int64_t logit : logits) sum += static_cast<uint64_t>(oracle::exp2_16(logit + 128));
    ASSERT_LE(sum, UINT32_MAX);
    ASSERT_EQ(isa().exp2_sum(logits.data()), sum);
  };
  for (int value = -127; value <= 127; ++value) {
    std::vector<int8_t> logits(256, static_cast<int8_t>(value));
    expect_sum(logits);
    std::fill(logits.begin(), logits.end(), int8_t{-127});
    logits[random() % 256] = static_cast<int8_t>(value);
    expect_sum(logits);
  }
  for (int i = 0; i < 200; ++i) expect_sum(many(random, 256, 127));
}

TEST_P(Elementwise, VectorsArePerturbedExactlyByEveryProductOfTwoFactors) {
  for (Rounding rounding : {Rounding::nearest, Rounding::floor})
    for (int shift : {5, 8, 12})
      for (int first = -kNoiseMax; first <= kNoiseMax; ++first) {
        constexpr size_t n = 128;
        std::vector<int8_t> v(2 * n, static_cast<int8_t>(first)), p(n);
        for (size_t i = 0; i < n; ++i) {
          v[n + i] = static_cast<int8_t>(std::min<int>(kNoiseMax, static_cast<int>(i) - kNoiseMax));
          p[i] = static_cast<int8_t>(i % 3 == 0 ? 127 : i % 3 == 1 ? -127 : first);
        }
        Guarded<int8_t> pair(2 * n);
        std::copy(v.begin(), v.end(), pair.data());
        isa().perturb_vector(p.data(), n, {shift, rounding}, pair.data());
        for (size_t i = 0; i < 2 * n; ++i)
          ASSERT_EQ(pair[i], clip8(p[i % n] + round_perturbation(v[i % n] * v[n + i % n],
                                                                 i < n ? 1 : -1, shift, rounding)));
        ASSERT_TRUE(pair.margins_are_untouched());
      }
}

TEST_P(Elementwise, EmbeddingsArePerturbedExactlyAtEveryRank) {
  Random random(5);
  for (Rounding rounding : {Rounding::nearest, Rounding::floor})
    for (int terms : {1, 4, 16})
      for (int shift : {5, 8, 14})
        for (bool largest : {true, false}) {
          constexpr size_t n = 192;
          const std::vector<int8_t> row = many(random, n, 127);
          std::vector<int8_t> b = many(random, n * static_cast<size_t>(terms), kNoiseMax);
          std::vector<int32_t> a(static_cast<size_t>(terms));
          for (int32_t& value : a) value = largest ? kNoiseMax : any(random, kNoiseMax);
          if (largest) std::fill(b.begin(), b.end(), static_cast<int8_t>(-kNoiseMax));
          Guarded<int8_t> out(n);
          isa().embed(row.data(), a.data(), b.data(), terms, n, {shift, rounding}, out.data());
          for (size_t i = 0; i < n; ++i) {
            int64_t sum = 0;
            for (size_t q = 0; q < a.size(); ++q) sum += int64_t{a[q]} * b[q * n + i];
            ASSERT_EQ(out[i], clip8(row[i] + round_perturbation(sum, 1, shift, rounding)));
          }
          ASSERT_TRUE(out.margins_are_untouched());
        }
}

// Every length and place of rows, alone and together, so that each way a table cuts them is there.
TEST_P(Elementwise, NoiseIsTheLawWhereverItBegins) {
  Random random(7);
  const auto word = [&] { return static_cast<uint32_t>(random()); };
  for (size_t groups = 1; groups <= 21; ++groups)
    for (uint32_t first : {0u, 64u, 5u * 64u, 0xFFFF8000u})
      for (size_t rows : {1, 2, 3, 5}) {
        const uint64_t seed = random();
        const uint32_t epoch = word();
        const size_t n = groups * kPanel;
        Guarded<int8_t> natural(rows * n), panels(rows * n);
        std::vector<NoiseRow> to_natural, to_panels;
        for (size_t row = 0; row < rows; ++row) {
          to_natural.push_back(
              {word(), word(), first, static_cast<uint32_t>(n), natural.data() + row * n});
          to_panels.push_back(to_natural.back());
          to_panels.back().out = panels.data() + row * n;
        }
        // What is said to be there already stays as it is.
        const size_t made = rows % 2 == 0 ? random() % groups * kPanel : 0;
        isa().noise({seed, epoch, to_natural.data(), to_natural.data() + rows,
                     static_cast<uint32_t>(made)});
        isa().noise_panel({seed, epoch, to_panels.data(), to_panels.data() + rows});
        for (size_t row = 0; row < rows; ++row) {
          const NoiseAddress at{seed, epoch, to_natural[row].tensor, to_natural[row].pair};
          std::vector<int8_t> expected(n);
          for (size_t i = 0; i < n; ++i)
            expected[i] = noise_element(at, first + static_cast<uint32_t>(i));
          const std::vector<int8_t> in_order = GetParam().in_panel_order(expected);
          for (size_t i = 0; i < n; ++i) {
            if (row == 0 && i < made)
              ASSERT_EQ(natural[i], 0x5A);
            else
              ASSERT_EQ(natural[row * n + i], expected[i])
                  << groups << " groups, row " << row << ", element " << first + i;
            ASSERT_EQ(panels[row * n + i], in_order[i])
                << groups << " groups, row " << row << ", position " << i;
          }
        }
        ASSERT_TRUE(natural.margins_are_untouched() && panels.margins_are_untouched());
      }
  isa().noise({1, 2, nullptr, nullptr});
}

TEST_P(Elementwise, NoiseIsSummedByPairAndTerm) {
  Random random(11);
  for (size_t pairs : {1, 2, 3, 5, 24})
    for (int terms : {1, 3, 4})
      for (size_t n : {64, 256, 65536}) {
        if (n > 256 && pairs * static_cast<size_t>(terms) > 4) continue;
        const size_t r = static_cast<size_t>(terms), stride = r * (n + 128);
        std::vector<int8_t> values =
            n > 256 ? std::vector<int8_t>(pairs * stride, -128) : many(random, pairs * stride, 127);
        Guarded<int32_t> sums(pairs * r);
        isa().sum_b({.b = values.data(), .stride = stride, .terms = terms}, pairs, n, sums.data());
        for (size_t at = 0; at < pairs * r; ++at) {
          const auto from = values.begin() + static_cast<ptrdiff_t>(at / r * stride + at % r * n);
          ASSERT_EQ(sums[at], std::accumulate(from, from + static_cast<ptrdiff_t>(n), 0));
        }
        ASSERT_TRUE(sums.margins_are_untouched());
      }
}

TEST_P(Elementwise, NoiseRowsComeTogetherInNaturalOrderTimesTheirDifferences) {
  Random random(6);
  for (size_t n : {64, 192, 256})
    for (uint8_t flip : {0, 0x80}) {
      std::vector<std::vector<int8_t>> natural, stored;
      const int8_t* src[4];
      for (int q = 0; q < 4; ++q) natural.push_back(many(random, n, kNoiseMax));
      for (const auto& row : natural) stored.push_back(GetParam().in_panel_order(row));
      for (int q = 0; q < 4; ++q) src[q] = stored[q].data();
      for (int c = 0; c < 625; ++c) {
        const int8_t d[4] = {static_cast<int8_t>(c % 5 - 2), static_cast<int8_t>(c / 5 % 5 - 2),
                             static_cast<int8_t>(c / 25 % 5 - 2), static_cast<int8_t>(c / 125 - 2)};
        const size_t stride = 4 * kPanel + 64;  // of groups, with a gap
        Guarded<int8_t> dst(n / kPanel * stride);
        const int8_t gap = dst[4 * kPanel];
        isa().interleave(src, d, n, flip, dst.data(), stride);
        for (size_t i = 0; i < n; ++i)
          for (int q = 0; q < 4; ++q)
            ASSERT_EQ(static_cast<int8_t>(dst[i / kPanel * stride + 4 * (i % kPanel) + q] ^ flip),
                      d[q] * natural[q][i]);
        for (size_t g = 0; g < n / kPanel; ++g)
          for (size_t i = 4 * kPanel; i < stride; ++i) ASSERT_EQ(dst[g * stride + i], gap);
        ASSERT_TRUE(dst.margins_are_untouched());
      }
    }
}

TEST_P(Elementwise, VectorSumsAreExactAtTheEndOfTheirType) {
  constexpr size_t n = 128;
  for (int d : {-2, -1, 0, 1, 2}) {
    std::vector<int8_t> v(2 * n, kNoiseMax);
    const int32_t before = d < 0 ? INT32_MIN + 8000 : INT32_MAX - 8000;
    Guarded<int32_t> z(n);
    std::fill_n(z.data(), n, before);
    isa().outer_vector(v.data(), d, n, z.data());
    for (size_t i = 0; i < n; ++i) ASSERT_EQ(z[i], before + d * kNoiseMax * kNoiseMax);
    EXPECT_TRUE(z.margins_are_untouched());
  }
}

TEST_P(Elementwise, SumsOfOneFactorAndOfTwoTakeAnyUtility) {
  Random random(12);
  for (size_t n : {64, 192})
    for (int d : {-1562, -625, -3, 0, 1, 2, 313, 1562}) {
      const std::vector<int8_t> v = many(random, 2 * n, kNoiseMax);
      Guarded<int32_t> of_one(n), of_two(n);
      for (size_t i = 0; i < n; ++i) of_one[i] = of_two[i] = static_cast<int32_t>(1000 * i) - 7;
      isa().add_full(v.data(), d, n, of_one.data());
      isa().outer_vector(v.data(), d, n, of_two.data());
      for (size_t i = 0; i < n; ++i) {
        const int32_t before = static_cast<int32_t>(1000 * i) - 7;
        ASSERT_EQ(of_one[i], before + d * v[i]);
        ASSERT_EQ(of_two[i], before + d * v[i] * v[n + i]);
      }
      ASSERT_TRUE(of_one.margins_are_untouched() && of_two.margins_are_untouched());
    }
}

// Thresholds follow the population's sum of squares, so one generation's can be far below that of
// the generation before, and an accumulator then holds many of them.
TEST_P(Elementwise, EvidenceAboveAShrunkenThresholdMovesByAllItsWholeThresholds) {
  for (int32_t threshold : {1, 7, 1000, 1 << 20})
    for (int32_t kept : {0, 1, 3, 4, 5, 9, 50, 300}) {
      constexpr size_t n = 300;
      Guarded<int32_t> accumulators(n);
      Guarded<int8_t> parameters(n);
      std::vector<int32_t> z(n);
      for (size_t i = 0; i < n; ++i) {
        accumulators[i] = (i % 2 == 0 ? 1 : -1) * (kept * threshold + threshold / 2);
        parameters[i] = static_cast<int8_t>(static_cast<int>(i % 255) - 127);
        z[i] = static_cast<int32_t>(i % 5) - 2;
      }
      isa().step_sigma_delta(z.data(), threshold, n, accumulators.data(), parameters.data());
      for (size_t i = 0; i < n; ++i) {
        const int64_t evidence =
            int64_t{i % 2 == 0 ? 1 : -1} * (int64_t{kept} * threshold + threshold / 2) + z[i];
        const int64_t moves = evidence / threshold;
        ASSERT_EQ(accumulators[i], evidence - moves * threshold)
            << "threshold " << threshold << ", kept " << kept;
        ASSERT_EQ(parameters[i], clip8(static_cast<int64_t>(i % 255) - 127 + moves));
      }
      EXPECT_TRUE(accumulators.margins_are_untouched() && parameters.margins_are_untouched());
    }
}

}  // namespace
}  // namespace eggroll::cpu
