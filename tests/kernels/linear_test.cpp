// The perturbed product of each instruction set table, at the largest sums there can be, against
// int64 written out.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "tests/support/isa_tables.hpp"

namespace eggroll::cpu {
namespace {

using test::BeforeAHole;
using test::Guarded;
using test::isa_tables;
using test::IsaTable;
using Random = std::mt19937_64;

// Blocks of rows of every table, two tiles of AMX, one more, and a pair.
constexpr int kMostRows = 50;

// How inputs, weights and noise are chosen; their signs decide what cancels.
enum class Fill {
  aligned,     // every product has the same sign: the largest sums of each kind, both positive
  opposed,     // the product positive, the perturbation negative
  sweep,       // output o: the first o / 63 of the products positive, the others negative
  cancelling,  // the product adds up to nearly nothing, the perturbation to its largest
  signs,       // largest values, random signs
  random,      // anything
};
constexpr Fill kFills[] = {Fill::aligned,    Fill::opposed, Fill::sweep,
                           Fill::cancelling, Fill::signs,   Fill::random};

struct Shape {
  size_t in;
  size_t out;
  int terms;  // of the noise; 0: none
  size_t rows = kMostRows;
};

// A product with the sums that every rounding and shift shares, so that they are made only once.
struct Problem {
  Shape shape;
  std::vector<int8_t> x, w, a, b;  // natural order
  std::vector<int64_t> product;    // [rows, out]
  std::vector<int64_t> projected;  // [rows, terms], with the member's sign
};

int8_t flipped(int8_t value, uint8_t flip) {
  return static_cast<int8_t>(static_cast<uint8_t>(value) ^ flip);
}

Problem make_problem(const Shape& shape, Fill fill, Random& random) {
  const size_t n = shape.in, terms = static_cast<size_t>(shape.terms), pairs = shape.rows / 2;
  const auto sign = [&] { return random() % 2 == 0 ? 1 : -1; };
  const auto any = [&](int largest) {
    return static_cast<int>(random() % (2 * static_cast<unsigned>(largest) + 1)) - largest;
  };
  // Members see inputs of one sign each, the second of a pair the opposite: with their opposite
  // perturbations they add up alike.
  const auto row_sign = [](size_t row) { return row % 2 == 0 ? 1 : -1; };
  Problem p{.shape = shape,
            .x = std::vector<int8_t>(shape.rows * n),
            .w = std::vector<int8_t>(shape.out * n),
            .a = std::vector<int8_t>(pairs * terms * shape.out),
            .b = std::vector<int8_t>(pairs * terms * n),
            .product = {},
            .projected = {}};
  for (size_t row = 0; row < shape.rows; ++row)
    for (size_t i = 0; i < n; ++i)
      p.x[row * n + i] = static_cast<int8_t>(fill == Fill::random  ? any(127)
                                             : fill == Fill::signs ? 127 * sign()
                                                                   : 127 * row_sign(row));
  for (size_t o = 0; o < shape.out; ++o)
    for (size_t i = 0; i < n; ++i) {
      int value = 127;
      if (fill == Fill::sweep && i * 63 >= n * (o % 64)) value = -127;
      if (fill == Fill::cancelling) value = i + o % 5 < n / 2 ? 127 : -127;
      if (fill == Fill::signs) value = 127 * sign();
      if (fill == Fill::random) value = any(127);
      p.w[o * n + i] = static_cast<int8_t>(value);
    }
  const auto noise = [&](std::vector<int8_t>& values, int largest) {
    for (int8_t& v : values)
      v = static_cast<int8_t>(fill == Fill::random  ? any(kNoiseMax)
                              : fill == Fill::signs ? largest * sign()
                                                    : largest);
  };
  noise(p.a, fill == Fill::opposed ? -kNoiseMax : kNoiseMax);
  noise(p.b, kNoiseMax);

  p.product.resize(shape.rows * shape.out);
  for (size_t row = 0; row < shape.rows; ++row)
    for (size_t o = 0; o < shape.out; ++o) {
      int64_t sum = 0;
      for (size_t i = 0; i < n; ++i) sum += int64_t{p.x[row * n + i]} * p.w[o * n + i];
      p.product[row * shape.out + o] = sum;
    }
  p.projected.resize(shape.rows * terms);
  for (size_t row = 0; row < shape.rows; ++row)
    for (size_t q = 0; q < terms; ++q) {
      int64_t sum = 0;
      for (size_t i = 0; i < n; ++i)
        sum += int64_t{p.x[row * n + i]} * p.b[(row / 2 * terms + q) * n + i];
      p.projected[row * terms + q] = row % 2 == 0 ? sum : -sum;
    }
  return p;
}

int64_t floor_of(int64_t numerator, int shift) {
  const int64_t divisor = int64_t{1} << shift;
  return numerator / divisor - (numerator % divisor < 0 ? 1 : 0);
}

int64_t rounded(int64_t value, const PerturbationScale& how) {
  if (how.rounding == Rounding::floor) return floor_of(value, how.shift);
  const int64_t half = int64_t{1} << (how.shift - 1);  // ties away from zero
  const int64_t magnitude = floor_of((value < 0 ? -value : value) + half, how.shift);
  return value < 0 ? -magnitude : magnitude;
}

int64_t expected_output(const Problem& p, const PerturbationScale& how, int shift, size_t row,
                        size_t o) {
  const size_t terms = static_cast<size_t>(p.shape.terms);
  int64_t perturbation = 0;
  for (size_t q = 0; q < terms; ++q)
    perturbation += p.projected[row * terms + q] * p.a[(row / 2 * terms + q) * p.shape.out + o];
  const int64_t sum =
      p.product[row * p.shape.out + o] + (terms == 0 ? 0 : rounded(perturbation, how));
  EXPECT_LE(std::abs(sum), INT32_MAX) << "outside the contract";
  return std::clamp<int64_t>(floor_of(sum, shift), -127, 127);
}

// Packed by the table itself, with margins around what it writes.
struct Packed {
  Guarded<int8_t> panels;
  Guarded<int32_t> compensation;

  Packed(const IsaTable& table, const Problem& p) : panels(p.w.size()), compensation(p.shape.out) {
    table.isa->pack(p.w.data(), p.shape.out, p.shape.in, panels.data(), compensation.data());
    EXPECT_TRUE(panels.margins_are_untouched() && compensation.margins_are_untouched());
  }
};

// What a call reads of a problem, as it wants it.
struct Operands {
  std::vector<uint8_t> x;
  std::vector<int8_t> noise;  // of each pair, B and then A
  std::vector<int32_t> b_sum;

  explicit Operands(const Problem& p) {
    const size_t in = p.shape.in, out = p.shape.out, terms = static_cast<size_t>(p.shape.terms);
    for (const int8_t value : p.x) x.push_back(static_cast<uint8_t>(flipped(value, 0x80)));
    for (size_t row = 0; row < p.b.size() / in; ++row)
      b_sum.push_back(std::accumulate(p.b.begin() + row * in, p.b.begin() + (row + 1) * in, 0));
    const size_t pairs = p.b.size() / std::max<size_t>(in * terms, 1);
    for (size_t pair = 0; pair < pairs; ++pair) {
      noise.insert(noise.end(), p.b.begin() + pair * terms * in,
                   p.b.begin() + (pair + 1) * terms * in);
      noise.insert(noise.end(), p.a.begin() + pair * terms * out,
                   p.a.begin() + (pair + 1) * terms * out);
    }
  }
};

struct Run {
  int rows;
  int shift;
  PerturbationScale perturbation;
  uint8_t flip;
};

void expect_products(const IsaTable& table, const Problem& p, const Operands& operands,
                     Packed& packed, const Run& run, NoiseRows* meanwhile = nullptr) {
  const auto [in, out, terms, most_rows] = p.shape;
  ASSERT_LE(static_cast<size_t>(run.rows), most_rows);
  const BeforeAHole<uint8_t> x(std::span(operands.x).first(static_cast<size_t>(run.rows) * in));
  Guarded<int8_t> y(static_cast<size_t>(run.rows) * out);
  Guarded<int32_t> projection(static_cast<size_t>(run.rows * std::max(terms, 2)));
  table.isa->linear({.x = x.data(),
                     .rows = run.rows,
                     .w = {packed.panels.data(), packed.compensation.data(), out, in},
                     .shift = run.shift,
                     .noise = {operands.noise.data() + terms * in, operands.noise.data(),
                               terms * (in + out), operands.b_sum.data(), terms},
                     .perturbation = run.perturbation,
                     .projection = projection.data(),
                     .meanwhile = meanwhile,
                     .flip = run.flip,
                     .y = y.data()});
  size_t wrong = 0;
  for (size_t row = 0; row < static_cast<size_t>(run.rows); ++row)
    for (size_t o = 0; o < out; ++o) {
      const int64_t expected = expected_output(p, run.perturbation, run.shift, row, o);
      const int8_t got = flipped(y[row * out + o], run.flip);
      if (got != expected && wrong++ == 0)
        ADD_FAILURE() << table.isa->name << ": row " << row << " output " << o << " is " << int{got}
                      << ", should be " << expected << " (n " << in << ", out " << out << ", terms "
                      << terms << ", rows " << run.rows << ", shift " << run.shift
                      << ", perturbation shift " << run.perturbation.shift << ")";
    }
  EXPECT_EQ(wrong, 0u);
  EXPECT_TRUE(y.margins_are_untouched()) << table.isa->name;
  EXPECT_TRUE(projection.margins_are_untouched()) << table.isa->name;
}

int log2_of(size_t power_of_two) {
  int e = 0;
  while ((size_t{1} << e) < power_of_two) ++e;
  return e;
}

// Accumulator and perturbation fit an int32 together.
bool fits_contract(const Shape& shape, int perturbation_shift) {
  const int64_t product = int64_t{127} * 127 * static_cast<int64_t>(shape.in);
  const int64_t noise = int64_t{127} * kNoiseMax * kNoiseMax * static_cast<int64_t>(shape.in);
  return product + ((noise * shape.terms) >> perturbation_shift) + 1 <= INT32_MAX;
}

// Both scales: that of the model, and one at which even the largest sum is not clipped.
void expect_every_rounding(Shape shape, const std::vector<int>& rows, uint64_t seed) {
  shape.rows = static_cast<size_t>((rows.back() + 1) / 2 * 2);
  Random random(seed);
  for (Fill fill : kFills) {
    SCOPED_TRACE(testing::Message() << "fill " << static_cast<int>(fill));
    const Problem p = make_problem(shape, fill, random);
    const Operands operands(p);
    for (const IsaTable& table : isa_tables()) {
      Packed packed(table, p);
      for (int shift : {4 + log2_of(shape.in) / 2, 8 + log2_of(shape.in)})
        for (int sigma_shift : {1, 4, 8}) {
          const int perturbation_shift =
              4 + sigma_shift + log2_of(static_cast<size_t>(shape.terms)) / 2;
          if (shape.terms == 0 && sigma_shift != 4) continue;
          if (!fits_contract(shape, perturbation_shift)) continue;
          for (Rounding rounding : {Rounding::nearest, Rounding::floor})
            for (int count : rows) {
              // Wide products take long, and only tiles need so many rows.
              if (count > 16 && shape.in > 1024 && !table.has_tiles) continue;
              expect_products(table, p, operands, packed,
                              {count,
                               shift,
                               {perturbation_shift, rounding},
                               (count + sigma_shift) % 2 == 0 ? uint8_t{0} : uint8_t{0x80}});
            }
        }
    }
  }
}

class Linear : public testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(Inputs, Linear, testing::Values(64, 256, 1024, 4096, 16384, 65536),
                         [](const auto& info) {
                           return std::string("n").append(std::to_string(info.param));
                         });

TEST_P(Linear, PlainProductsAreExactForAnyNumberOfRows) {
  std::vector<int> rows(13);
  std::iota(rows.begin(), rows.end(), 1);
  rows.push_back(18);
  if (GetParam() > 4096) rows = {1, 5, 13, 18};
  if (GetParam() <= 1024) rows.insert(rows.end(), {31, 32, 35, 48, kMostRows});
  expect_every_rounding({GetParam(), 64, 0}, rows, 1);
}

TEST_P(Linear, PerturbedProductsAreExactForEveryRank) {
  std::vector<int> rows = {2, 4, 6, 8, 10, 12, 14, 18};
  if (GetParam() > 4096) rows = {2, 14, 18};
  if (GetParam() <= 1024) rows.insert(rows.end(), {32, 36, 48, kMostRows});
  for (int terms : {1, 4, 16}) {
    if (terms == 16 && GetParam() > 16384) continue;  // wider than any tensor; see fits_contract
    SCOPED_TRACE(testing::Message() << terms << " terms");
    expect_every_rounding({GetParam(), 64, terms}, rows, 2);
  }
}

TEST(LinearPanels, OddNumbersOfPanelsAreInPlace) {
  for (size_t out : {64, 192, 320})
    for (int terms : {0, 1, 4})
      expect_every_rounding({64, out, terms}, {2, 6, 8, 12, kMostRows}, 3);
}

TEST(LinearPanels, EveryOutputHasItsOwnPlace) {
  // One output a panel is large: a value in a wrong place shows.
  Random random(4);
  Problem p = make_problem({256, 192, 0}, Fill::random, random);
  for (size_t o = 0; o < 192; ++o)
    std::fill_n(p.w.begin() + o * 256, 256, static_cast<int8_t>(o % 64 == 17 ? 127 : 0));
  for (size_t row = 0; row < kMostRows; ++row)
    for (size_t o = 0; o < 192; ++o)
      p.product[row * 192 + o] =
          o % 64 == 17 ? 127 * std::accumulate(p.x.begin() + row * 256,
                                               p.x.begin() + (row + 1) * 256, int64_t{0})
                       : 0;
  const Operands operands(p);
  for (const IsaTable& table : isa_tables()) {
    Packed packed(table, p);
    for (int rows : {13, kMostRows}) expect_products(table, p, operands, packed, {rows, 8, {}, 0});
  }
}

// Noise for other products, from none to more than a product has room for, in rows of many lengths
// of which the first may be there in part: what is made is the law, the rest is not touched.
TEST(LinearMeanwhile, NoiseIsMadeBesideAProduct) {
  Random random(12);
  for (const Shape shape : {Shape{64, 128, 1}, Shape{256, 192, 1}, Shape{128, 320, 2}}) {
    const Problem p = make_problem(shape, Fill::random, random);
    const Operands operands(p);
    for (const IsaTable& table : isa_tables()) {
      bool some = false, all = false;
      Packed packed(table, p);
      for (int rows : {2, 4, 6, 8, 10, 12, 14, 48, kMostRows})
        for (size_t count : {0, 1, 2, 7, 40}) {
          std::vector<NoiseRow> noise;
          size_t elements = 0;
          for (size_t k = 0; k < count; ++k) {
            noise.push_back({static_cast<uint32_t>(random()), static_cast<uint32_t>(random()),
                             static_cast<uint32_t>(random() % 9 * kPanel),
                             static_cast<uint32_t>((1 + random() % 20) * kPanel)});
            elements += noise.back().count;
          }
          Guarded<int8_t> values(elements);
          elements = 0;
          for (NoiseRow& row : noise) {
            row.out = values.data() + elements;
            elements += row.count;
          }
          const uint32_t there =
              count % 2 == 0 ? 0
                             : static_cast<uint32_t>(random() % (noise[0].count / kPanel) * kPanel);
          NoiseRows left{random(), 3, noise.data(), noise.data() + count, there};
          expect_products(table, p, operands, packed, {rows, 8, {8, Rounding::nearest}, 0x80},
                          &left);
          size_t at = 0;
          for (const NoiseRow& row : noise)
            for (uint32_t i = 0; i < row.count; ++i, ++at) {
              const bool is_due = &row != noise.data() || i >= there;
              const bool made =
                  is_due && (&row < left.next || (&row == left.next && i < left.made));
              const int8_t expected =
                  made ? noise_element({left.seed, 3, row.tensor, row.pair}, row.first + i) : 0x5A;
              ASSERT_EQ(values[at], expected) << table.isa->name << ", rows " << rows << ", row "
                                              << &row - noise.data() << ", element " << i;
            }
          ASSERT_TRUE(values.margins_are_untouched());
          some |= left.next != noise.data() && left.next != left.end;
          all |= count > 0 && left.next == left.end;
        }
      const bool makes_noise = table.makes_noise && shape.terms == 1;
      EXPECT_EQ(some, makes_noise) << table.isa->name;
      EXPECT_EQ(all, makes_noise) << table.isa->name;
    }
  }
}

// Every element of A with projections of every size that is not clipped, and nothing else in the
// sum: a perturbation rounded wrongly at one place of a few thousand shows.
TEST(LinearPerturbation, IsRoundedRightAtEveryBit) {
  constexpr size_t n = 64, out = 128;
  Random random(9);
  const auto element = [](size_t o) {
    return std::clamp(static_cast<int>(o) - 64, -kNoiseMax, kNoiseMax);
  };
  for (int bit = 1; bit <= 12; ++bit)
    for (int attempt = 0; attempt < 60; ++attempt) {
      Problem p{.shape = {n, out, 1},
                .x = std::vector<int8_t>(kMostRows * n),
                .w = std::vector<int8_t>(out * n, 0),
                .a = {},
                .b = std::vector<int8_t>(kMostRows / 2 * n, 1),
                .product = std::vector<int64_t>(kMostRows * out, 0),
                .projected = {}};
      for (int pair = 0; pair < kMostRows / 2; ++pair)
        for (size_t o = 0; o < out; ++o) p.a.push_back(static_cast<int8_t>(element(o)));
      for (int row = 0; row < kMostRows; ++row) {
        const int largest = std::min(64 * 127, 2 << bit);
        const int sum =
            static_cast<int>(random() % (2 * static_cast<unsigned>(largest) + 1)) - largest;
        p.projected.push_back(row % 2 == 0 ? sum : -sum);
        for (int rest = sum, i = 0; i < static_cast<int>(n); ++i) {
          const int x = std::clamp(rest, -127, 127);
          p.x[static_cast<size_t>(row) * n + static_cast<size_t>(i)] = static_cast<int8_t>(x);
          rest -= x;
        }
      }
      const Operands operands(p);
      for (const IsaTable& table : isa_tables()) {
        Packed packed(table, p);
        for (Rounding rounding : {Rounding::nearest, Rounding::floor})
          expect_products(table, p, operands, packed, {kMostRows, 0, {bit, rounding}, 0});
      }
    }
}

}  // namespace
}  // namespace eggroll::cpu
