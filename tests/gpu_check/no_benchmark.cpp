// Where the device is an emulated one, there is nothing to measure.
#include "common/check.hpp"
#include "tests/gpu_check/benchmark.hpp"

namespace eggroll::gpu_check {

bool has_benchmark() { return false; }
void run_benchmark(const std::string&) { throw Error("this program was built without figures"); }

}  // namespace eggroll::gpu_check
