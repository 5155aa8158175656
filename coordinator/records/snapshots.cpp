#include "coordinator/records/snapshots.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/check.hpp"
#include "common/noise.hpp"
#include "common/partition.hpp"
#include "coordinator/records/state_slices.hpp"
#include "coordinator/version.hpp"

namespace eggroll {

void start_snapshot(const RunConfig& config, const std::string& config_text, Collectives& group,
                    Task& task, Learner& learner, uint64_t generation, SnapshotWriter* writer) {
  // A gather that ends in an exception leaves no half a checkpoint.
  struct AbandonAtEnd {
    SnapshotWriter* writer;
    ~AbandonAtEnd() {
      if (writer) writer->abandon();
    }
  } const abandon_at_end{writer};

  CarriedStates* carried = task.carried();
  if (writer)
    writer->begin(
        {.header = {.generation = generation,
                    .seed = config.seed,
                    .version = version(),
                    .data_digest = task.data_digest(),
                    .noise_law = kNoiseLaw,
                    .arithmetic = task.arithmetic(),
                    .config = config_text,
                    .layout = {},             // the writer's to fill in,
                    .parameters_digest = {},  // and this
                    .slots = slots_of(config.update),
                    .state_slots = carried ? config.pairs() * carried->slots_per_pair() : 0,
                    .slot_shape = carried ? carried->slot_shape() : std::vector<uint64_t>{}},
         .layout = learner.layout(),
         .state = read_state(learner, config.update)});
  if (carried) {
    std::vector<size_t> counts(static_cast<size_t>(group.size()));
    for_each_state_slice(config, group.size(), *carried,
                         [&](int r, uint64_t first, uint64_t slots) {
                           const size_t bytes = slots * carried->slot_bytes();
                           std::vector<std::byte> mine(group.rank() == r ? bytes : 0);
                           if (group.rank() == r) carried->read(first, mine);
                           if (r == 0) {  // rank 0's own do not travel
                             if (writer) writer->append_states(std::move(mine));
                             return;
                           }
                           std::ranges::fill(counts, 0);
                           counts[static_cast<size_t>(r)] = bytes;
                           std::vector<std::byte> arrived(group.rank() == 0 ? bytes : 0);
                           group.gather(mine, counts, arrived);
                           if (writer) writer->append_states(std::move(arrived));
                         });
  }
  if (writer) writer->commit();
}

uint64_t load_snapshot(const CheckpointReader* reader, const RunConfig& config, Collectives& group,
                       Task& task, Learner& learner) {
  const ParameterLayout& layout = learner.layout();
  uint64_t generation = 0;
  RunArenas state = start_state(layout, config.update, std::vector<std::byte>(layout.bytes()));
  if (reader) {
    generation = reader->header().generation;
    state.arenas[0] = reader->read_parameters(layout);
    const std::vector<SlotInfo> slots = slots_of(config.update);
    for (size_t s = 0; s < slots.size(); ++s) {
      state.arenas[1 + s] = reader->read_slot(layout, slots[s].name, slots[s].element);
      if (state.arenas[1 + s].empty())
        throw Error(fmt::format("{}: holds no {}, which update = {} goes on with",
                                reader->path().string(), slots[s].name, config.update));
    }
    if (const CarriedStates* carried = task.carried())
      reader->expect_states(config.pairs() * carried->slots_per_pair(), carried->slot_shape());
  }
  group.broadcast(bytes_of(generation));
  for (std::vector<std::byte>& arena : state.arenas) group.broadcast(arena);
  write_state(learner, state);

  CarriedStates* carried = task.carried();
  if (!carried) return generation;
  std::vector<size_t> counts(static_cast<size_t>(group.size()));
  std::vector<std::byte> mine, leaving;
  uint64_t next_slot = 0;
  for_each_state_slice(config, group.size(), *carried, [&](int r, uint64_t first, uint64_t slots) {
    std::ranges::fill(counts, 0);
    counts[static_cast<size_t>(r)] = slots * carried->slot_bytes();
    leaving.resize(reader ? slots * carried->slot_bytes() : 0);
    if (reader) reader->read_states(next_slot, leaving);
    next_slot += slots;
    mine.resize(counts[static_cast<size_t>(group.rank())]);
    group.scatter(leaving, counts, mine);
    if (group.rank() == r) carried->write(first, mine);
  });
  return generation;
}

void begin_with(Collectives& group, const RunConfig& config, Learner& learner,
                std::vector<std::byte> parameters) {
  group.broadcast(parameters);
  write_state(learner, start_state(learner.layout(), config.update, std::move(parameters)));
}

}  // namespace eggroll
