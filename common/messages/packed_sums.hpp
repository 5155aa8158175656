// Integer sums on their way between ranks: each in 1, 2, 3 or 4 bytes, the fewest that the largest
// of them needs. Between identical builds; the same integers come out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace eggroll {

// Memory for so many sums of T, whatever they are.
template <typename T>
constexpr size_t most_packed_bytes(size_t sums);

// Returns how many bytes of `to`, which has room for any, are used.
template <typename T>
size_t pack_sums(std::span<const T> sums, std::span<std::byte> to);

// As many as were packed.
template <typename T>
void unpack_sums(std::span<const std::byte> from, std::span<T> sums);
template <typename T>
void add_packed_sums(std::span<const std::byte> from, std::span<T> sums);

inline constexpr size_t kPackedHeaderBytes = 64;  // the first says the bytes of a sum

template <typename T>
constexpr size_t most_packed_bytes(size_t sums) {
  return kPackedHeaderBytes + sums * sizeof(T);
}

}  // namespace eggroll
