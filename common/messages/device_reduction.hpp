// What ranks of a group add up and exchange in the memory of their devices, by NCCL, beside the
// group's own messages in host memory. All ranks make the same calls in the same order; none of
// them waits for another rank for longer than it says. A build without NCCL has none
// (common/messages/device_reduction_absent.cpp). The main thread alone calls.
//
// Calls throw Error when NCCL or CUDA says no, with the call, their text, rank and host; and
// GroupBroken when the group is broken. What runs on the device is then aborted, and the reduction
// is of no more use.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "common/device_sums.hpp"
#include "common/messages/collectives.hpp"

namespace eggroll {

class DeviceReduction {
 public:
  // Where no exception passes, waits until the other ranks are done, too, for a few seconds at most.
  virtual ~DeviceReduction() = default;

  // In-place element-wise sums over ranks of what is complete in the memory of this rank's device. That
  // they fit is for the caller to know. Any number of operations may be pending; what is pending is
  // destroyed before the reduction. One that is destroyed because an exception passes aborts all.
  virtual std::unique_ptr<Collectives::Pending> start_all_reduce_sum(const DeviceSums& sums) = 0;
  // The same for this rank's shard alone (shard_of_rank); what lies beside it is of no use then.
  virtual std::unique_ptr<Collectives::Pending> start_reduce_scatter_sum(
      const DeviceSums& sums) = 0;
  // In place: each rank's shard, to all.
  virtual std::unique_ptr<Collectives::Pending> start_all_gather(
      const DeviceParameters& parameters) = 0;
};

struct DeviceReductionSettings {
  int device_index = 0;  // of this rank
  // Until all ranks have found each other; thousands take a while.
  std::chrono::milliseconds start_limit = std::chrono::minutes(2);
  // NCCL notices a lost rank before the group does. Where the group can go on without it, an error
  // waits so long for the group to say that it is broken.
  std::chrono::milliseconds loss_limit{0};
};

// "NCCL 2.28.9"; empty in a build without it.
std::string device_reduction_name();

// Collective over a group that outlives the reduction. Throws Error where NCCL does not come up.
std::unique_ptr<DeviceReduction> make_device_reduction(Collectives& group,
                                                       const DeviceReductionSettings& settings);

}  // namespace eggroll
