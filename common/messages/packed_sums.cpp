#include "common/messages/packed_sums.hpp"

#include <bit>
#include <cstring>
#include <type_traits>

#include "common/check.hpp"

namespace eggroll {
namespace {

// The fewest bytes, of 1, 2, 3, 4 and 8, that hold every sum with its sign.
template <typename T>
size_t bytes_needed(std::span<const T> sums) {
  constexpr int kSign = 8 * sizeof(T) - 1;
  T bits = 0;
  for (const T z : sums) bits |= z ^ (z >> kSign);
  const size_t bytes =
      static_cast<size_t>(std::bit_width(static_cast<std::make_unsigned_t<T>>(bits))) / 8 + 1;
  return bytes <= 4 ? bytes : 8;
}

// Calls keep(i, value) for each sum. Three bytes are a plane of the lower two and one of the third.
template <typename T, typename Keep>
void for_each_packed(std::span<const std::byte> from, size_t sums, Keep&& keep) {
  require(from.size() >= kPackedHeaderBytes, "packed sums");
  const auto width = static_cast<size_t>(from[0]);
  require(from.size() >= kPackedHeaderBytes + width * sums, "as many sums as were packed");
  const std::byte* planes = from.data() + kPackedHeaderBytes;
  const auto in_plane = [planes]<typename Small>(Small, size_t first) {
    return reinterpret_cast<const Small*>(planes + first);
  };
  const auto each = [&](auto small) {
    const auto* plane = in_plane(small, 0);
    for (size_t i = 0; i < sums; ++i) keep(i, static_cast<T>(plane[i]));
  };
  if (width == 1) return each(int8_t{});
  if (width == 2) return each(int16_t{});
  if (width == sizeof(T)) return each(T{});
  if (width == 4) return each(int32_t{});
  require(width == 3, "a width of packed sums");
  const auto* low = in_plane(uint16_t{}, 0);
  const auto* high = in_plane(int8_t{}, 2 * sums);
  for (size_t i = 0; i < sums; ++i)
    keep(i, static_cast<T>(int32_t{high[i]} * 65536 + int32_t{low[i]}));
}

}  // namespace

template <typename T>
size_t pack_sums(std::span<const T> sums, std::span<std::byte> to) {
  require(to.size() >= most_packed_bytes<T>(sums.size()), "room for packed sums");
  const size_t width = bytes_needed(sums);
  std::memset(to.data(), 0, kPackedHeaderBytes);
  to[0] = static_cast<std::byte>(width);
  std::byte* planes = to.data() + kPackedHeaderBytes;
  const auto narrow = [&](auto small, size_t first, int shift) {
    auto* plane = reinterpret_cast<decltype(small)*>(planes + first);
    for (size_t i = 0; i < sums.size(); ++i)
      plane[i] = static_cast<decltype(small)>(sums[i] >> shift);
  };
  if (width == sizeof(T))
    narrow(T{}, 0, 0);
  else if (width == 1)
    narrow(int8_t{}, 0, 0);
  else if (width == 2)
    narrow(int16_t{}, 0, 0);
  else if (width == 4)
    narrow(int32_t{}, 0, 0);
  else {
    narrow(uint16_t{}, 0, 0);
    narrow(int8_t{}, 2 * sums.size(), 16);
  }
  return kPackedHeaderBytes + width * sums.size();
}

template <typename T>
void unpack_sums(std::span<const std::byte> from, std::span<T> sums) {
  T* to = sums.data();
  for_each_packed<T>(from, sums.size(), [to](size_t i, T value) { to[i] = value; });
}

template <typename T>
void add_packed_sums(std::span<const std::byte> from, std::span<T> sums) {
  T* to = sums.data();
  for_each_packed<T>(from, sums.size(), [to](size_t i, T value) { to[i] += value; });
}

template size_t pack_sums(std::span<const int32_t>, std::span<std::byte>);
template size_t pack_sums(std::span<const int64_t>, std::span<std::byte>);
template void unpack_sums(std::span<const std::byte>, std::span<int32_t>);
template void unpack_sums(std::span<const std::byte>, std::span<int64_t>);
template void add_packed_sums(std::span<const std::byte>, std::span<int32_t>);
template void add_packed_sums(std::span<const std::byte>, std::span<int64_t>);

}  // namespace eggroll
