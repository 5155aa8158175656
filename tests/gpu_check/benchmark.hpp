// The figures of the CUDA twin, each with its definition and beside a ceiling measured in the same run.
#pragma once

#include <string>

namespace eggroll::gpu_check {

// Whether this program was built with them: they need cuBLASLt and a device, not an emulated one.
bool has_benchmark();
// Prints the table; also to `json` where it names a file. Throws Error.
void run_benchmark(const std::string& json);

}  // namespace eggroll::gpu_check
