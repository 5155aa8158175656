#include "kernels/cpu/activations.hpp"

#include <string_view>

namespace eggroll::cpu {

const ActivationsIsa& activations_isa_of(const FloatIsa<float>& isa) {
#if defined(__x86_64__)
  if (std::string_view(isa.name) == "avx512") return activations_isa_avx512();
  if (std::string_view(isa.name) == "avx2") return activations_isa_avx2();
#endif
  return activations_isa_scalar();
}

}  // namespace eggroll::cpu
