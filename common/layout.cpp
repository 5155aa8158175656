#include "common/layout.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "common/check.hpp"

namespace eggroll {
namespace {

constexpr std::array<std::string_view, 4> kElements = {"int8", "int32", "int64", "float32"};
constexpr std::array<std::string_view, 3> kRoles = {"matrix", "embedding", "vector"};
constexpr std::array<std::string_view, 4> kNoises = {"low_rank", "product", "full", "none"};

template <typename Enum, size_t N>
std::optional<Enum> named(const std::array<std::string_view, N>& names, std::string_view name) {
  for (size_t i = 0; i < N; ++i)
    if (names[i] == name) return static_cast<Enum>(i);
  return std::nullopt;
}

std::optional<uint32_t> number(std::string_view text) {
  uint32_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

// Takes the text before the next `separator` off the front.
std::string_view take_until(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return taken;
}

bool is_name(std::string_view text) {
  const auto may_stand = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  };
  return !text.empty() && text.size() <= ParameterLayout::kMaxNameBytes && text[0] != '.' &&
         text[0] != '-' && std::ranges::all_of(text, may_stand);
}

}  // namespace

std::string_view name_of(Element element) { return kElements[static_cast<size_t>(element)]; }
std::string_view name_of(Role role) { return kRoles[static_cast<size_t>(role)]; }
std::string_view name_of(Noise noise) { return kNoises[static_cast<size_t>(noise)]; }

void ParameterLayout::add(std::string name, Role role, Noise noise, Element element, uint32_t rows,
                          uint32_t cols) {
  if (tensors_.size() == kMaxTensors)
    throw Error("a layout has at most " + std::to_string(kMaxTensors) + " tensors");
  if (!is_name(name))
    throw Error("a tensor's name is of letters, digits and . _ -, at most " +
                std::to_string(kMaxNameBytes) + " of them, and begins with none of . and -");
  for (const TensorSpec& tensor : tensors_)
    if (tensor.name == name) throw Error("two tensors named " + name + " in one layout");
  if (rows == 0 || cols == 0) throw Error("tensor " + name + " has no elements");
  if (size_t{rows} * cols > kMaxElements)
    throw Error("tensor " + name + ": more than 2^40 elements");
  if (role == Role::vector && (cols != 1 || noise == Noise::low_rank))
    throw Error("tensor " + name + ": a vector has one column, and no noise of low rank");
  const size_t alignment = bytes_of(element);
  const size_t at = (bytes_ + alignment - 1) / alignment * alignment;
  TensorSpec added{std::move(name), role, noise, element, rows, cols, at, trained_};
  if (noise_elements(added, 1) >= uint64_t{1} << 32)
    throw Error("tensor " + added.name + ": 2^32 elements of noise or more");
  size_ += added.size();
  bytes_ = at + added.bytes();
  if (added.is_trained()) trained_ += added.size();
  tensors_.push_back(std::move(added));
}

size_t ParameterLayout::index_of(std::string_view name) const {
  for (size_t i = 0; i < tensors_.size(); ++i)
    if (tensors_[i].name == name) return i;
  throw Error("no tensor named " + std::string(name) + " in this layout");
}

std::string ParameterLayout::text() const {
  std::string text;
  for (const TensorSpec& tensor : tensors_) {
    text += tensor.name;
    for (const std::string_view word :
         {name_of(tensor.role), name_of(tensor.noise), name_of(tensor.element)})
      (text += ' ') += word;
    text += ' ' + std::to_string(tensor.rows) + ' ' + std::to_string(tensor.cols) + '\n';
  }
  return text;
}

ParameterLayout ParameterLayout::parse(std::string_view text) {
  ParameterLayout layout;
  for (int line = 1; !text.empty(); ++line) {
    std::string_view rest = take_until(text, '\n');
    const std::string name(take_until(rest, ' '));
    const auto role = named<Role>(kRoles, take_until(rest, ' '));
    const auto noise = named<Noise>(kNoises, take_until(rest, ' '));
    const auto element = named<Element>(kElements, take_until(rest, ' '));
    const auto rows = number(take_until(rest, ' '));
    const auto cols = number(take_until(rest, ' '));
    if (!role || !noise || !element || !rows || !cols || !rest.empty())
      throw Error("line " + std::to_string(line) +
                  " of the layout is none: name, role, noise, element, rows, cols");
    layout.add(name, *role, *noise, *element, *rows, *cols);
  }
  return layout;
}

}  // namespace eggroll
