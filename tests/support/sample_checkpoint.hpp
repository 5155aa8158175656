// A small checkpoint with all that one can hold, written and read back.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "common/files/checkpoint.hpp"

namespace eggroll::test {

inline constexpr IntRnnShape kShape{2, 4};
inline constexpr uint64_t kSlotBytes = 8;

// Small, so that a test can damage every byte of a file; names that sort otherwise than they stand.
inline ParameterLayout small_layout() {
  ParameterLayout layout;
  layout.add("emb", TensorKind::embedding, 6, 4);
  layout.add("layers.10.Wf", TensorKind::matrix, 4, 3);
  layout.add("layers.2.Wf", TensorKind::matrix, 3, 5);
  layout.add("bias", TensorKind::vector, 7, 1);
  return layout;
}

// Everything a checkpoint holds.
struct Content {
  CheckpointHeader header;
  std::vector<int8_t> parameters;
  std::vector<int32_t> accumulators;
  std::vector<int8_t> states;
};

inline Content sample_content(const ParameterLayout& layout, uint64_t slots,
                              bool has_accumulators) {
  Content content;
  for (size_t i = 0; i < layout.size(); ++i) {
    content.parameters.push_back(static_cast<int8_t>(127 - static_cast<int>(i * 37 % 255)));
    if (has_accumulators)
      content.accumulators.push_back(static_cast<int32_t>(i * 2654435761u) ^ 0x7FFF);
  }
  for (size_t i = 0; i < slots * kSlotBytes; ++i)
    content.states.push_back(static_cast<int8_t>(static_cast<int>(i * 11 % 255) - 127));
  content.header = {
      .generation = 42,
      .seed = std::numeric_limits<uint64_t>::max(),
      .data_position = uint64_t{1} << 40,
      .data_digest = "0123456789abcdef",
      .noise_law = "philox10_two_table_v1",
      .config = "layers = 2\nwidth = 4\n# \xC3\xA4\n",
      .parameters_digest = parameters_digest(content.parameters, content.accumulators),
      .state_slots = slots};
  return content;
}

inline void write_checkpoint(const std::filesystem::path& path, const ParameterLayout& layout,
                             const Content& content, uint64_t slots_at_a_time = 3) {
  CheckpointWriter writer(path, layout, kShape, content.header, content.parameters,
                          content.accumulators);
  for (std::span<const int8_t> rest = content.states; !rest.empty();) {
    const size_t count = std::min<size_t>(rest.size(), slots_at_a_time * kSlotBytes);
    writer.append_states(rest.first(count));
    rest = rest.subspan(count);
  }
  writer.finish();
}

inline Content read_checkpoint(const std::filesystem::path& path, const ParameterLayout& layout) {
  const CheckpointReader reader(path);
  reader.verify();
  Content content{reader.header(), reader.read_parameters(layout), reader.read_accumulators(layout),
                  std::vector<int8_t>(reader.header().state_slots * kSlotBytes)};
  if (!content.states.empty()) reader.read_states(0, content.states, kShape);
  return content;
}

inline void expect_same(const Content& a, const Content& b) {
  EXPECT_EQ(a.header.generation, b.header.generation);
  EXPECT_EQ(a.header.seed, b.header.seed);
  EXPECT_EQ(a.header.data_position, b.header.data_position);
  EXPECT_EQ(a.header.data_digest, b.header.data_digest);
  EXPECT_EQ(a.header.noise_law, b.header.noise_law);
  EXPECT_EQ(a.header.config, b.header.config);
  EXPECT_EQ(a.header.parameters_digest, b.header.parameters_digest);
  EXPECT_EQ(a.header.state_slots, b.header.state_slots);
  EXPECT_EQ(a.parameters, b.parameters);
  EXPECT_EQ(a.accumulators, b.accumulators);
  EXPECT_EQ(a.states, b.states);
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
