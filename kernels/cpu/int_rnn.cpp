// What is built on the forward pass: a generation's scores, the loss of a text, the next byte; and the
// states that members carry. One thread runs one block from start to end with its own workspace.
#include "kernels/cpu/int_rnn.hpp"

#include <algorithm>
#include <array>
#include <mutex>
#include <optional>

#include "common/check.hpp"
#include "common/layout.hpp"
#include "common/noise.hpp"
#include "kernels/fixed_point.hpp"
#include "kernels/int_rnn_parts.hpp"

namespace eggroll::cpu {
namespace {

// How many equal blocks, of at most so many each, keep every thread busy to the end.
uint64_t blocks_of(uint64_t count, uint64_t most, int threads) {
  const auto up_to_multiple = [](uint64_t n, uint64_t of) { return (n + of - 1) / of * of; };
  const uint64_t blocks = up_to_multiple(count, most) / most;
  return std::min(count, up_to_multiple(blocks, static_cast<uint64_t>(threads)));
}

constexpr const char* kOfAssignedPairs = "states of the assigned pairs";

double exact_sum(const int8_t* logits) {
  const std::array<double, 256>& exp2 = exact_exp2();
  double sums[4] = {};
  for (int k = 0; k < 256; ++k) sums[k & 3] += exp2[static_cast<uint8_t>(logits[k]) ^ 0x80];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

CpuIntRnn::CpuIntRnn(CpuDevice& device, const IntRnnSettings& settings, const Learner& learner)
    : settings_(settings),
      learner_(learner),
      layout_(learner.layout()),
      isa_(device.isa()),
      block_rows_(2 * isa_.block_pairs),
      team_(device.team()),
      order_of_use_(order_of_use(settings.shape)) {
  require(settings.shape.width % kPanel == 0 && settings.shape.layers > 0,
          "widths come in panels of 64");
  require(layout_.text() == int_rnn_layout(settings.shape).text(),
          "a learner of this model's parameters");
  size_t matrix_elements = 0, outputs = 0, noise = 0, noise_sums = 0;
  for (const TensorSpec& tensor : layout_.tensors()) {
    noise_offset_.push_back(noise);
    noise_sum_offset_.push_back(noise_sums);
    noise += isa_.block_pairs * noise_elements(tensor, settings.noise_rank);
    if (tensor.role != Role::matrix) continue;
    noise_sums += isa_.block_pairs * settings.noise_rank;
    matrix_elements += tensor.size();
    outputs += tensor.rows;
  }
  panels_ = Buffer<int8_t>(matrix_elements);
  compensations_ = Buffer<int32_t>(outputs);
  for (int t = 0; t < team_.size(); ++t)
    workspaces_.emplace_back(settings_, block_rows_, noise, noise_sums);
}

BlockWorkspace::BlockWorkspace(const IntRnnSettings& settings, size_t rows, size_t noise_elements,
                               size_t noise_sum_count) {
  const size_t width = settings.shape.width;
  x = Buffer<int8_t>(rows * width);
  state = Buffer<int8_t>(settings.shape.layers * rows * width);  // [layers, rows, width]
  state_u8 = Buffer<uint8_t>(settings.shape.layers * rows * width);
  forget = Buffer<int8_t>(rows * width);
  product_a = Buffer<int8_t>(rows * width);
  product_b = Buffer<int8_t>(rows * width);
  logits = Buffer<int8_t>(rows * kVocabulary);
  normed = Buffer<uint8_t>(rows * width);
  gated = Buffer<uint8_t>(rows * width);
  hidden = Buffer<uint8_t>(rows * 4 * width);
  projection = Buffer<int32_t>(rows * std::max(settings.noise_rank, 2));
  noise = Buffer<int8_t>(noise_elements);
  noise_sums = Buffer<int32_t>(noise_sum_count);
}

void CpuIntRnn::assign(PairRange pairs) {
  pairs_ = pairs;
  states_ = Buffer<int8_t>(pairs.count * slots_per_pair() * state_bytes());
}

void CpuIntRnn::write(uint64_t first_slot, std::span<const std::byte> values) {
  require(first_slot * state_bytes() + values.size() <= states_.size(), kOfAssignedPairs);
  std::ranges::copy(values, std::as_writable_bytes(states_.span()).begin() +
                                static_cast<ptrdiff_t>(first_slot * state_bytes()));
}

void CpuIntRnn::read(uint64_t first_slot, std::span<std::byte> values) {
  require(first_slot * state_bytes() + values.size() <= states_.size(), kOfAssignedPairs);
  std::ranges::copy(
      std::as_bytes(states_.span()).subspan(first_slot * state_bytes(), values.size()),
      values.begin());
}

// ---- a generation ----

void CpuIntRnn::load_states(BlockWorkspace& w, PairRange pairs) const {
  const size_t width = settings_.shape.width;
  for (uint32_t l = 0; l < settings_.shape.layers; ++l)
    for (uint64_t row = 0; row < 2 * pairs.count; ++row) {
      int8_t* to = w.state.data() + (l * block_rows_ + row) * width;
      uint8_t* to_u8 = w.state_u8.data() + (l * block_rows_ + row) * width;
      const uint64_t slot = (2 * (pairs.first - pairs_.first) + row) * slots_per_pair() / 2;
      if (settings_.carry == Carry::reset)
        std::fill_n(to, width, int8_t{0});
      else
        std::copy_n(states_.data() + slot * state_bytes() + l * width, width, to);
      for (size_t i = 0; i < width; ++i) to_u8[i] = static_cast<uint8_t>(to[i]) ^ 0x80;
    }
}

void CpuIntRnn::save_states(const BlockWorkspace& w, PairRange pairs, uint64_t generation) {
  if (settings_.carry == Carry::reset) return;
  const size_t width = settings_.shape.width;
  for (uint64_t row = 0; row < 2 * pairs.count; ++row) {
    if (settings_.carry == Carry::pair && row % 2 != generation % 2) continue;
    const uint64_t slot = (2 * (pairs.first - pairs_.first) + row) * slots_per_pair() / 2;
    for (uint32_t l = 0; l < settings_.shape.layers; ++l)
      std::copy_n(w.state.data() + (l * block_rows_ + row) * width, width,
                  states_.data() + slot * state_bytes() + l * width);
  }
}

// False where it was left on the way, as the source was over.
bool CpuIntRnn::evaluate_block(BlockWorkspace& w, const Evaluation& e, const PairSource& source,
                               PairRange pairs, int32_t* score) {
  require(pairs.count <= isa_.block_pairs, "pairs of one block");
  require(reads_text(e.segments, pairs), kReadsText);
  require(slots_per_pair() == 0 || (pairs.first >= pairs_.first && pairs.end() <= pairs_.end()),
          kOfAssignedPairs);
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
    if (source.is_over()) return false;
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

// Where it is known how many pairs there are, they are equal blocks, enough to keep all threads busy to
// the end; else as many whole tiles that follow each other as a block has room for.
void CpuIntRnn::evaluate(const Evaluation& evaluation, PairSource& source) {
  pack_weights();
  const uint64_t known = source.known();
  const uint64_t step =
      known < isa_.block_step * static_cast<uint64_t>(team_.size()) ? 1 : isa_.block_step;
  const uint64_t steps = (known + step - 1) / step;
  const uint64_t blocks = blocks_of(steps, isa_.block_pairs / step, team_.size());
  const auto block_begin = [&](uint64_t block) {
    return std::min(known, step * (steps * block / blocks));
  };
  std::mutex mutex;
  uint64_t next = 0;
  const auto take = [&]() -> std::optional<PairRange> {
    if (known == 0)
      return source.take(std::max(kTilePairs, isa_.block_pairs / kTilePairs * kTilePairs));
    const std::lock_guard lock(mutex);
    const uint64_t block = next++;
    return source.take(block < blocks ? block_begin(block + 1) - block_begin(block)
                                      : isa_.block_pairs);
  };
  team_.run([&](int thread) {
    try {
      std::array<int32_t, 2 * kMostBlockPairs> score;
      while (const std::optional<PairRange> pairs = take())
        if (evaluate_block(workspaces_[thread], evaluation, source, *pairs, score.data()))
          finish_pairs(source, *pairs, std::span(score).first(2 * pairs->count));
    } catch (...) {
      source.close();  // the others would wait for what this thread does no more
      throw;
    }
  });
}

// ---- the unperturbed model ----

StreamScores CpuIntRnn::score_stream_block(BlockWorkspace& w, std::span<const uint8_t> text,
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

StreamScores CpuIntRnn::score_streams(std::span<const uint8_t> text, uint64_t streams,
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
        score_stream_block(workspaces_[thread], text, length, first + begin,
                           static_cast<int>(count * (block + 1) / blocks - begin));
    const std::lock_guard lock(mutex);
    sum.score_sum += part.score_sum;
    sum.loss_2e24 += part.loss_2e24;
    sum.tokens += part.tokens;
  });
  return sum;
}

void CpuIntRnn::next_logits(uint8_t token, std::span<int8_t> state, std::span<int8_t> logits) {
  require(state.size() == state_bytes() && logits.size() == kVocabulary,
          "one state and 256 logits");
  pack_weights();
  BlockWorkspace& w = workspaces_[0];
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
