// What writer and reader of a checkpoint must agree on, for checkpoint_*.cpp alone: where the tensors
// of a group lie in their arena, the text of the slots, and the checksum over content (checkpoint.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/files/checkpoint.hpp"

struct XXH3_state_s;

namespace eggroll {

// The tensors of a group of the file, in the order of the layout, and their arena.
struct TensorGroup {
  struct Tensor {
    std::string name;
    Element element;
    std::vector<uint64_t> shape;
    size_t at;  // in the arena, bytes
    size_t bytes;
  };

  std::string name;
  std::vector<Tensor> tensors;
  size_t bytes;  // of the arena

  std::vector<const Tensor*> by_name() const;  // in byte order
};

TensorGroup parameters_group(const ParameterLayout& layout);
TensorGroup slot_group(const ParameterLayout& layout, const SlotInfo& slot);

std::string slots_text(const std::vector<SlotInfo>& slots);
// Throws Error where a line is none of slots_text, a name is no group's, or there are too many.
std::vector<SlotInfo> parse_slots(std::string_view text);

class ContentHash {
 public:
  ContentHash();

  void add(const void* data, size_t bytes);
  void add_number(uint64_t value);
  void add_text(std::string_view text);
  void add_shape(const std::vector<uint64_t>& shape);
  void add_header(const CheckpointHeader& header);
  void add_header_of_format_1(const CheckpointHeader& header, uint64_t data_position);
  // What stands before the elements of a tensor.
  void add_tensor(const std::string& name, Element element, const std::vector<uint64_t>& shape);
  void add_tensor_of_format_1(const std::string& name, const std::vector<uint64_t>& shape);
  std::string digest() const;

 private:
  void add_texts(std::initializer_list<std::string_view> texts);

  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

}  // namespace eggroll
