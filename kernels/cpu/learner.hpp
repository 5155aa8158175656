// CpuLearner: the CPU twin of the Learner. Z is made in units, parts of one tensor, each by one thread;
// every sum is an integer sum, so no schedule can change a result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/cpu/device.hpp"
#include "kernels/learner.hpp"
#include "kernels/update_plan.hpp"

namespace eggroll::cpu {

// A part of Z that one thread makes: some rows of a tensor with noise of low rank, some elements of any
// other one.
struct UpdateUnit {
  uint32_t tensor;
  uint32_t first;
  uint32_t count;
  uint32_t bucket;
};

// Consecutive trained elements.
struct UpdatePart {
  size_t offset;  // among all that are trained
  size_t at;      // in the arena of the parameters, bytes
  size_t size;
};

struct UpdateWorkspace {
  Buffer<int8_t> left, right;  // interleaved d A (as u8) and B of a stretch of pairs
  Buffer<int8_t> noise;        // of some terms
  Buffer<int32_t> sums;        // what does not end with a panel: the last columns, or elements
};

class CpuLearner final : public Learner {
 public:
  CpuLearner(CpuDevice& device, const LearnerSettings& settings);

  const ParameterLayout& layout() const override { return settings_.layout; }
  View view() const override { return {arenas_[0].data(), version_}; }
  size_t arena_bytes(size_t arena) const override;
  void write(size_t arena, std::span<const std::byte> values) override;
  void read(size_t arena, std::span<std::byte> values) override;
  void add_to(size_t tensor, std::span<const int64_t> values) override;

  const std::vector<UpdateBucket>& buckets() const override { return buckets_; }
  void reconstruct(const Utilities& utilities, bool wide,
                   const ReconstructionProgress& progress) override;
  std::span<int32_t> partial_update(size_t bucket) override;
  std::span<int64_t> wide_partial_update(size_t bucket) override;
  std::optional<DeviceSums> device_partial_update(size_t, bool) override { return std::nullopt; }
  int64_t largest_magnitude(size_t bucket) override;
  void narrow(size_t bucket) override;

  void step_shard(size_t bucket, Shard shard, const StepNumbers& numbers, bool wide) override;
  std::span<std::byte> give_parameters(size_t bucket, Shard shard) override;
  void take_parameters(size_t) override { ++version_; }
  std::optional<DeviceParameters> device_parameters(size_t) override { return std::nullopt; }
  void reconstruct_and_step(const Utilities& utilities, const StepNumbers& numbers) override;
  uint64_t take_changed() override { return std::exchange(changed_, 0); }

 private:
  // Returns how many of these parameters moved.
  using StepPart = uint64_t (CpuLearner::*)(UpdatePart part, Noise noise,
                                            const StepNumbers& numbers, bool wide);
  template <typename Optimizer>
  uint64_t step_by(UpdatePart part, Noise noise, const StepNumbers& numbers, bool wide);

  // reconstruct.cpp
  void plan_units();
  UpdatePart part_of(const UpdateUnit& unit) const;
  void make_unit(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                 const ActivePairs& active);
  void make_wide_unit(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                      const ActivePairs& active);
  void make_rows(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                 std::span<const std::span<const ActivePair>> planes, int32_t* z) const;
  void add_plane(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                 std::span<const ActivePair> pairs, bool add, int32_t* z) const;
  void make_elements(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                     std::span<const ActivePair> pairs, int32_t* z) const;

  const LearnerSettings settings_;
  const Isa& isa_;
  ThreadTeam& team_;

  std::vector<Buffer<std::byte>> arenas_;  // the parameters, then the optimiser's slots
  uint64_t version_ = 1;                   // of the parameters

  std::vector<UpdateBucket> buckets_;
  std::vector<UpdateUnit> units_;
  Buffer<int32_t> z_;
  Buffer<int64_t> wide_z_;  // made when first needed
  std::vector<UpdateWorkspace> workspaces_;
  StepPart step_part_ = nullptr;
  uint64_t changed_ = 0;  // by steps since take_changed
};

}  // namespace eggroll::cpu
