// What each rank computes on, the same kind of device on all of them, and whether their sums meet
// there. Found out before any work: a device that is not there, hosts that are not alike and two
// ranks on one GPU are a ConfigError, the same on every rank.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/config.hpp"
#include "common/messages/collectives.hpp"
#include "common/messages/device_reduction.hpp"
#include "kernels/cuda/devices.hpp"

namespace eggroll {

// What a process computes on.
struct ComputeDevice {
  std::string name = "cpu";  // or "cuda"
  int index = 0;             // of the devices that this process sees
};

struct ChosenDevice {
  ComputeDevice device;
  std::string remark;  // what a person may want to know of the choice; mostly empty
};

// What a process can find out about devices.
struct DeviceProbe {
  std::string host;
  std::function<cuda::Devices()> visible;
  std::function<std::string(int index)> address;
};
DeviceProbe probe_of_this_process();

// Collective. With cuda each rank takes a GPU of its own: of those it sees, the one that has the
// number of the rank among the ranks of its host.
ChosenDevice choose_device(DeviceChoice wanted, Collectives& group,
                           const DeviceProbe& probe = probe_of_this_process());
// For a command of one process.
ComputeDevice choose_device(DeviceChoice wanted);

// Whether perturbations are added up in the devices' memory, and why not where a person
// would expect it.
struct ReductionChoice {
  bool is_on_device = false;
  std::string remark;
};
// Throws ConfigError where `nccl` is asked for and not here.
ReductionChoice choose_reduction(AllReduce wanted, const ComputeDevice& device);

}  // namespace eggroll
