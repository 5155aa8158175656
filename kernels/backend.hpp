// Backend: all arithmetic of a run on one device, as a list. It owns the parameters, the
// accumulators of the update rule and the carried states of the members it is assigned; a CPU and a
// CUDA twin give the same bits. Calls are coarse (all pairs of a rank, all streams of a
// validation), so nothing of size members x parameters ever exists and a virtual call costs
// nothing. The model, the perturbation and the update are those of EGG (arXiv 2511.16652,
// appendices G and H); docs/model.md has them as integers. No files, no messages, no decisions in
// here.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/device_sums.hpp"
#include "common/parameters.hpp"
#include "common/partition.hpp"
#include "common/rules.hpp"

namespace eggroll {

struct BackendSettings {
  IntRnnShape shape;
  uint64_t seed = 0;
  int noise_rank = 1;   // r: 1, 4 or 16
  int sigma_shift = 4;  // sigma = 2^-sigma_shift
  Rounding rounding = Rounding::nearest;
  Carry carry = Carry::pair;
  UpdateRule update = UpdateRule::sigma_delta;
  int threads = 1;
  int device_index = 0;  // cuda: which of the devices that this process sees
};

// Which bytes a member reads in a generation. Sequence q = member / group_size owns text[q * slice,
// (q + 1) * slice) and reads tokens + 1 bytes of it from `position` on, wrapping to the start of
// its own slice.
struct Segments {
  std::span<const uint8_t> text;
  uint64_t slice_bytes = 0;
  uint64_t position = 0;  // below slice_bytes
  uint32_t group_size = 2;
  uint32_t tokens = 0;
};

struct Evaluation {
  uint64_t generation =
      0;  // its parity says which member of a pair hands on its state (Carry::pair)
  uint32_t noise_epoch = 0;
  Segments segments;
  // Asked now and then, on any thread; once it says yes the rest is left out, and neither scores
  // nor carried states are of use. May be empty.
  std::function<bool()> give_up = {};
};

// Tiles that come one by one, from wherever they are handed out. Called on any thread.
class TileSource {
 public:
  virtual ~TileSource() = default;
  // The next tiles to run, at_most so many; waits for the first. None: there are no more.
  virtual std::vector<PairRange> take(size_t at_most) = 0;
  // What the members of a tile that was taken scored, two a pair. A tile is not finished when
  // give_up said yes.
  virtual void finish(PairRange pairs, std::span<const int32_t> score) = 0;
  // From now on there are no more.
  virtual void close() = 0;
};

// A contiguous part of the parameter arena that travels in one all-reduce.
struct UpdateBucket {
  size_t offset;
  size_t size;
};

// Callbacks of reconstruct, both on the calling thread.
struct ReconstructionProgress {
  std::function<void(size_t bucket)> bucket_ready;  // buckets in order 0, 1, ...
  std::function<void()> poll;                       // now and then, so that messages move
};

// An element moves where its evidence reaches the threshold of its kind. Matrices sum noise_rank
// terms a pair.
struct StepRule {
  int64_t matrix_threshold = 1;
  int64_t vector_threshold = 1;
};

// Scores of text under the unperturbed model.
struct StreamScores {
  int64_t score_sum = 0;  // integer scores, 1/16 bit, <= 0
  int64_t loss_2e24 = 0;  // exact loss from the same integer logits, 2^-24 bit
  uint64_t tokens = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string description() const = 0;  // "cpu avx512, 2 threads"
  // Whether one tile takes as long as a great many, as on a GPU.
  virtual bool works_in_bulk() const = 0;
  virtual const ParameterLayout& layout() const = 0;

  // Parameters in layout order, int8; accumulators (evidence below the threshold) int32, same
  // order.
  virtual void write_parameters(std::span<const int8_t> values) = 0;
  virtual void read_parameters(std::span<int8_t> values) = 0;
  virtual void write_accumulators(std::span<const int32_t> values) = 0;
  virtual void read_accumulators(std::span<int32_t> values) = 0;

  // Takes over these pairs of the population; their carried states become zero.
  virtual void assign_pairs(PairRange pairs) = 0;

  // Carried states: one slot of layers * width int8 for each member (own), pair (pair) or none
  // (reset), in member order from this backend's first pair on.
  virtual uint64_t state_slots() const = 0;
  virtual void write_states(uint64_t first_slot, std::span<const int8_t> values) = 0;
  virtual void read_states(uint64_t first_slot, std::span<int8_t> values) = 0;

  // Runs every assigned member over its segment: score[2 j + k] is the sum of the scores of member
  // k of the j-th assigned pair, in 1/16 bit. Carried states move on.
  virtual void evaluate(const Evaluation& evaluation, std::span<int32_t> score) = 0;
  // Runs the members of any tiles of the population, assigned or not, until there are no more; for
  // members that carry no state (Carry::reset).
  virtual void evaluate_tiles(const Evaluation& evaluation, TileSource& tiles) = 0;

  // Z = sum over the assigned pairs of d_j A_j B_j^T (vectors: d_j z_j), exact, with the noise made
  // again; d in -2..2. Only pairs with d != 0 cost anything. With `wide` the sums are kept in 64
  // bits. Results stay with the backend until the next call.
  virtual const std::vector<UpdateBucket>& buckets() const = 0;
  virtual void reconstruct(uint32_t noise_epoch, std::span<const int8_t> d, bool wide,
                           const ReconstructionProgress& progress) = 0;
  virtual std::span<int32_t> partial_update(size_t bucket) = 0;
  virtual std::span<int64_t> wide_partial_update(size_t bucket) = 0;
  // The same sums where they were made, complete from bucket_ready on; nothing where that is host
  // memory. A bucket is asked for in one of the two memories, and step reads it there; where nobody
  // asks, it reads the sums where they were made.
  virtual std::optional<DeviceSums> device_partial_update(size_t bucket, bool wide) = 0;
  // Of a reconstruction with `wide`, before any bucket is given out: the largest |Z| of a bucket;
  // and its sums once more as 32 bits, which they must fit, for partial_update to give out.
  virtual int64_t largest_magnitude(size_t bucket) = 0;
  virtual void narrow(size_t bucket) = 0;

  // Moves the parameters of a bucket by its (by now global) Z.
  //   threshold    by sign(Z) where |Z| >= threshold; Z = 0 never moves
  //   sigma_delta  M += Z; by the number of whole thresholds in M, which M loses
  // clipped to +-127. `wide` says which of the two sums holds Z.
  void step(size_t bucket, const StepRule& rule, bool wide) {
    step_shard(bucket, {0, buckets()[bucket].size}, rule, wide);
  }
  // A part of the bucket only; sums, accumulators and parameters beside it stay what they are.
  virtual void step_shard(size_t bucket, Shard shard, const StepRule& rule, bool wide) = 0;
  // The parameters of a bucket in host memory, for ranks to give each other what they have stepped:
  // `shard` is there once the steps are done, the caller puts the rest beside it, and
  // take_parameters makes the whole the backend's own.
  virtual std::span<int8_t> give_parameters(size_t bucket, Shard shard) = 0;
  virtual void take_parameters(size_t bucket) = 0;
  // The same where they are, complete in the device's memory, to be filled up there; nothing where
  // that is host memory.
  virtual std::optional<DeviceParameters> device_parameters(size_t bucket) = 0;
  // Both for a rank that is alone: its sums, which must fit 32 bits, are all there is, and every
  // bucket is moved by them. What partial_update gives out afterwards is of no use.
  virtual void reconstruct_and_step(uint32_t noise_epoch, std::span<const int8_t> d,
                                    const StepRule& rule);
  // How many parameters the steps since the last call changed; waits until they are done.
  virtual uint64_t take_changed() = 0;

  // Unperturbed model. Stream i of `streams` reads text[i * n, (i + 1) * n), n = text.size() /
  // streams, from a zero state and predicts n - 1 bytes. Scores the streams first ... first + count
  // - 1.
  virtual StreamScores score_streams(std::span<const uint8_t> text, uint64_t streams,
                                     uint64_t first, uint64_t count) = 0;
  // One step of one sequence; state holds layers * width int8, logits 256.
  virtual void next_logits(uint8_t token, std::span<int8_t> state, std::span<int8_t> logits) = 0;
};

// device: "cpu" or "cuda". On the CPU the instruction set is the widest this machine has, or the
// one EGGROLL_ISA names (scalar, avx2, avxvnni, avx512, amx). Throws ConfigError for a device or
// instruction set that is not here.
std::unique_ptr<Backend> make_backend(const std::string& device, const BackendSettings& settings);

}  // namespace eggroll
