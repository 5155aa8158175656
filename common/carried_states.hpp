// What members carry from one generation to the next, as bytes: kept by whoever evaluates, moved and
// stored by those who know nothing of it. A slot has slot_bytes() bytes and belongs to a pair or to one
// of its members; slots are in the order of the pairs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/partition.hpp"

namespace eggroll {

class CarriedStates {
 public:
  virtual ~CarriedStates() = default;

  // Takes over these pairs of the population; their states become zero.
  virtual void assign(PairRange pairs) = 0;
  virtual uint64_t slots_per_pair() const = 0;
  // The dimensions of a slot, of int8.
  virtual std::vector<uint64_t> slot_shape() const = 0;
  // Whole slots, from one of this rank's own on.
  virtual void write(uint64_t first_slot, std::span<const std::byte> values) = 0;
  virtual void read(uint64_t first_slot, std::span<std::byte> values) = 0;

  uint64_t slot_bytes() const {
    uint64_t bytes = 1;
    for (const uint64_t side : slot_shape()) bytes *= side;
    return bytes;
  }
};

}  // namespace eggroll
