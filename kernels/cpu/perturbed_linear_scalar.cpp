#include "kernels/cpu/perturbed_linear_portable.hpp"

namespace eggroll::cpu {

template <typename T>
const FloatIsa<T>& float_isa_scalar() {
  static const FloatIsa<T> isa = portable_float_isa<T, PortableFloatProducts<T>>("scalar");
  return isa;
}
template const FloatIsa<float>& float_isa_scalar();
template const FloatIsa<uint16_t>& float_isa_scalar();

}  // namespace eggroll::cpu
