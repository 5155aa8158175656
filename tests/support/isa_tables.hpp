// The instruction set tables this machine can run, and what a test must know about each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "kernels/cpu/isa.hpp"

namespace eggroll::test {

struct IsaTable {
  const cpu::Isa* isa;
  bool transposes_panels;  // panel order as avx512.hpp documents it, otherwise natural order

  // The output that stands at a position of a panel.
  size_t output_at(size_t position) const {
    if (!transposes_panels) return position;
    return 16 * (position / 4 % 4) + 4 * (position / 16) + position % 4;
  }
  // Values of whole panels from natural order into the table's own.
  std::vector<int8_t> in_panel_order(const std::vector<int8_t>& natural) const {
    std::vector<int8_t> values(natural.size());
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = natural[i / cpu::kPanel * cpu::kPanel + output_at(i % cpu::kPanel)];
    return values;
  }
  friend void PrintTo(const IsaTable& table, std::ostream* to) { *to << table.isa->name; }
};

inline const std::vector<IsaTable>& isa_tables() {
  static const std::vector<IsaTable> tables = [] {
    std::vector<IsaTable> here;
    for (const cpu::Isa* isa : cpu::isas_of_this_machine()) {
      std::cout << "tested: " << isa->name << std::endl;
      const std::string name = isa->name;
      here.push_back({isa, name == "avx512" || name == "amx"});
    }
    return here;
  }();
  return tables;
}

// Room for an output with a margin on both sides that must stay as it is.
template <typename T>
class Guarded {
 public:
  explicit Guarded(size_t size) : values_(size + 2 * kMargin, kGuard) {}

  T* data() { return values_.data() + kMargin; }
  T& operator[](size_t i) { return values_[kMargin + i]; }
  bool margins_are_untouched() const {
    for (size_t i = 0; i < kMargin; ++i)
      if (values_[i] != kGuard || values_[values_.size() - 1 - i] != kGuard) return false;
    return true;
  }

 private:
  static constexpr size_t kMargin = 128;
  static constexpr T kGuard = 0x5A;
  std::vector<T> values_;
};

}  // namespace eggroll::test
