#include "common/files/checkpoint_content.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <optional>

#include "common/check.hpp"

namespace eggroll {
namespace {

constexpr size_t kMaxSlots = 16;
constexpr size_t kMaxSlotNameBytes = 40;
// What else is a group of a checkpoint, or will be.
constexpr std::array<std::string_view, 3> kOtherGroups = {"parameters", "states", "task"};

std::vector<uint64_t> shape_of(const TensorSpec& tensor) {
  if (tensor.role == Role::vector) return {tensor.rows};
  return {tensor.rows, tensor.cols};
}

bool is_slot_name(std::string_view text) {
  const auto may_stand = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !text.empty() && text.size() <= kMaxSlotNameBytes &&
         std::ranges::all_of(text, may_stand) &&
         std::ranges::find(kOtherGroups, text) == kOtherGroups.end();
}

std::optional<Element> element_named(std::string_view name) {
  for (const Element element : {Element::int8, Element::int32, Element::int64, Element::float32})
    if (name_of(element) == name) return element;
  return std::nullopt;
}

}  // namespace

std::vector<const TensorGroup::Tensor*> TensorGroup::by_name() const {
  std::vector<const Tensor*> sorted;
  for (const Tensor& tensor : tensors) sorted.push_back(&tensor);
  std::ranges::sort(sorted, {},
                    [](const Tensor* tensor) -> const std::string& { return tensor->name; });
  return sorted;
}

TensorGroup parameters_group(const ParameterLayout& layout) {
  TensorGroup group{.name = "parameters", .tensors = {}, .bytes = layout.bytes()};
  for (const TensorSpec& tensor : layout.tensors())
    group.tensors.push_back(
        {tensor.name, tensor.element, shape_of(tensor), tensor.at, tensor.bytes()});
  return group;
}

TensorGroup slot_group(const ParameterLayout& layout, const SlotInfo& slot) {
  const size_t each = bytes_of(slot.element);
  TensorGroup group{.name = slot.name, .tensors = {}, .bytes = layout.trained() * each};
  for (const TensorSpec& tensor : layout.tensors())
    if (tensor.is_trained())
      group.tensors.push_back({tensor.name, slot.element, shape_of(tensor), tensor.offset * each,
                               tensor.size() * each});
  return group;
}

std::string slots_text(const std::vector<SlotInfo>& slots) {
  std::string text;
  for (const SlotInfo& slot : slots)
    text += fmt::format("{} {}\n", slot.name, name_of(slot.element));
  return text;
}

std::vector<SlotInfo> parse_slots(std::string_view text) {
  std::vector<SlotInfo> slots;
  while (!text.empty()) {
    if (slots.size() == kMaxSlots) throw Error(fmt::format("more than {} slots", kMaxSlots));
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::string_view name = line.substr(0, line.find(' '));
    const auto element = element_named(line.substr(std::min(name.size() + 1, line.size())));
    if (!is_slot_name(name) || !element)
      throw Error(fmt::format("line {} is none: name, element", slots.size() + 1));
    for (const SlotInfo& slot : slots)
      if (slot.name == name) throw Error(fmt::format("two slots named {}", name));
    slots.push_back({std::string(name), *element});
  }
  return slots;
}

ContentHash::ContentHash() : state_(XXH3_createState()) {
  require(state_ != nullptr, "memory for a checksum");
  XXH3_64bits_reset(state_.get());
}

void ContentHash::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

void ContentHash::add(const void* data, size_t bytes) {
  XXH3_64bits_update(state_.get(), data, bytes);
}

void ContentHash::add_number(uint64_t value) { add(&value, sizeof value); }

void ContentHash::add_text(std::string_view text) {
  add_number(text.size());
  add(text.data(), text.size());
}

void ContentHash::add_shape(const std::vector<uint64_t>& shape) {
  add_number(shape.size());
  for (const uint64_t side : shape) add_number(side);
}

void ContentHash::add_texts(std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts) add_text(text);
}

void ContentHash::add_header(const CheckpointHeader& header) {
  for (const uint64_t value : {kCheckpointFormatVersion, header.generation, header.seed})
    add_number(value);
  add_texts({header.data_digest, header.noise_law, header.arithmetic, header.config, header.layout,
             slots_text(header.slots), header.parameters_digest});
  add_number(header.state_slots);
}

void ContentHash::add_header_of_format_1(const CheckpointHeader& header, uint64_t data_position) {
  for (const uint64_t value : {uint64_t{1}, header.generation, header.seed, data_position})
    add_number(value);
  add_texts({header.data_digest, header.noise_law, header.config, header.parameters_digest});
  add_number(header.state_slots);
}

void ContentHash::add_tensor(const std::string& name, Element element,
                             const std::vector<uint64_t>& shape) {
  add_text(name);
  add_text(name_of(element));
  add_shape(shape);
}

void ContentHash::add_tensor_of_format_1(const std::string& name,
                                         const std::vector<uint64_t>& shape) {
  add_text(name);
  add_shape(shape);
}

std::string ContentHash::digest() const {
  return fmt::format("{:016x}", XXH3_64bits_digest(state_.get()));
}

std::string arenas_digest(std::span<const std::span<const std::byte>> arenas) {
  ContentHash hash;
  for (const std::span<const std::byte> arena : arenas) hash.add(arena.data(), arena.size());
  return hash.digest();
}

}  // namespace eggroll
