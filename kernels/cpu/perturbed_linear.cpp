#include "kernels/cpu/perturbed_linear.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "common/check.hpp"

namespace eggroll::cpu {
namespace {

template <typename T>
void check_widths(size_t in, size_t out) {
  if (in == 0 || out == 0 || in * sizeof(T) % 4 != 0)
    throw Error("linear layer of " + std::to_string(in) + " inputs and " + std::to_string(out) +
                " outputs: both must be at least 1, and inputs in bf16 even");
}

template <typename T>
void check(const PerturbedLinearCall<T>& c) {
  check_widths<T>(c.in, c.out);
  if (c.rows < 1) throw Error("linear layer of no rows");
  if (c.x == nullptr || c.panels == nullptr || c.y == nullptr)
    throw Error("linear layer: x, panels and y must be there");
  if (c.noise == nullptr) return;
  constexpr uint64_t kElements = 1ull << 32;
  if (c.noise_rank < 1 || c.noise_rank > kElements / low_rank_elements(c.in, c.out, 1))
    throw Error("linear layer: noise of rank " + std::to_string(c.noise_rank) + " for " +
                std::to_string(c.in) + " inputs and " + std::to_string(c.out) +
                " outputs: the rank must be at least 1, the elements at most 2^32");
  if (c.projection == nullptr) throw Error("linear layer: noise needs room for projections");
}

}  // namespace

template <typename T>
std::vector<const FloatIsa<T>*> float_isas_of_this_machine() {
  std::vector<const FloatIsa<T>*> isas{&float_isa_scalar<T>()};
#if defined(__x86_64__)  // other architectures build the portable table alone
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    isas.push_back(&float_isa_avx2<T>());
  const std::vector<const Isa*> of_integers = isas_of_this_machine();
  if (std::ranges::find(of_integers, &isa_avx512()) != of_integers.end()) {
    isas.push_back(&float_isa_avx512<T>());
    if constexpr (std::is_same_v<T, uint16_t>)
      if (__builtin_cpu_supports("avx512bf16")) isas.push_back(&float_isa_avx512_bf16());
  }
#endif
  return isas;
}

template <typename T>
const FloatIsa<T>& float_isa_of(const Isa& of_integers) {
  const std::string chosen = of_integers.name;
  const std::string name = chosen == "avxvnni" ? "avx2" : chosen == "amx" ? "avx512" : chosen;
  const FloatIsa<T>* widest = &float_isa_scalar<T>();
  for (const FloatIsa<T>* isa : float_isas_of_this_machine<T>())
    if (std::string_view(isa->name).starts_with(name)) widest = isa;
  return *widest;
}

template <typename T>
void pack_panels(const T* w, size_t out, size_t in, T* panels) {
  check_widths<T>(in, out);
  constexpr size_t kGroup = 4 / sizeof(T);
  for (size_t panel = 0; panel < out; panel += kPanel)
    for (size_t i = 0; i < in; i += kGroup)
      for (size_t o = panel; o < panel + kPanel; ++o, panels += kGroup)
        o < out ? std::memcpy(panels, w + o * in + i, 4) : std::memset(panels, 0, 4);
}

float perturbation_scale(float sigma, size_t noise_rank) {
  if (!(sigma >= 0x1p-100f && sigma <= 0x1p100f))
    throw Error("linear layer: sigma = " + std::to_string(sigma) + ": it must be 2^-100 to 2^100");
  return static_cast<float>(sigma / (256 * std::sqrt(static_cast<double>(noise_rank))));
}

template <typename T>
void perturbed_linear(const FloatIsa<T>& isa, const PerturbedLinearCall<T>& call) {
  check(call);
  isa.linear(call);
}

template std::vector<const FloatIsa<float>*> float_isas_of_this_machine();
template std::vector<const FloatIsa<uint16_t>*> float_isas_of_this_machine();
template const FloatIsa<float>& float_isa_of(const Isa&);
template const FloatIsa<uint16_t>& float_isa_of(const Isa&);
template void pack_panels(const float*, size_t, size_t, float*);
template void pack_panels(const uint16_t*, size_t, size_t, uint16_t*);
template void perturbed_linear(const FloatIsa<float>&, const PerturbedLinearCall<float>&);
template void perturbed_linear(const FloatIsa<uint16_t>&, const PerturbedLinearCall<uint16_t>&);

}  // namespace eggroll::cpu
