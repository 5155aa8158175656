#include "coordinator/records/run_state.hpp"

#include <span>

#include "kernels/optimizers.hpp"

namespace eggroll {

void read_state(Learner& learner, std::string_view update, RunArenas& to) {
  to.arenas.resize(1 + optimizer_type(update).slots.size());
  for (size_t arena = 0; arena < to.arenas.size(); ++arena) {
    to.arenas[arena].resize(learner.arena_bytes(arena));
    learner.read(arena, to.arenas[arena]);
  }
}

RunArenas read_state(Learner& learner, std::string_view update) {
  RunArenas state;
  read_state(learner, update, state);
  return state;
}

void write_state(Learner& learner, const RunArenas& state) {
  for (size_t arena = 0; arena < state.arenas.size(); ++arena)
    learner.write(arena, state.arenas[arena]);
}

RunArenas start_state(const ParameterLayout& layout, std::string_view update,
                      std::vector<std::byte> parameters) {
  RunArenas state{{std::move(parameters)}};
  for (const Slot& slot : optimizer_type(update).slots)
    state.arenas.emplace_back(layout.trained() * bytes_of(slot.element));
  return state;
}

std::string current_digest(Learner& learner, std::string_view update) {
  return arenas_digest(read_state(learner, update).spans());
}

std::string tensor_digests(Learner& learner, std::string_view update) {
  const RunArenas state = read_state(learner, update);
  const std::span<const Slot> slots = optimizer_type(update).slots;
  std::string digests;
  for (const TensorSpec& tensor : learner.layout().tensors()) {
    std::vector<std::span<const std::byte>> parts = {
        std::span(state.arenas[0]).subspan(tensor.at, tensor.bytes())};
    for (size_t s = 0; s < slots.size() && tensor.is_trained(); ++s) {
      const size_t bytes = bytes_of(slots[s].element);
      parts.push_back(
          std::span(state.arenas[1 + s]).subspan(tensor.offset * bytes, tensor.size() * bytes));
    }
    digests += arenas_digest(parts);
  }
  return digests;
}

std::vector<SlotInfo> slots_of(std::string_view update) {
  std::vector<SlotInfo> infos;
  for (const Slot& slot : optimizer_type(update).slots) infos.push_back({slot.name, slot.element});
  return infos;
}

}  // namespace eggroll
