#include "kernels/cpu/activations_portable.hpp"
#include "kernels/cpu/formed_weights_portable.hpp"
#include "kernels/cpu/perturbed_linear_portable.hpp"

namespace eggroll::cpu {

template <typename T>
const FloatIsa<T>& float_isa_scalar() {
  static const FloatIsa<T> isa =
      portable_float_isa<T, PortableFloatProducts<T>, PortableFloatSums<T>>("scalar");
  return isa;
}
template const FloatIsa<float>& float_isa_scalar();
template const FloatIsa<uint16_t>& float_isa_scalar();

const FormedWeightsIsa& formed_weights_isa_scalar() {
  static constexpr FormedWeightsIsa isa = formed_weights_isa<16>();
  return isa;
}

const ActivationsIsa& activations_isa_scalar() {
  static constexpr ActivationsIsa isa = portable_activations_isa();
  return isa;
}

}  // namespace eggroll::cpu
