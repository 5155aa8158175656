// Small checkpoints with all that one can hold, written and read back.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/check.hpp"
#include "common/files/checkpoint.hpp"

namespace eggroll::test {

inline const std::vector<uint64_t> kSlotShape = {2, 4};
inline constexpr uint64_t kSlotBytes = 8;

inline const std::vector<SlotInfo> kNoSlots;
inline const std::vector<SlotInfo> kAccumulators = {{"accumulators", Element::int32}};
inline const std::vector<SlotInfo> kAdamSlots = {{"adam_m", Element::float32},
                                                 {"adam_v", Element::float32}};

// Small, so that a test can damage every byte of a file; names that sort otherwise than they stand.
inline ParameterLayout small_layout() {
  ParameterLayout layout;
  layout.add("emb", Role::embedding, Noise::low_rank, Element::int8, 6, 4);
  layout.add("layers.10.Wf", Role::matrix, Noise::low_rank, Element::int8, 4, 3);
  layout.add("layers.2.Wf", Role::matrix, Noise::low_rank, Element::int8, 3, 5);
  layout.add("bias", Role::vector, Noise::product, Element::int8, 7, 1);
  return layout;
}

// Every role, noise and element; one byte between `mask` and what follows it.
inline ParameterLayout float_layout() {
  ParameterLayout layout;
  layout.add("emb", Role::embedding, Noise::none, Element::float32, 5, 3);
  layout.add("layers.10.W", Role::matrix, Noise::low_rank, Element::float32, 4, 3);
  layout.add("mask", Role::vector, Noise::none, Element::int8, 3, 1);
  layout.add("layers.2.W", Role::matrix, Noise::full, Element::float32, 2, 5);
  layout.add("steps", Role::vector, Noise::product, Element::int32, 2, 1);
  layout.add("bias", Role::vector, Noise::full, Element::float32, 7, 1);
  return layout;
}

// Everything a checkpoint holds.
struct Content {
  CheckpointHeader header;
  RunArenas arenas;
  std::vector<std::byte> states;
};

// Value i of a sample, of these elements.
inline void put_sample(size_t i, Element element, std::byte* to) {
  const auto put = [to](auto value) { std::memcpy(to, &value, sizeof value); };
  switch (element) {
    case Element::int8:
      return put(static_cast<int8_t>(127 - static_cast<int>(i * 37 % 255)));
    case Element::int32:
      return put(static_cast<int32_t>(i * 2654435761u) ^ 0x7FFF);
    case Element::int64:
      return put(static_cast<int64_t>(i * 0x9E3779B97F4A7C15u));
    case Element::float32:  // now and then -0, a NaN with a payload, infinity
      return put(i % 11 == 7   ? -0.0f
                 : i % 11 == 8 ? std::bit_cast<float>(0x7FC01234u)
                 : i % 11 == 9 ? std::numeric_limits<float>::infinity()
                               : static_cast<float>(i) * 0.37f - 5);
  }
}

inline RunArenas sample_arenas(const ParameterLayout& layout, const std::vector<SlotInfo>& slots) {
  RunArenas all;
  all.arenas.emplace_back(layout.bytes());
  size_t i = 0;
  for (const TensorSpec& tensor : layout.tensors())
    for (size_t e = 0; e < tensor.size(); ++e)
      put_sample(i++, tensor.element,
                 all.arenas[0].data() + tensor.at + e * bytes_of(tensor.element));
  for (const SlotInfo& slot : slots) {
    const size_t each = bytes_of(slot.element);
    std::vector<std::byte>& arena = all.arenas.emplace_back(layout.trained() * each);
    // Another one for each slot; of the first, value i is that of element i.
    const size_t first = 1000 * (all.arenas.size() - 2);
    for (size_t e = 0; e < layout.trained(); ++e)
      put_sample(first + e, slot.element, arena.data() + e * each);
  }
  return all;
}

inline Content sample_content(const ParameterLayout& layout, uint64_t state_slots,
                              const std::vector<SlotInfo>& slots = kAccumulators) {
  Content content;
  content.arenas = sample_arenas(layout, slots);
  for (size_t i = 0; i < state_slots * kSlotBytes; ++i)
    content.states.push_back(static_cast<std::byte>(static_cast<int>(i * 11 % 255) - 127));
  content.header = {.generation = 42,
                    .seed = std::numeric_limits<uint64_t>::max(),
                    .version = {},
                    .data_digest = "0123456789abcdef",
                    .noise_law = "philox10_two_table_v1",
                    .arithmetic = "exact",
                    .config = "layers = 2\nwidth = 4\n# \xC3\xA4\n",
                    .layout = layout.text(),
                    .parameters_digest = arenas_digest(content.arenas.spans()),
                    .slots = slots,
                    .state_slots = state_slots,
                    .slot_shape = state_slots > 0 ? kSlotShape : std::vector<uint64_t>()};
  return content;
}

inline void write_checkpoint(const std::filesystem::path& path, const ParameterLayout& layout,
                             const Content& content, uint64_t slots_at_a_time = 3) {
  CheckpointWriter writer(path, layout, content.header, content.arenas.spans());
  for (std::span<const std::byte> rest = content.states; !rest.empty();) {
    const size_t count = std::min<size_t>(rest.size(), slots_at_a_time * kSlotBytes);
    writer.append_states(rest.first(count));
    rest = rest.subspan(count);
  }
  writer.finish();
}

inline Content read_checkpoint(const std::filesystem::path& path, const ParameterLayout& layout) {
  const CheckpointReader reader(path);
  reader.verify();
  Content content{.header = reader.header(), .arenas = {}, .states = {}};
  content.arenas.arenas.push_back(reader.read_parameters(layout));
  for (const SlotInfo& slot : reader.header().slots)
    content.arenas.arenas.push_back(reader.read_slot(layout, slot.name, slot.element));
  content.states.resize(reader.header().state_slots * kSlotBytes);
  if (!content.states.empty()) reader.read_states(0, content.states);
  return content;
}

inline void expect_same(const Content& a, const Content& b) {
  EXPECT_EQ(a.header.generation, b.header.generation);
  EXPECT_EQ(a.header.config, b.header.config);
  EXPECT_EQ(a.header.layout, b.header.layout);
  EXPECT_TRUE(a.header == b.header);
  EXPECT_TRUE(a.arenas == b.arenas);
  EXPECT_TRUE(a.states == b.states);
}

inline size_t files_in(const std::filesystem::path& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder),
                                           std::filesystem::directory_iterator()));
}

// The words of the Error that `work` ends in.
template <typename Work>
std::string refusal(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace eggroll::test
