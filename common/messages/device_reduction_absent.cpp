// Stands in for common/messages/device_reduction_nccl.cpp in a build without NCCL.
#include "common/check.hpp"
#include "common/messages/device_reduction.hpp"

namespace eggroll {

std::string device_reduction_name() { return ""; }

std::unique_ptr<DeviceReduction> make_device_reduction(Collectives&,
                                                       const DeviceReductionSettings&) {
  throw Error("this program is built without NCCL");
}

}  // namespace eggroll
