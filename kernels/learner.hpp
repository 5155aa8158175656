// Learner: what is learnt, on one device: the parameters, what the optimiser keeps beside them, the sum
// of a generation's perturbations and the step. It knows tensors by their layout and nothing of models.
// Every sum is an integer sum, Z = sum_j d_j E_j, exact whatever the weights are, so the twins, and any
// number of ranks and threads, give the same bits (arXiv 2511.16652, the update; docs/model.md has it
// as integers). No files, no messages, no decisions in here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/device_sums.hpp"
#include "common/generation_plan.hpp"
#include "common/layout.hpp"
#include "common/partition.hpp"
#include "common/rules.hpp"
#include "kernels/update_plan.hpp"

namespace eggroll {

struct LearnerSettings {
  ParameterLayout layout;
  uint64_t seed = 0;
  int noise_rank = 1;                     // r >= 1
  std::string optimizer = "sigma-delta";  // of kernels/optimizers.hpp; moves the layout's elements
};

// Throws where a learner cannot be made: ConfigError where the noise rank leaves no addresses for a
// tensor.
void check(const LearnerSettings& settings);

// Of Learner::add_to: throws where the tensor is none that numbers can be added to.
void check_addition(const ParameterLayout& layout, size_t tensor, std::span<const int64_t> values);

// Callbacks of reconstruct, both on the calling thread.
struct ReconstructionProgress {
  std::function<void(size_t bucket)> bucket_ready;  // buckets in order 0, 1, ...
  std::function<void()> poll;                       // now and then, so that messages move
};

class Learner {
 public:
  virtual ~Learner() = default;

  virtual const ParameterLayout& layout() const = 0;

  // The parameters where they are, for engines of the same device that read them: the arena, and a
  // number that is another one whenever a value in it may be.
  struct View {
    const void* parameters;
    uint64_t version;
  };
  virtual View view() const = 0;

  // Arena 0: the parameters, layout().bytes(). Arenas 1, 2, ...: the optimiser's slots, one number for
  // each trained element. Whole copies, done when they return.
  virtual size_t arena_bytes(size_t arena) const = 0;
  virtual void write(size_t arena, std::span<const std::byte> values) = 0;
  virtual void read(size_t arena, std::span<std::byte> values) = 0;
  // Adds to a frozen tensor of int64, element by element.
  virtual void add_to(size_t tensor, std::span<const int64_t> values) = 0;

  // Z = sum_j d_j E_j in elements of noise (low_rank: A B^T; product, full: z), exact, with the noise
  // made again. With `wide` the sums are kept in 64 bits. Results stay here until the next call.
  virtual const std::vector<UpdateBucket>& buckets() const = 0;
  virtual void reconstruct(const Utilities& utilities, bool wide,
                           const ReconstructionProgress& progress) = 0;
  virtual std::span<int32_t> partial_update(size_t bucket) = 0;
  virtual std::span<int64_t> wide_partial_update(size_t bucket) = 0;
  // The same sums where they were made, complete from bucket_ready on; nothing where that is host
  // memory. A bucket is asked for in one of the two memories, and the step reads it there; where nobody
  // asks, it reads the sums where they were made.
  virtual std::optional<DeviceSums> device_partial_update(size_t bucket, bool wide) = 0;
  // Of a reconstruction with `wide`, before any bucket is given out: the largest |Z| of a bucket; and
  // its sums once more as 32 bits, which they must fit, for partial_update to give out.
  virtual int64_t largest_magnitude(size_t bucket) = 0;
  virtual void narrow(size_t bucket) = 0;

  // The optimiser's step of a bucket by its (by now global) Z. `wide` says which of the two sums holds
  // it.
  void step(size_t bucket, const StepNumbers& numbers, bool wide) {
    step_shard(bucket, {0, buckets()[bucket].size}, numbers, wide);
  }
  // A part of the bucket only; sums, slots and parameters beside it stay what they are.
  virtual void step_shard(size_t bucket, Shard shard, const StepNumbers& numbers, bool wide) = 0;
  // The parameters of a bucket in host memory, for ranks to give each other what they have stepped:
  // `shard` is there once the steps are done, the caller puts the rest beside it, and take_parameters
  // makes the whole the learner's own.
  virtual std::span<std::byte> give_parameters(size_t bucket, Shard shard) = 0;
  virtual void take_parameters(size_t bucket) = 0;
  // The same where they are, complete in the device's memory, to be filled up there; nothing where that
  // is host memory.
  virtual std::optional<DeviceParameters> device_parameters(size_t bucket) = 0;
  // Reconstruction and step for a rank that is alone: its sums, which must fit 32 bits, are all there
  // is. What partial_update gives out afterwards is of no use.
  virtual void reconstruct_and_step(const Utilities& utilities, const StepNumbers& numbers);
  // How many parameters the steps since the last call changed; waits until they are done.
  virtual uint64_t take_changed() = 0;
};

}  // namespace eggroll
