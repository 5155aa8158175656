// The portable table, compiled for the baseline of the architecture.
#include "kernels/cpu/portable.hpp"

namespace eggroll::cpu {

const Isa& isa_scalar() {
  static const Isa isa = portable_isa<PortableProducts>("scalar");
  return isa;
}

}  // namespace eggroll::cpu
