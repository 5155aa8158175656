// The instruction set tables this machine can run, and what a test must know about each.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "kernels/cpu/isa.hpp"

namespace eggroll::test {

struct IsaTable {
  const cpu::Isa* isa;
  bool has_tiles;          // of 16 rows
  bool makes_noise;        // beside products; amx where rows fill no tile
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
      const bool avx512 = name == "avx512", amx = name == "amx";
      here.push_back({.isa = isa,
                      .has_tiles = amx,
                      .makes_noise = avx512 || amx,
                      .transposes_panels = avx512 || amx});
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

// A copy of values behind which nothing can be read: a kernel that does ends by SIGSEGV.
template <typename T>
class BeforeAHole {
 public:
  explicit BeforeAHole(std::span<const T> values) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = values.size_bytes(), room = (bytes + page - 1) / page * page;
    size_ = room + page;
    memory_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    char* begin = static_cast<char*>(memory_);
    data_ = reinterpret_cast<T*>(begin + room - bytes);
    std::copy(values.begin(), values.end(), data_);
    if (mprotect(begin + room, page, PROT_NONE) != 0) throw std::bad_alloc();
  }
  ~BeforeAHole() { munmap(memory_, size_); }
  BeforeAHole(const BeforeAHole&) = delete;
  BeforeAHole& operator=(const BeforeAHole&) = delete;

  const T* data() const { return data_; }

 private:
  void* memory_ = nullptr;
  size_t size_ = 0;
  T* data_ = nullptr;
};

}  // namespace eggroll::test
