// The forward pass on the device and what is built on it, the twin of cpu/int_rnn.cpp.
#include <algorithm>
#include <chrono>
#include <thread>

#include "common/check.hpp"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/int_rnn.cuh"
#include "kernels/int_rnn.hpp"

namespace eggroll::cuda {
namespace {

template <int kTiles, bool kPerturbed, bool kShared>
__global__ __launch_bounds__(kThreads, kTiles == 2 ? 2 : 1) void rows_kernel(
    const __grid_constant__ RowsCall call) {
  IntRnn<kTiles, kPerturbed, kShared>(call).run();
}

using RowsKernel = void (*)(RowsCall);

struct Variant {
  uint32_t rows;
  bool perturbed, in_shared;
  RowsKernel kernel;
};
// Largest first. Members also have a variant for models whose activations do not fit; streams are
// few, so theirs are small.
constexpr Variant kVariants[] = {
    {128, true, true, rows_kernel<8, true, true>},
    {64, true, true, rows_kernel<4, true, true>},
    {32, true, true, rows_kernel<2, true, true>},
    {64, true, false, rows_kernel<4, true, false>},
    {32, false, true, rows_kernel<2, false, true>},
    {32, false, false, rows_kernel<2, false, false>},
};

template <typename Buffer>
void grow(Buffer& buffer, size_t size) {
  if (buffer.size() >= size) return;
  buffer = Buffer();  // first: there may not be room for both
  buffer = Buffer(size);
}

uint64_t blocks_for(uint64_t rows, uint32_t rows_of_block) {
  return (rows + rows_of_block - 1) / rows_of_block;
}

}  // namespace

// The largest blocks, which read the weights least often, that still give every multiprocessor one.
CudaBackend::Geometry CudaBackend::geometry(uint64_t rows, bool perturbed) const {
  Geometry best;
  RowsKernel kernel = nullptr;
  for (const Variant& variant : kVariants) {
    if (variant.perturbed != perturbed) continue;
    const size_t bytes =
        shared_bytes_before_activations(variant.rows) +
        (variant.in_shared ? activation_bytes(variant.rows, settings_.shape.width,
                                              static_cast<uint32_t>(settings_.noise_rank))
                           : 0);
    if (bytes > shared_limit_) continue;
    if (kernel != nullptr &&
        (!variant.in_shared || blocks_for(rows, best.rows) >= multiprocessors_))
      break;
    best = {variant.rows, variant.in_shared, 0, bytes};
    kernel = variant.kernel;
  }
  require(kernel != nullptr, "a variant of the kernel for every model");
  allow_shared_bytes(kernel, best.shared_bytes);
  int together = 0;
  CUDA_CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&together, kernel, kThreads,
                                                           best.shared_bytes));
  require(together > 0, "a block that fits on a multiprocessor");
  best.blocks = static_cast<unsigned>(std::min<uint64_t>(
      blocks_for(rows, best.rows), uint64_t{multiprocessors_} * static_cast<unsigned>(together)));
  return best;
}

// All of a call but the rows, and room for what its blocks keep.
RowsCall CudaBackend::rows_call(const Geometry& geometry, bool perturbed) {
  const IntRnnShape& shape = settings_.shape;
  RowsCall call;
  call.parameters = parameters_.data();
  call.layers = shape.layers;
  call.width = shape.width;
  call.log2_width = 2 * log2_sqrt(shape.width);
  call.terms = settings_.noise_rank;
  call.vector_shift = kFractionBits + settings_.sigma_shift;
  call.matrix_shift = call.vector_shift + log2_sqrt(static_cast<uint32_t>(settings_.noise_rank));
  call.rounding = settings_.rounding;
  call.noise_tables = noise_tables();
  std::copy_n(kExp2Mantissa, 16, call.score_tables.exp2_mantissa);
  std::copy_n(kLog2Edge, kLog2Edges, call.score_tables.log2_edge);
  call.score_tables.log2_edge[kLog2Edges] = 0;
  call.seed = settings_.seed;
  if (perturbed) {
    const BlockNoise noise = {shape.layers, shape.width,
                              static_cast<uint32_t>(settings_.noise_rank), geometry.rows / 2};
    grow(block_noise_, geometry.blocks * noise.bytes());
    call.noise = block_noise_.data();
    call.noise_bytes = noise.bytes();
  }
  const size_t rows = size_t{geometry.blocks} * geometry.rows;
  grow(block_states_, rows * slot_bytes());
  call.working_states = block_states_.data();
  if (!geometry.in_shared) {
    grow(block_activations_,
         geometry.blocks * activation_bytes(geometry.rows, shape.width,
                                            static_cast<uint32_t>(settings_.noise_rank)));
    call.activations = block_activations_.data();
  }
  return call;
}

void CudaBackend::run_rows(const Geometry& geometry, bool perturbed, const RowsCall& call) {
  for (const Variant& variant : kVariants)
    if (variant.rows == geometry.rows && variant.perturbed == perturbed &&
        variant.in_shared == geometry.in_shared)
      launch(variant.kernel, {dim3(geometry.blocks), kThreads, geometry.shared_bytes}, stream_,
             call);
}

// Until the stream is done, asking meanwhile whether it is still worth while.
void CudaBackend::wait(const std::function<bool()>& give_up) {
  using Clock = std::chrono::steady_clock;
  Event done;
  done.record(stream_);
  const Clock::time_point start = Clock::now();
  while (!done.has_passed()) {
    if (give_up && give_up()) *static_cast<volatile int32_t*>(give_up_.data()) = 1;
    const Clock::duration waited = Clock::now() - start;
    if (waited < std::chrono::microseconds(200))
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(
          std::min<Clock::duration>(waited / 64, std::chrono::milliseconds(1)));
  }
}

void CudaBackend::add_to_batch(Batch& batch, const Segments& s, PairRange pairs) const {
  require(reads_text(s, pairs), kReadsText);
  uint64_t last_sequence = ~uint64_t{0};
  for (uint64_t pair = pairs.first; pair < pairs.end(); ++pair) {
    const uint64_t sequence = 2 * pair / s.group_size;
    if (sequence != last_sequence) {
      const uint8_t* slice = s.text.data() + sequence * s.slice_bytes;
      uint64_t position = s.position;
      for (uint64_t left = uint64_t{s.tokens} + 1; left > 0;) {
        const uint64_t part = std::min(left, s.slice_bytes - position);
        batch.text.insert(batch.text.end(), slice + position, slice + position + part);
        left -= part;
        position = 0;
      }
      last_sequence = sequence;
    }
    batch.pair.push_back(static_cast<uint32_t>(pair));
    batch.text_row.push_back(static_cast<uint32_t>(batch.text.size() / (s.tokens + 1) - 1));
  }
}

bool CudaBackend::run_batch(const Evaluation& e, const Batch& batch, std::span<int32_t> score) {
  const uint64_t rows = 2 * batch.pair.size();
  if (rows == 0) return true;
  const Geometry blocks = geometry(rows, true);
  RowsCall call = rows_call(blocks, true);
  grow(pair_, batch.pair.size());
  grow(text_row_, batch.text_row.size());
  grow(text_, batch.text.size());
  grow(score_, rows);
  copy_to_device(pair_.data(), batch.pair, stream_);
  copy_to_device(text_row_.data(), batch.text_row, stream_);
  copy_to_device(text_.data(), batch.text, stream_);
  call.noise_epoch = e.noise_epoch;
  call.rows = static_cast<uint32_t>(rows);
  call.tokens = e.segments.tokens;
  call.pair = pair_.data();
  call.text_row = text_row_.data();
  call.text = text_.data();
  call.slots_per_pair = static_cast<int>(state_slots_per_pair(settings_.carry));
  call.states = states_.data();
  call.saved_parity = settings_.carry == Carry::pair ? static_cast<int>(e.generation % 2) : -1;
  call.score = score_.data();
  *give_up_.data() = 0;
  call.give_up = give_up_.data();
  run_rows(blocks, true, call);
  wait(e.give_up);  // before the copy: one into memory that is not pinned blocks until it is done
  if (*give_up_.data() != 0) return false;
  copy_to_host(score, score_.data(), stream_);
  stream_.synchronize();
  return true;
}

void CudaBackend::evaluate(const Evaluation& evaluation, std::span<int32_t> score) {
  require(score.size() == 2 * pairs_.count, "one score for each assigned member");
  use_device();
  Batch batch;
  batch.pair.reserve(pairs_.count);
  batch.text_row.reserve(pairs_.count);
  batch.text.reserve((2 * pairs_.count / evaluation.segments.group_size + 1) *
                     (uint64_t{evaluation.segments.tokens} + 1));
  add_to_batch(batch, evaluation.segments, pairs_);
  run_batch(evaluation, batch, score);
}

// As many tiles at a time as the device runs at a time, where so many are there.
void CudaBackend::evaluate_tiles(const Evaluation& evaluation, TileSource& tiles) {
  require(settings_.carry == Carry::reset, "members that carry no state");
  use_device();
  try {
    const Geometry full = geometry(uint64_t{1} << 31, true);
    const size_t at_most = size_t{full.blocks} * full.rows / (2 * kTilePairs);
    for (;;) {
      const std::vector<PairRange> taken = tiles.take(at_most);
      if (taken.empty()) return;
      if (evaluation.give_up && evaluation.give_up()) continue;
      Batch batch;
      for (const PairRange& pairs : taken) {
        require(pairs.count <= kTilePairs, "the pairs of one tile");
        add_to_batch(batch, evaluation.segments, pairs);
      }
      std::vector<int32_t> score(2 * batch.pair.size());
      if (!run_batch(evaluation, batch, score)) continue;
      std::span<const int32_t> left(score);
      for (const PairRange& pairs : taken) {
        tiles.finish(pairs, left.first(2 * pairs.count));
        left = left.subspan(2 * pairs.count);
      }
    }
  } catch (...) {
    tiles.close();
    throw;
  }
}

// ---- the unperturbed model ----

StreamScores CudaBackend::score_streams(std::span<const uint8_t> text, uint64_t streams,
                                        uint64_t first, uint64_t count) {
  require(streams > 0 && first + count <= streams, "streams of the text");
  use_device();
  const uint64_t length = text.size() / streams;
  StreamScores sum;
  if (length < 2) return sum;
  const uint64_t tokens = length - 1;
  // As many streams at a time as there is room for: a token of each leaves nine bytes, here and in
  // the host's memory.
  size_t free_bytes = 0, all_bytes = 0;
  CUDA_CHECK(cudaMemGetInfo(&free_bytes, &all_bytes));
  constexpr uint64_t kOnHost = 256 << 20;
  const uint64_t at_a_time =
      std::max<uint64_t>(1, std::min<uint64_t>(free_bytes / 4, kOnHost) / (9 * tokens));
  for (uint64_t done = 0; done < count; done += at_a_time) {
    const uint64_t rows = std::min(at_a_time, count - done);
    const Geometry blocks = geometry(rows, false);
    RowsCall call = rows_call(blocks, false);
    grow(text_, rows * length);
    DeviceBuffer<int64_t> score(rows);
    copy_to_device(text_.data(), text.subspan((first + done) * length, rows * length), stream_);
    DeviceBuffer<double> exact_sum(rows * tokens);
    DeviceBuffer<int8_t> logit_of_target(rows * tokens);
    call.rows = static_cast<uint32_t>(rows);
    call.tokens = static_cast<uint32_t>(tokens);
    call.text = text_.data();
    call.stream_score = score.data();
    call.exact_exp2 = exp2_.data();
    call.exact_sum = exact_sum.data();
    call.logit_of_target = logit_of_target.data();
    run_rows(blocks, false, call);
    std::vector<int64_t> scores(rows);
    std::vector<double> sums(rows * tokens);
    std::vector<int8_t> logits(rows * tokens);
    copy_to_host(std::span(scores), score.data(), stream_);
    copy_to_host(std::span(sums), exact_sum.data(), stream_);
    copy_to_host(std::span(logits), logit_of_target.data(), stream_);
    wait({});
    for (const int64_t s : scores) sum.score_sum += s;
    for (size_t i = 0; i < sums.size(); ++i) sum.loss_2e24 += loss_2e24(sums[i], logits[i]);
    sum.tokens += rows * tokens;
  }
  return sum;
}

void CudaBackend::next_logits(uint8_t token, std::span<int8_t> state, std::span<int8_t> logits) {
  require(state.size() == slot_bytes() && logits.size() == kVocabulary, "one state and 256 logits");
  use_device();
  const Geometry blocks = geometry(1, false);
  RowsCall call = rows_call(blocks, false);
  const uint8_t text[2] = {token, 0};
  grow(text_, 2);
  DeviceBuffer<int8_t> device_state(slot_bytes()), device_logits(kVocabulary);
  copy_to_device(text_.data(), text, stream_);
  copy_to_device(device_state.data(), state, stream_);
  call.rows = 1;
  call.tokens = 1;
  call.text = text_.data();
  call.states = device_state.data();
  call.slots_per_pair = 2;  // a state of its own
  call.logits = device_logits.data();
  run_rows(blocks, false, call);
  copy_to_host(state, device_state.data(), stream_);
  copy_to_host(logits, device_logits.data(), stream_);
  wait({});
}

}  // namespace eggroll::cuda
