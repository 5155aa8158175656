// The forward pass of EGG for a block of members (perturbed) or streams (unperturbed), and what is
// built on it: a generation's scores, the loss of a text, the next byte. One thread runs one block
// from start to end with its own workspace.
#include "kernels/int_rnn.hpp"

#include <algorithm>
#include <array>
#include <mutex>

#include "common/check.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/fixed_point.hpp"

namespace eggroll::cpu {
namespace {

int log2_of(uint32_t power_of_two) { return 31 - __builtin_clz(power_of_two); }

// How many equal blocks, of at most so many each, keep every thread busy to the end.
uint64_t blocks_of(uint64_t count, uint64_t most, int threads) {
  const auto up_to_multiple = [](uint64_t n, uint64_t of) { return (n + of - 1) / of * of; };
  const uint64_t blocks = up_to_multiple(count, most) / most;
  return std::min(count, up_to_multiple(blocks, static_cast<uint64_t>(threads)));
}

double exact_sum(const int8_t* logits) {
  const std::array<double, 256>& exp2 = exact_exp2();
  double sums[4] = {};
  for (int k = 0; k < 256; ++k) sums[k & 3] += exp2[static_cast<uint8_t>(logits[k]) ^ 0x80];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

void CpuBackend::pack_weights() {
  if (packed_is_current_) return;
  packed_.resize(layout_.tensors().size());
  int8_t* panels = panels_.data();
  int32_t* compensation = compensations_.data();
  for (size_t t = 0; t < packed_.size(); ++t) {
    const TensorSpec& tensor = layout_[t];
    if (tensor.kind != TensorKind::matrix) continue;
    packed_[t] = {panels, compensation, tensor.rows, tensor.cols};
    panels += tensor.size();
    compensation += tensor.rows;
  }
  team_.for_each(packed_.size(), [&](int, uint64_t t) {
    const PackedMatrix& m = packed_[t];
    if (m.out != 0)
      isa_.pack(parameters_.data() + layout_[t].offset, m.out, m.in, const_cast<int8_t*>(m.panels),
                const_cast<int32_t*>(m.compensation));
  });
  packed_is_current_ = true;
}

// Of a matrix or the embedding, which has no b_sum.
BlockNoise CpuBackend::block_noise(const BlockWorkspace& w, size_t t) const {
  const TensorSpec& tensor = layout_[t];
  const int8_t* b = w.noise.data() + noise_offset_[t];
  return {.a = b + settings_.noise_rank * tensor.cols,
          .b = b,
          .stride = noise_elements(tensor, settings_.noise_rank),
          .b_sum = w.noise_sums.data() + noise_sum_offset_[t],
          .terms = settings_.noise_rank};
}

// The rows of all noise that a block needs. None of it is made here: products make some beside
// their own work, and finish_noise what is missing when a tensor is needed.
void CpuBackend::begin_noise(BlockWorkspace& w, uint32_t epoch, PairRange pairs) const {
  w.noise_rows.clear();
  for (const size_t t : order_of_use_) {
    const size_t count = noise_elements(layout_[t], settings_.noise_rank);
    for (uint64_t j = 0; j < pairs.count; ++j)
      w.noise_rows.push_back({.tensor = static_cast<uint32_t>(t),
                              .pair = static_cast<uint32_t>(pairs.first + j),
                              .count = static_cast<uint32_t>(count),
                              .out = w.noise.data() + noise_offset_[t] + j * count});
  }
  w.noise_left = {settings_.seed, epoch, w.noise_rows.data(),
                  w.noise_rows.data() + w.noise_rows.size()};
  w.tensors_ready = 0;
}

// Of the next tensor in the order of use.
void CpuBackend::finish_noise(BlockWorkspace& w, size_t t) const {
  require(order_of_use_[w.tensors_ready] == t, "tensors in the order of their use");
  const TensorSpec& tensor = layout_[t];
  const size_t pairs = w.noise_rows.size() / order_of_use_.size();
  const std::span<const NoiseRow> rows =
      std::span(w.noise_rows).subspan(w.tensors_ready * pairs, pairs);
  ++w.tensors_ready;
  const NoiseRow* end = rows.data() + rows.size();
  if (w.noise_left.next < end) {
    NoiseRows missing = w.noise_left;
    missing.end = end;
    isa_.noise(missing);
    w.noise_left.next = end;
    w.noise_left.made = 0;
  }
  if (tensor.kind == TensorKind::embedding) return;
  if (tensor.kind == TensorKind::matrix) {
    isa_.sum_b(block_noise(w, t), pairs, tensor.cols, w.noise_sums.data() + noise_sum_offset_[t]);
    return;
  }
  for (const NoiseRow& row : rows)
    isa_.perturb_vector(parameters_.data() + tensor.offset, tensor.rows, vector_perturbation(),
                        row.out);
}

void CpuBackend::embed(BlockWorkspace& w, int rows, const uint8_t* tokens, bool perturbed) const {
  const size_t width = settings_.shape.width;
  const int8_t* table = parameters_.data() + layout_[kEmbedding].offset;
  if (perturbed) need_noise(w, kEmbedding);
  const BlockNoise noise = block_noise(w, kEmbedding);
  for (int row = 0; row < rows; ++row) {
    const int8_t* from = table + tokens[row] * width;
    int8_t* to = w.x.data() + row * width;
    if (!perturbed) {
      std::copy_n(from, width, to);
      continue;
    }
    const size_t pair = row / 2 * noise.stride;
    int32_t signed_a[16];
    for (int q = 0; q < noise.terms; ++q) {
      const int32_t value = noise.a[pair + q * kVocabulary + tokens[row]];
      signed_a[q] = row & 1 ? -value : value;
    }
    isa_.embed(from, signed_a, noise.b + pair, noise.terms, width, matrix_perturbation(), to);
  }
}

void CpuBackend::linear(BlockWorkspace& w, size_t tensor, int rows, const uint8_t* x, int8_t* y,
                        uint8_t flip, bool perturbed) const {
  if (perturbed) need_noise(w, tensor);
  const PackedMatrix& m = packed_[tensor];
  isa_.linear({.x = x,
               .rows = rows,
               .w = m,
               .shift = kFractionBits + log2_sqrt(static_cast<uint32_t>(m.in)),
               .noise = perturbed ? block_noise(w, tensor) : BlockNoise{},
               .perturbation = matrix_perturbation(),
               .projection = w.projection.data(),
               .meanwhile = perturbed ? &w.noise_left : nullptr,
               .flip = flip,
               .y = y});
}

// A vector parameter as every row has it: rows stride elements apart.
CpuBackend::VectorRows CpuBackend::vector_rows(BlockWorkspace& w, size_t tensor,
                                               bool perturbed) const {
  if (!perturbed) return {parameters_.data() + layout_[tensor].offset, 0};
  need_noise(w, tensor);
  return {w.noise.data() + noise_offset_[tensor], settings_.shape.width};
}

// A zero byte as input starts a new document.
void CpuBackend::reset_rows_at_boundaries(BlockWorkspace& w, int rows,
                                          const uint8_t* tokens) const {
  const size_t width = settings_.shape.width;
  for (int row = 0; row < rows; ++row) {
    if (tokens[row] != 0) continue;
    for (uint32_t l = 0; l < settings_.shape.layers; ++l) {
      const size_t at = (l * block_rows_ + row) * width;
      std::fill_n(w.state.data() + at, width, int8_t{0});
      std::fill_n(w.state_u8.data() + at, width, uint8_t{0x80});
    }
  }
}

void CpuBackend::forward(BlockWorkspace& w, int rows, const uint8_t* tokens, bool perturbed) const {
  const IntRnnShape& shape = settings_.shape;
  const size_t width = shape.width;
  const int log2_width = log2_of(shape.width);
  const auto norm = [&](size_t tensor) {
    const VectorRows weights = vector_rows(w, tensor, perturbed);
    for (int row = 0; row < rows; ++row)
      isa_.layer_norm(w.x.data() + row * width, weights[row], width, log2_width,
                      w.normed.data() + row * width);
  };
  reset_rows_at_boundaries(w, rows, tokens);
  embed(w, rows, tokens, perturbed);
  for (uint32_t l = 0; l < shape.layers; ++l) {
    int8_t* h = w.state.data() + l * block_rows_ * width;
    uint8_t* h_u8 = w.state_u8.data() + l * block_rows_ * width;
    norm(vector_index(shape, l, kLn1));
    linear(w, matrix_index(l, kWf), rows, w.normed.data(), w.product_a.data(), 0, perturbed);
    linear(w, matrix_index(l, kUf), rows, h_u8, w.product_b.data(), 0, perturbed);
    const VectorRows forget_bias = vector_rows(w, vector_index(shape, l, kBf), perturbed);
    for (int row = 0; row < rows; ++row) {
      const size_t at = row * width;
      isa_.gru_forget(w.product_a.data() + at, w.product_b.data() + at, forget_bias[row], h + at,
                      width, w.forget.data() + at, w.gated.data() + at);
    }
    linear(w, matrix_index(l, kWh), rows, w.normed.data(), w.product_a.data(), 0, perturbed);
    linear(w, matrix_index(l, kUh), rows, w.gated.data(), w.product_b.data(), 0, perturbed);
    const VectorRows bias = vector_rows(w, vector_index(shape, l, kBh), perturbed);
    for (int row = 0; row < rows; ++row) {
      const size_t at = row * width;
      isa_.gru_update(w.product_a.data() + at, w.product_b.data() + at, bias[row],
                      w.forget.data() + at, width, h + at, h_u8 + at, w.x.data() + at);
    }
    norm(vector_index(shape, l, kLn2));
    linear(w, matrix_index(l, kW1), rows, w.normed.data(),
           reinterpret_cast<int8_t*>(w.hidden.data()), 0x80, perturbed);
    linear(w, matrix_index(l, kW2), rows, w.hidden.data(), w.product_a.data(), 0, perturbed);
    isa_.add_clip(w.product_a.data(), rows * width, w.x.data());
  }
  norm(out_norm_index(shape));
  linear(w, kHead, rows, w.normed.data(), w.logits.data(), 0, perturbed);
}

// ---- a generation
// -------------------------------------------------------------------------------------------------

void CpuBackend::load_states(BlockWorkspace& w, PairRange pairs) const {
  const size_t width = settings_.shape.width;
  for (uint32_t l = 0; l < settings_.shape.layers; ++l)
    for (uint64_t row = 0; row < 2 * pairs.count; ++row) {
      int8_t* to = w.state.data() + (l * block_rows_ + row) * width;
      uint8_t* to_u8 = w.state_u8.data() + (l * block_rows_ + row) * width;
      const uint64_t slot =
          (2 * (pairs.first - pairs_.first) + row) * state_slots_per_pair(settings_.carry) / 2;
      if (settings_.carry == Carry::reset)
        std::fill_n(to, width, int8_t{0});
      else
        std::copy_n(states_.data() + slot * slot_bytes() + l * width, width, to);
      for (size_t i = 0; i < width; ++i) to_u8[i] = static_cast<uint8_t>(to[i]) ^ 0x80;
    }
}

void CpuBackend::save_states(const BlockWorkspace& w, PairRange pairs, uint64_t generation) {
  if (settings_.carry == Carry::reset) return;
  const size_t width = settings_.shape.width;
  for (uint64_t row = 0; row < 2 * pairs.count; ++row) {
    if (settings_.carry == Carry::pair && row % 2 != generation % 2) continue;
    const uint64_t slot =
        (2 * (pairs.first - pairs_.first) + row) * state_slots_per_pair(settings_.carry) / 2;
    for (uint32_t l = 0; l < settings_.shape.layers; ++l)
      std::copy_n(w.state.data() + (l * block_rows_ + row) * width, width,
                  states_.data() + slot * slot_bytes() + l * width);
  }
}

// False where it was given up on the way.
bool CpuBackend::evaluate_block(BlockWorkspace& w, const Evaluation& e, PairRange pairs,
                                int32_t* score) {
  const int rows = static_cast<int>(2 * pairs.count);
  begin_noise(w, e.noise_epoch, pairs);
  load_states(w, pairs);
  const Segments& s = e.segments;
  const uint8_t* slice[2 * kMostBlockPairs];
  for (int row = 0; row < rows; ++row) {
    slice[row] = s.text.data() + (2 * pairs.first + row) / s.group_size * s.slice_bytes;
    score[row] = 0;
  }
  uint64_t position = s.position;
  uint8_t tokens[2 * kMostBlockPairs];
  for (uint32_t k = 0; k < s.tokens; ++k) {
    const uint64_t next = position + 1 == s.slice_bytes ? 0 : position + 1;
    if (e.give_up && e.give_up()) return false;
    for (int row = 0; row < rows; ++row) tokens[row] = slice[row][position];
    forward(w, rows, tokens, true);
    for (int row = 0; row < rows; ++row) {
      const int8_t* logits = w.logits.data() + row * kVocabulary;
      score[row] += logits[slice[row][next]] + 128 - log2_fixed(isa_.exp2_sum(logits));
    }
    position = next;
  }
  save_states(w, pairs, e.generation);
  return true;
}

void CpuBackend::evaluate(const Evaluation& evaluation, std::span<int32_t> score) {
  require(score.size() == 2 * pairs_.count, "one score for each assigned member");
  require(reads_text(evaluation.segments, pairs_), kReadsText);
  pack_weights();
  const uint64_t step =
      pairs_.count < isa_.block_step * static_cast<uint64_t>(team_.size()) ? 1 : isa_.block_step;
  const uint64_t steps = (pairs_.count + step - 1) / step;
  const uint64_t blocks = blocks_of(steps, isa_.block_pairs / step, team_.size());
  team_.for_each(blocks, [&](int thread, uint64_t block) {
    if (evaluation.give_up && evaluation.give_up()) return;
    const uint64_t first = step * (steps * block / blocks);
    const uint64_t end = std::min(pairs_.count, step * (steps * (block + 1) / blocks));
    evaluate_block(block_workspaces_[thread], evaluation, {pairs_.first + first, end - first},
                   score.data() + 2 * first);
  });
}

// Tiles that follow each other are one block, as many as it has room for.
void CpuBackend::evaluate_tiles(const Evaluation& evaluation, TileSource& tiles) {
  require(settings_.carry == Carry::reset, "members that carry no state");
  pack_weights();
  const size_t at_most = std::max<size_t>(1, isa_.block_pairs / kTilePairs);
  team_.run([&](int thread) {
    try {
      std::array<int32_t, 2 * kMostBlockPairs> score;
      for (;;) {
        const std::vector<PairRange> taken = tiles.take(at_most);
        if (taken.empty()) return;
        for (auto tile = taken.begin(); tile != taken.end();) {
          const auto first = tile;
          PairRange block{first->first, 0};
          for (; tile != taken.end() && tile->first == block.end(); ++tile) {
            require(tile->count <= kTilePairs, "the pairs of one tile");
            block.count += tile->count;
          }
          require(reads_text(evaluation.segments, block), kReadsText);
          if (!evaluate_block(block_workspaces_[thread], evaluation, block, score.data())) continue;
          for (auto done = first; done != tile; ++done)
            tiles.finish(
                *done, std::span(score).subspan(2 * (done->first - block.first), 2 * done->count));
        }
      }
    } catch (...) {
      tiles.close();  // the others would wait for what this thread does no more
      throw;
    }
  });
}

// ---- the unperturbed model
// ----------------------------------------------------------------------------------------

StreamScores CpuBackend::score_stream_block(BlockWorkspace& w, std::span<const uint8_t> text,
                                            uint64_t length, uint64_t first, int rows) const {
  std::fill_n(w.state.data(), w.state.size(), int8_t{0});
  std::fill_n(w.state_u8.data(), w.state_u8.size(), uint8_t{0x80});
  StreamScores sum;
  uint8_t tokens[2 * kMostBlockPairs];
  for (uint64_t k = 0; k + 1 < length; ++k) {
    for (int row = 0; row < rows; ++row) tokens[row] = text[(first + row) * length + k];
    forward(w, rows, tokens, false);
    for (int row = 0; row < rows; ++row) {
      const uint8_t target = text[(first + row) * length + k + 1];
      const int8_t* logits = w.logits.data() + row * kVocabulary;
      sum.score_sum += logits[target] + 128 - log2_fixed(isa_.exp2_sum(logits));
      sum.loss_2e24 += loss_2e24(exact_sum(logits), logits[target]);
    }
    sum.tokens += rows;
  }
  return sum;
}

StreamScores CpuBackend::score_streams(std::span<const uint8_t> text, uint64_t streams,
                                       uint64_t first, uint64_t count) {
  require(streams > 0 && first + count <= streams, "streams of the text");
  pack_weights();
  const uint64_t length = text.size() / streams;
  const uint64_t blocks = blocks_of(count, block_rows_, team_.size());
  StreamScores sum;
  std::mutex mutex;
  team_.for_each(blocks, [&](int thread, uint64_t block) {
    const uint64_t begin = count * block / blocks;
    const StreamScores part =
        score_stream_block(block_workspaces_[thread], text, length, first + begin,
                           static_cast<int>(count * (block + 1) / blocks - begin));
    const std::lock_guard lock(mutex);
    sum.score_sum += part.score_sum;
    sum.loss_2e24 += part.loss_2e24;
    sum.tokens += part.tokens;
  });
  return sum;
}

void CpuBackend::next_logits(uint8_t token, std::span<int8_t> state, std::span<int8_t> logits) {
  require(state.size() == slot_bytes() && logits.size() == kVocabulary, "one state and 256 logits");
  pack_weights();
  BlockWorkspace& w = block_workspaces_[0];
  const size_t width = settings_.shape.width;
  for (uint32_t l = 0; l < settings_.shape.layers; ++l)
    for (size_t i = 0; i < width; ++i) {
      w.state.data()[l * block_rows_ * width + i] = state[l * width + i];
      w.state_u8.data()[l * block_rows_ * width + i] =
          static_cast<uint8_t>(state[l * width + i]) ^ 0x80;
    }
  forward(w, 1, &token, false);
  for (uint32_t l = 0; l < settings_.shape.layers; ++l)
    std::copy_n(w.state.data() + l * block_rows_ * width, width, state.data() + l * width);
  std::copy_n(w.logits.data(), kVocabulary, logits.data());
}

}  // namespace eggroll::cpu
