// A learner and a reduction between devices that do no arithmetic: what the update asks of them is
// seen, and its sums are what a test says.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/messages/device_reduction.hpp"
#include "kernels/learner.hpp"
#include "tests/support/mpi_world.hpp"

namespace eggroll::test {

using Sums = std::vector<std::vector<int64_t>>;  // of each bucket

// Makes the sums that the test gives, in memory of the host or in memory that stands for a
// device's; keeps what it is asked to step by, and where it is asked for its sums. A step writes
// what it stepped by into the parameters, cut to a byte.
class GivenSums final : public Learner {
 public:
  explicit GivenSums(Sums z, bool is_on_device = false)
      : z_(std::move(z)), is_on_device_(is_on_device) {
    size_t offset = 0;
    for (const auto& bucket : z_) {
      buckets_.push_back({offset, bucket.size(), offset, Noise::low_rank, Element::int8});
      offset += bucket.size();
    }
    narrow_.resize(offset);
    wide_.resize(offset);
    parameters_.resize(offset, -99);
  }

  struct Step {
    size_t bucket;
    Shard shard;
    StepNumbers numbers;
    bool wide;
    std::vector<int64_t> z;
  };
  std::vector<Step> steps;
  bool reconstructed_wide = false;
  int given_to_host = 0, given_to_device = 0;
  int parameters_given_to_host = 0, parameters_given_to_device = 0;
  std::vector<size_t> taken;  // buckets whose parameters are complete
  std::vector<int8_t> parameters(size_t b) {
    const auto part = parameter_part(b);
    return {part.begin(), part.end()};
  }

  const std::vector<UpdateBucket>& buckets() const override { return buckets_; }
  void reconstruct(const Utilities&, bool wide, const ReconstructionProgress& progress) override {
    reconstructed_wide = wide;
    for (size_t b = 0; b < z_.size(); ++b) {
      for (size_t i = 0; i < z_[b].size(); ++i) {
        if (wide)
          wide_part(b)[i] = z_[b][i];
        else
          narrow_part(b)[i] = static_cast<int32_t>(z_[b][i]);
      }
      progress.bucket_ready(b);
      progress.poll();
    }
  }
  std::span<int32_t> partial_update(size_t b) override {
    ++given_to_host;
    return narrow_part(b);
  }
  std::span<int64_t> wide_partial_update(size_t b) override {
    ++given_to_host;
    return wide_part(b);
  }
  std::optional<DeviceSums> device_partial_update(size_t b, bool wide) override {
    if (!is_on_device_) return std::nullopt;
    ++given_to_device;
    if (wide) return DeviceSums{wide_part(b).data(), buckets_[b].size, true};
    return DeviceSums{narrow_part(b).data(), buckets_[b].size, false};
  }
  int64_t largest_magnitude(size_t b) override {
    int64_t largest = 0;
    for (const int64_t z : wide_part(b)) largest = std::max(largest, std::abs(z));
    return largest;
  }
  void narrow(size_t b) override { std::ranges::copy(wide_part(b), narrow_part(b).begin()); }
  void step_shard(size_t b, Shard shard, const StepNumbers& numbers, bool wide) override {
    std::vector<int64_t> z;
    for (size_t i = shard.first; i < shard.first + shard.count; ++i) {
      z.push_back(wide ? wide_part(b)[i] : narrow_part(b)[i]);
      parameter_part(b)[i] = static_cast<int8_t>(z.back());
    }
    steps.push_back({b, shard, numbers, wide, z});
    changed_ += 1 + b;
  }
  std::span<std::byte> give_parameters(size_t b, Shard shard) override {
    ++parameters_given_to_host;
    EXPECT_EQ(shard.first, steps.at(b).shard.first);
    EXPECT_EQ(shard.count, steps.at(b).shard.count);
    return std::as_writable_bytes(parameter_part(b));
  }
  void take_parameters(size_t b) override { taken.push_back(b); }
  std::optional<DeviceParameters> device_parameters(size_t b) override {
    if (!is_on_device_) return std::nullopt;
    ++parameters_given_to_device;
    return DeviceParameters{parameter_part(b).data(), buckets_[b].size, Element::int8};
  }
  uint64_t take_changed() override { return std::exchange(changed_, 0); }

  const ParameterLayout& layout() const override { return layout_; }
  View view() const override { return {parameters_.data(), 0}; }
  size_t arena_bytes(size_t) const override { return 0; }
  void write(size_t, std::span<const std::byte>) override {}
  void read(size_t, std::span<std::byte>) override {}
  void add_to(size_t, std::span<const int64_t>) override {}

 private:
  std::span<int32_t> narrow_part(size_t b) {
    return std::span(narrow_).subspan(buckets_[b].offset, buckets_[b].size);
  }
  std::span<int64_t> wide_part(size_t b) {
    return std::span(wide_).subspan(buckets_[b].offset, buckets_[b].size);
  }
  std::span<int8_t> parameter_part(size_t b) {
    return std::span(parameters_).subspan(buckets_[b].offset, buckets_[b].size);
  }

  Sums z_;
  bool is_on_device_;
  std::vector<UpdateBucket> buckets_;
  std::vector<int32_t> narrow_;
  std::vector<int64_t> wide_;
  std::vector<int8_t> parameters_;
  uint64_t changed_ = 0;
  ParameterLayout layout_;
};

// Adds up where the sums are, and keeps count.
class CountingReduction final : public DeviceReduction {
 public:
  int narrow = 0, wide = 0, gathered = 0;
  std::unique_ptr<Collectives::Pending> start_all_reduce_sum(const DeviceSums& sums) override {
    ++(sums.wide ? wide : narrow);
    if (sums.wide)
      return mpi_world().start_all_reduce_sum({static_cast<int64_t*>(sums.data), sums.size});
    return mpi_world().start_all_reduce_sum({static_cast<int32_t*>(sums.data), sums.size});
  }
  std::unique_ptr<Collectives::Pending> start_reduce_scatter_sum(const DeviceSums& sums) override {
    ++(sums.wide ? wide : narrow);
    if (sums.wide)
      return mpi_world().start_reduce_scatter_sum({static_cast<int64_t*>(sums.data), sums.size});
    return mpi_world().start_reduce_scatter_sum({static_cast<int32_t*>(sums.data), sums.size});
  }
  std::unique_ptr<Collectives::Pending> start_all_gather(
      const DeviceParameters& parameters) override {
    ++gathered;
    if (parameters.element == Element::int8)
      return mpi_world().start_all_gather({static_cast<int8_t*>(parameters.data), parameters.size});
    return mpi_world().start_all_gather({static_cast<int32_t*>(parameters.data), parameters.size});
  }
};

}  // namespace eggroll::test
