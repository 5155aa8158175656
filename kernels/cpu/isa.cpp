#include "kernels/cpu/isa.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "common/check.hpp"

namespace eggroll::cpu {
namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avxvnni", "avx512", "amx"};

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2"); }

// Asked of the processor itself, as not every compiler has a name for it.
bool has_avxvnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
         __builtin_cpu_supports("avx512vbmi2");
}

// Linux lends a process the tile registers only when asked (Documentation/arch/x86/xstate.rst).
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_avx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 24 & 1) != 0 &&
         (d >> 25 & 1) != 0 && may_use_tiles();
}
#endif

}  // namespace

std::vector<const Isa*> isas_of_this_machine() {
  std::vector<const Isa*> isas{&isa_scalar()};
#if defined(__x86_64__)  // other architectures build the portable table alone
  if (has_avx2()) isas.push_back(&isa_avx2());
  if (has_avxvnni()) isas.push_back(&isa_avxvnni());
  if (has_avx512()) isas.push_back(&isa_avx512());
  if (has_amx()) isas.push_back(&isa_amx());
#endif
  return isas;
}

const Isa& choose_isa() {
  const std::vector<const Isa*> isas = isas_of_this_machine();
  const char* wanted = std::getenv("EGGROLL_ISA");
  const std::string name = wanted ? wanted : "";
  if (name.empty()) return *isas.back();
  for (const Isa* isa : isas)
    if (name == isa->name) return *isa;
  if (std::ranges::find(kNames, name) != std::end(kNames))
    throw ConfigError("EGGROLL_ISA = " + name + " (environment): this processor does not have it");
  throw ConfigError("EGGROLL_ISA = " + name +
                    " (environment): allowed are scalar, avx2, avxvnni, avx512, amx");
}

}  // namespace eggroll::cpu
