// IntRnn: the integer recurrent language model EGG (arXiv 2511.16652, appendix G), fused: one call runs
// all tokens of many members, or of many streams of text. docs/model.md has the model and its
// perturbations as integers. A CPU and a CUDA twin give the same bits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/carried_states.hpp"
#include "common/layout.hpp"
#include "common/pair_source.hpp"
#include "common/rules.hpp"

namespace eggroll {

inline constexpr uint32_t kVocabulary = 256;

struct IntRnnShape {
  uint32_t layers = 6;
  uint32_t width = 256;  // a power of 4 from 64, so that every 1 / (16 sqrt(n)) is an exact shift

  bool operator==(const IntRnnShape&) const = default;
};

// All int8. Matrices first, then vectors: emb, head, layers.<i>.{Wf,Uf,Wh,Uh,W1,W2} for each i,
// layers.<i>.{bf,bh,ln1,ln2} for each i, ln_out.
ParameterLayout int_rnn_layout(const IntRnnShape& shape);

// Start values: matrices and embedding from the noise law at kInitialisationEpoch (standard deviation
// 16), biases 0, norm weights 16 (= 1.0).
std::vector<int8_t> int_rnn_initial_parameters(const IntRnnShape& shape, uint64_t seed);

struct IntRnnSettings {
  IntRnnShape shape;
  uint64_t seed = 0;
  int noise_rank = 1;   // r: 1, 4 or 16
  int sigma_shift = 4;  // sigma = 2^-sigma_shift
  Rounding rounding = Rounding::nearest;
  Carry carry = Carry::pair;
};

// Which bytes a member reads in a generation. Sequence q = member / group_size owns text[q * slice,
// (q + 1) * slice) and reads tokens + 1 bytes of it from `position` on, wrapping to the start of its
// own slice.
struct Segments {
  std::span<const uint8_t> text;
  uint64_t slice_bytes = 0;
  uint64_t position = 0;  // below slice_bytes
  uint32_t group_size = 2;
  uint32_t tokens = 0;
};

struct Evaluation {
  uint64_t generation = 0;  // its parity: which member of a pair hands on its state (Carry::pair)
  uint32_t noise_epoch = 0;
  Segments segments;
};

// Scores of text under the unperturbed model.
struct StreamScores {
  int64_t score_sum = 0;  // integer scores, 1/16 bit, <= 0
  int64_t loss_2e24 = 0;  // exact loss from the same integer logits, 2^-24 bit
  uint64_t tokens = 0;
};

// Its carried states: one slot of [layers, width] int8 for each member (own), pair (pair) or none
// (reset), in member order.
class IntRnn : public CarriedStates {
 public:
  // Runs the members of all pairs of the source over their segments; a fitness is the sum of a member's
  // scores, in 1/16 bit, and the tally's first count the sum of these. With carried states the source
  // has pairs that were assigned, and their states move on; of what was left because the source is
  // over, they are of no use.
  virtual void evaluate(const Evaluation& evaluation, PairSource& source) = 0;

  // Unperturbed model. Stream i of `streams` reads text[i * n, (i + 1) * n), n = text.size() / streams,
  // from a zero state and predicts n - 1 bytes. Scores the streams first ... first + count - 1.
  virtual StreamScores score_streams(std::span<const uint8_t> text, uint64_t streams,
                                     uint64_t first, uint64_t count) = 0;
  // One step of one sequence; state holds layers * width int8, logits 256.
  virtual void next_logits(uint8_t token, std::span<int8_t> state, std::span<int8_t> logits) = 0;
};

}  // namespace eggroll
