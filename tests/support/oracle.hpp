// The integer recurrent model, its perturbation and its update, written to be believed: one scalar
// at a time, int64 throughout, every formula as docs/model.md has it. Devices are tested against this;
// it shares nothing with them but the noise and the layout of the parameters.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "common/layout.hpp"
#include "common/noise.hpp"
#include "common/rules.hpp"
#include "kernels/int_rnn.hpp"
#include "kernels/learner.hpp"

namespace eggroll::oracle {

using Vector = std::vector<int64_t>;

// Integer pieces.
int64_t clip8(int64_t value);                            // to -127 ... 127
int64_t floor_div(int64_t numerator, int64_t positive);  // rounds towards minus infinity
int64_t isqrt(int64_t value);                            // floor of the square root
// The perturbation sign * value / 2^shift on the grid of the weights. nearest: ties away from zero,
// then the sign (a pair is exactly antithetic); floor: arithmetic shift of the signed value.
int64_t round_perturbation(int64_t value, int sign, int shift, Rounding rounding);

// Scores.
int64_t exp2_16(int64_t y);                                // floor(16 * 2^(y / 16)), y in 0 ... 255
int64_t log2_16(int64_t sum);                              // floor(16 * log2(sum / 16)), sum >= 16
int64_t byte_score(const Vector& logits, uint8_t target);  // 1/16 bit, <= 0
double byte_loss(const Vector& logits, uint8_t target);    // exact, bits

// Whom a model is: member 2 j + k of the population adds +noise (k = 0) or -noise (k = 1); sign 0
// is the unperturbed model.
struct Perturbation {
  uint32_t noise_epoch = 0;
  uint32_t pair = 0;
  int sign = 0;
};

class Model {
 public:
  Model(const IntRnnSettings& settings, std::span<const int8_t> parameters,
        Perturbation perturbation = {});

  // One step: state (layers * width) moves on, the logits of the next byte come back. Byte 0 resets
  // the state first.
  Vector next_logits(uint8_t token, Vector& state) const;

  // The parts, by tensor index in the layout.
  Vector embed(uint8_t token) const;
  Vector vector(size_t tensor) const;
  Vector matmul(size_t tensor, const Vector& u) const;
  static Vector layer_norm(const Vector& u, const Vector& weight);
  Vector gru(uint32_t layer, const Vector& x, const Vector& h) const;  // output = new state
  Vector layer(uint32_t layer, Vector x, Vector& h) const;

 private:
  size_t tensor_of(uint32_t layer, const char* name) const;

  IntRnnSettings settings_;
  ParameterLayout layout_;
  std::vector<int8_t> parameters_;
  Perturbation perturbation_;
  std::vector<Vector> noise_;  // of each tensor, in element order; empty where unperturbed
};

// All noise elements of one tensor and pair: r terms of B, then r terms of A; of a vector the two
// factors; of full noise one for each weight. Where runs are filled up to multiples of 64, with that.
Vector tensor_noise(const TensorSpec& tensor, int noise_rank, const NoiseAddress& at);

// Byte i of a sequence's segment, 0 <= i <= tokens.
uint8_t segment_byte(const Segments& segments, uint64_t sequence, uint64_t i);

// Runs one member of the population over its segment from `state`, which moves on; the sum of its
// scores.
int64_t evaluate_member(const IntRnnSettings& settings, std::span<const int8_t> parameters,
                        const Evaluation& evaluation, uint64_t member, Vector& state);

// Both members of a pair with the carry of the settings. slots: 2 states (own), 1 (pair), 0 (reset).
struct PairScores {
  int64_t plus;
  int64_t minus;
};
PairScores evaluate_pair(const IntRnnSettings& settings, std::span<const int8_t> parameters,
                         const Evaluation& evaluation, uint64_t pair, std::vector<Vector>& slots);

// Z of all that is trained: sum over pairs of d_j E_j in elements of noise.
Vector reconstruct(const LearnerSettings& settings, const Utilities& utilities);

// The thresholds of the rules that move integer weights, by what moves them.
struct Thresholds {
  int64_t low_rank = 1;
  int64_t product = 1;
  int64_t full = 1;

  int64_t of(Noise noise) const {
    return noise == Noise::low_rank ? low_rank : noise == Noise::product ? product : full;
  }
};
StepNumbers numbers_of(const Thresholds& thresholds);

// One step of all that is trained, by the rule threshold or sigma-delta; how many parameters changed.
// Accumulators belong to sigma-delta.
uint64_t step(const LearnerSettings& settings, const Thresholds& thresholds, const Vector& z,
              std::vector<int8_t>& parameters, std::vector<int32_t>& accumulators);

struct TextScores {
  int64_t score_sum = 0;
  double loss = 0;  // bits
  uint64_t tokens = 0;
};
TextScores score_streams(const IntRnnSettings& settings, std::span<const int8_t> parameters,
                         std::span<const uint8_t> text, uint64_t streams, uint64_t first,
                         uint64_t count);

// Inputs worth testing with.
using Random = std::mt19937_64;
// extreme: each row of a tensor all 127 or all -127, the largest sums there are.
// quiet: most of the embedding is 0, so that the norm meets means below 1 and vectors of zeros.
enum class Start { initial, full_range, extreme, quiet };
std::vector<int8_t> start_parameters(const IntRnnShape& shape, Start start, Random& random);
std::vector<int8_t> random_states(size_t n, Random& random);  // -127 ... 127
std::vector<uint8_t> random_text(size_t n, Random& random);   // one byte in six ends a document
inline Vector widened(std::span<const int8_t> values) { return {values.begin(), values.end()}; }

}  // namespace eggroll::oracle
