// The forward pass on the device and what is built on it.
#include <algorithm>
#include <chrono>
#include <thread>

#include "common/check.hpp"
#include "kernels/cuda/int_rnn.cuh"
#include "kernels/cuda/int_rnn.hpp"
#include "kernels/int_rnn_parts.hpp"

namespace eggroll::cuda {
namespace {

template <int kTiles, bool kPerturbed, bool kShared>
__global__ __launch_bounds__(kThreads, kTiles == 2 ? 2 : 1) void rows_kernel(
    const __grid_constant__ RowsCall call) {
  IntRnnBlock<kTiles, kPerturbed, kShared>(call).run();
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

// Whether tensors stand where the kernel reads them.
bool layout_is_known(const ParameterLayout& layout, const IntRnnShape& shape) {
  if (layout.text() != int_rnn_layout(shape).text()) return false;
  const auto stands = [&](size_t tensor, size_t at) { return layout[tensor].at == at; };
  bool known =
      stands(kEmbedding, 0) && stands(kHead, offset_of_matrix(0, kHeadProduct, shape.width));
  const size_t vectors = offset_of_vectors(shape.layers, shape.width);
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (const LayerMatrix which : {kWf, kUf, kWh, kUh, kW1, kW2})
      known &= stands(matrix_index(layer, which), offset_of_matrix(layer, which, shape.width));
    for (const LayerVector which : {kBf, kBh, kLn1, kLn2})
      known &=
          stands(vector_index(shape, layer, which), vectors + (4 * layer + which) * shape.width);
  }
  return known && stands(out_norm_index(shape), vectors + 4 * size_t{shape.layers} * shape.width);
}

constexpr const char* kOfThePairs = "states of the pairs that are assigned";

}  // namespace

CudaIntRnn::CudaIntRnn(const CudaDevice& device, const IntRnnSettings& settings,
                       const Learner& learner)
    : device_(device), settings_(settings), learner_(learner) {
  require(settings.shape.width % 64 == 0 && settings.shape.layers > 0, "widths in steps of 64");
  require(layout_is_known(learner.layout(), settings.shape),
          "the layout that the kernels count on");
  device_.use();
  give_up_ = PinnedBuffer<int32_t>(1);
  exp2_ = DeviceBuffer<double>(exact_exp2().size());
  copy_to_device(exp2_.data(), exact_exp2(), device_.stream());
  device_.stream().synchronize();
}

// ---- carried states ----

void CudaIntRnn::assign(PairRange pairs) {
  device_.use();
  pairs_ = pairs;
  states_ = DeviceBuffer<int8_t>();  // first: there may not be room for both
  states_ = DeviceBuffer<int8_t>(pairs.count * slots_per_pair() * slot_bytes());
}

void CudaIntRnn::write(uint64_t first_slot, std::span<const std::byte> values) {
  require(first_slot * slot_bytes() + values.size() <= states_.size(), kOfThePairs);
  device_.use();
  copy_to_device(reinterpret_cast<std::byte*>(states_.data()) + first_slot * slot_bytes(), values,
                 device_.stream());
  device_.stream().synchronize();
}

void CudaIntRnn::read(uint64_t first_slot, std::span<std::byte> values) {
  require(first_slot * slot_bytes() + values.size() <= states_.size(), kOfThePairs);
  device_.use();
  copy_to_host(values,
               reinterpret_cast<const std::byte*>(states_.data()) + first_slot * slot_bytes(),
               device_.stream());
  device_.stream().synchronize();
}

// ---- a launch ----

// The largest blocks, which read the weights least often, that still give every multiprocessor one.
CudaIntRnn::Geometry CudaIntRnn::geometry(uint64_t rows, bool perturbed) const {
  Geometry best;
  RowsKernel kernel = nullptr;
  for (const Variant& variant : kVariants) {
    if (variant.perturbed != perturbed) continue;
    const size_t bytes =
        shared_bytes_before_activations(variant.rows) +
        (variant.in_shared ? activation_bytes(variant.rows, settings_.shape.width,
                                              static_cast<uint32_t>(settings_.noise_rank))
                           : 0);
    if (bytes > device_.shared_limit()) continue;
    if (kernel != nullptr &&
        (!variant.in_shared || blocks_for(rows, best.rows) >= device_.multiprocessors()))
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
  best.blocks = static_cast<unsigned>(
      std::min<uint64_t>(blocks_for(rows, best.rows),
                         uint64_t{device_.multiprocessors()} * static_cast<unsigned>(together)));
  return best;
}

// All of a call but the rows, and room for what its blocks keep.
RowsCall CudaIntRnn::rows_call(const Geometry& geometry, bool perturbed) {
  const IntRnnShape& shape = settings_.shape;
  RowsCall call;
  call.parameters = static_cast<const int8_t*>(learner_.view().parameters);
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
    const BlockNoiseLayout noise = {shape.layers, shape.width,
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

void CudaIntRnn::run_rows(const Geometry& geometry, bool perturbed, const RowsCall& call) const {
  for (const Variant& variant : kVariants)
    if (variant.rows == geometry.rows && variant.perturbed == perturbed &&
        variant.in_shared == geometry.in_shared)
      launch(variant.kernel, {dim3(geometry.blocks), kThreads, geometry.shared_bytes},
             device_.stream(), call);
}

// Until the stream is done, asking meanwhile whether it is still worth while.
void CudaIntRnn::wait(const std::function<bool()>& is_over) {
  using Clock = std::chrono::steady_clock;
  Event done;
  done.record(device_.stream());
  const Clock::time_point start = Clock::now();
  while (!done.has_passed()) {
    if (is_over && is_over()) *static_cast<volatile int32_t*>(give_up_.data()) = 1;
    const Clock::duration waited = Clock::now() - start;
    if (waited < std::chrono::microseconds(200))
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(
          std::min<Clock::duration>(waited / 64, std::chrono::milliseconds(1)));
  }
}

// ---- members ----

std::vector<int32_t> CudaIntRnn::run_pairs(const Evaluation& e, PairRange pairs,
                                           const PairSource& source) {
  const Segments& s = e.segments;
  require(reads_text(s, pairs), kReadsText);
  const uint64_t first_sequence = 2 * pairs.first / s.group_size;
  const uint64_t sequences = (2 * pairs.end() - 1) / s.group_size + 1 - first_sequence;
  std::vector<uint8_t> text;  // [sequences, tokens + 1]
  text.reserve(sequences * (uint64_t{s.tokens} + 1));
  for (uint64_t sequence = 0; sequence < sequences; ++sequence) {
    const uint8_t* slice = s.text.data() + (first_sequence + sequence) * s.slice_bytes;
    uint64_t position = s.position;
    for (uint64_t left = uint64_t{s.tokens} + 1; left > 0;) {
      const uint64_t part = std::min(left, s.slice_bytes - position);
      text.insert(text.end(), slice + position, slice + position + part);
      left -= part;
      position = 0;
    }
  }
  std::vector<uint32_t> text_row;  // [pairs]
  text_row.reserve(pairs.count);
  for (uint64_t pair = pairs.first; pair < pairs.end(); ++pair)
    text_row.push_back(static_cast<uint32_t>(2 * pair / s.group_size - first_sequence));

  const uint64_t rows = 2 * pairs.count;
  const Geometry blocks = geometry(rows, true);
  RowsCall call = rows_call(blocks, true);
  grow(text_row_, text_row.size());
  grow(text_, text.size());
  grow(score_, rows);
  copy_to_device(text_row_.data(), text_row, device_.stream());
  copy_to_device(text_.data(), text, device_.stream());
  call.noise_epoch = e.noise_epoch;
  call.rows = static_cast<uint32_t>(rows);
  call.tokens = s.tokens;
  call.first_pair = static_cast<uint32_t>(pairs.first);
  call.text_row = text_row_.data();
  call.text = text_.data();
  call.slots_per_pair = static_cast<int>(slots_per_pair());
  if (settings_.carry != Carry::reset) {
    require(pairs.first >= pairs_.first && pairs.end() <= pairs_.end(), kOfThePairs);
    call.states = states_.data() + (pairs.first - pairs_.first) * slots_per_pair() * slot_bytes();
  }
  call.saved_parity = settings_.carry == Carry::pair ? static_cast<int>(e.generation % 2) : -1;
  call.score = score_.data();
  *give_up_.data() = 0;
  call.give_up = give_up_.data();
  run_rows(blocks, true, call);
  // Before the copy: one into memory that is not pinned blocks until it is done.
  wait([&] { return source.is_over(); });
  if (*give_up_.data() != 0) return {};
  std::vector<int32_t> score(rows);
  copy_to_host(std::span(score), score_.data(), device_.stream());
  device_.stream().synchronize();
  return score;
}

// All pairs of a source that knows how many it has; else as many as the device runs at a time.
void CudaIntRnn::evaluate(const Evaluation& evaluation, PairSource& source) {
  device_.use();
  try {
    uint64_t at_most = source.known();
    if (at_most == 0) {
      const Geometry full = geometry(uint64_t{1} << 31, true);
      at_most = uint64_t{full.blocks} * full.rows / 2;
    }
    while (const std::optional<PairRange> pairs = source.take(at_most)) {
      if (source.is_over()) continue;
      const std::vector<int32_t> score = run_pairs(evaluation, *pairs, source);
      if (!score.empty()) finish_pairs(source, *pairs, score);
    }
  } catch (...) {
    source.close();
    throw;
  }
}

// ---- the unperturbed model ----

StreamScores CudaIntRnn::score_streams(std::span<const uint8_t> text, uint64_t streams,
                                       uint64_t first, uint64_t count) {
  require(streams > 0 && first + count <= streams, "streams of the text");
  device_.use();
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
    copy_to_device(text_.data(), text.subspan((first + done) * length, rows * length),
                   device_.stream());
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
    copy_to_host(std::span(scores), score.data(), device_.stream());
    copy_to_host(std::span(sums), exact_sum.data(), device_.stream());
    copy_to_host(std::span(logits), logit_of_target.data(), device_.stream());
    wait({});
    for (const int64_t s : scores) sum.score_sum += s;
    for (size_t i = 0; i < sums.size(); ++i) sum.loss_2e24 += loss_2e24(sums[i], logits[i]);
    sum.tokens += rows * tokens;
  }
  return sum;
}

void CudaIntRnn::next_logits(uint8_t token, std::span<int8_t> state, std::span<int8_t> logits) {
  require(state.size() == slot_bytes() && logits.size() == kVocabulary, "one state and 256 logits");
  device_.use();
  const Geometry blocks = geometry(1, false);
  RowsCall call = rows_call(blocks, false);
  const uint8_t text[2] = {token, 0};
  grow(text_, 2);
  DeviceBuffer<int8_t> device_state(slot_bytes()), device_logits(kVocabulary);
  copy_to_device(text_.data(), text, device_.stream());
  copy_to_device(device_state.data(), state, device_.stream());
  call.rows = 1;
  call.tokens = 1;
  call.text = text_.data();
  call.states = device_state.data();
  call.slots_per_pair = 2;  // a state of its own
  call.logits = device_logits.data();
  run_rows(blocks, false, call);
  copy_to_host(state, device_state.data(), device_.stream());
  copy_to_host(logits, device_logits.data(), device_.stream());
  wait({});
}

}  // namespace eggroll::cuda
