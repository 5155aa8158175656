#include "kernels/cpu/isa.hpp"

#include <cstdlib>
#include <string>

#include "common/check.hpp"

namespace eggroll::cpu {
namespace {

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2"); }

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
         __builtin_cpu_supports("avx512vbmi2");
}
#else  // other architectures build the portable table alone
bool has_avx2() { return false; }
bool has_avx512() { return false; }
#endif

}  // namespace

#if !defined(__x86_64__)
const Isa& isa_avx2() { throw Error("no AVX2 in this build"); }
const Isa& isa_avx512() { throw Error("no AVX-512 in this build"); }
#endif

const Isa& choose_isa() {
  const char* wanted = std::getenv("EGGROLL_ISA");
  const std::string name = wanted ? wanted : "";
  if (name.empty()) return has_avx512() ? isa_avx512() : has_avx2() ? isa_avx2() : isa_scalar();
  if (name == "scalar") return isa_scalar();
  if (name == "avx2" && has_avx2()) return isa_avx2();
  if (name == "avx512" && has_avx512()) return isa_avx512();
  if (name == "avx2" || name == "avx512")
    throw ConfigError("EGGROLL_ISA = " + name + " (environment): this processor does not have it");
  throw ConfigError("EGGROLL_ISA = " + name + " (environment): allowed are scalar, avx2, avx512");
}

}  // namespace eggroll::cpu
