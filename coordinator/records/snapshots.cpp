#include "coordinator/records/snapshots.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "common/check.hpp"
#include "common/noise.hpp"

namespace eggroll {
namespace {

constexpr uint64_t kSliceBytes = 16 << 20;  // of states on the way to or from rank 0

// Calls move(rank, first slot of that rank, slots) for the states of all members in slot order, a
// slice at a time.
template <typename Move>
void for_each_state_slice(const RunConfig& config, int ranks, uint64_t slot_bytes, Move&& move) {
  const uint64_t per_pair = state_slots_per_pair(config.carry);
  const uint64_t slice = std::max<uint64_t>(1, kSliceBytes / slot_bytes);
  for (int r = 0; r < ranks; ++r) {
    const uint64_t slots = pairs_of_rank(config.pairs(), r, ranks).count * per_pair;
    for (uint64_t first = 0; first < slots; first += slice)
      move(r, first, std::min(slice, slots - first));
  }
}

std::vector<int32_t> read_accumulators(Backend& backend, UpdateRule update) {
  std::vector<int32_t> accumulators(update == UpdateRule::sigma_delta ? backend.layout().size()
                                                                      : 0);
  backend.read_accumulators(accumulators);
  return accumulators;
}

std::vector<int8_t> read_parameters(Backend& backend) {
  std::vector<int8_t> parameters(backend.layout().size());
  backend.read_parameters(parameters);
  return parameters;
}

uint64_t state_bytes(const RunConfig& config) { return uint64_t{config.layers} * config.width; }

}  // namespace

std::string current_digest(Backend& backend, UpdateRule update) {
  return parameters_digest(read_parameters(backend), read_accumulators(backend, update));
}

SnapshotWriterSettings snapshot_settings(const RunConfig& config) {
  return {.run = config.run,
          .shape = config.shape(),
          .layout = int_rnn_layout(config.shape()),
          .keep_checkpoints = config.keep_checkpoints};
}

void start_snapshot(const RunConfig& config, Collectives& group, Task& task,
                    const RunPosition& position, SnapshotWriter* writer) {
  // A gather that ends in an exception leaves no half a checkpoint.
  struct AbandonAtEnd {
    SnapshotWriter* writer;
    ~AbandonAtEnd() {
      if (writer) writer->abandon();
    }
  } const abandon_at_end{writer};

  Backend& backend = task.backend();
  if (writer)
    writer->begin({.header = {.generation = position.generation,
                              .seed = config.seed,
                              .data_position = position.data_position,
                              .data_digest = task.data_digest(),
                              .noise_law = kNoiseLaw,
                              .config = write_config(config),
                              .parameters_digest = {},
                              .state_slots = config.pairs() * state_slots_per_pair(config.carry)},
                   .parameters = read_parameters(backend),
                   .accumulators = read_accumulators(backend, config.update)});
  std::vector<size_t> counts(static_cast<size_t>(group.size()));
  for_each_state_slice(
      config, group.size(), state_bytes(config), [&](int r, uint64_t first, uint64_t slots) {
        std::vector<int8_t> mine(group.rank() == r ? slots * state_bytes(config) : 0);
        if (group.rank() == r) backend.read_states(first, mine);
        if (r == 0) {  // rank 0's own do not travel
          if (writer) writer->append_states(std::move(mine));
          return;
        }
        std::ranges::fill(counts, 0);
        counts[static_cast<size_t>(r)] = slots * state_bytes(config);
        std::vector<int8_t> arrived(group.rank() == 0 ? slots * state_bytes(config) : 0);
        group.gather(bytes_of(std::as_const(mine)), counts, bytes_of(arrived));
        if (writer) writer->append_states(std::move(arrived));
      });
  if (writer) writer->commit();
}

void write_snapshot(const RunConfig& config, Collectives& group, Task& task,
                    const RunPosition& position) {
  std::optional<SnapshotWriter> writer;
  if (group.rank() == 0) writer.emplace(snapshot_settings(config));
  start_snapshot(config, group, task, position, writer ? &*writer : nullptr);
  if (!writer) return;
  writer->wait();
  const std::string error = writer->take_outcomes().at(0).error;
  if (!error.empty()) throw Error(error);
}

RunPosition load_snapshot(const CheckpointReader* reader, const RunConfig& config,
                          Collectives& group, Task& task) {
  Backend& backend = task.backend();
  RunPosition position;
  std::vector<int8_t> parameters(backend.layout().size());
  std::vector<int32_t> accumulators(config.update == UpdateRule::sigma_delta ? parameters.size()
                                                                             : 0);
  if (reader) {
    position = {reader->header().generation, reader->header().data_position};
    parameters = reader->read_parameters(backend.layout());
    accumulators = reader->read_accumulators(backend.layout());
  }
  group.broadcast(bytes_of(position));
  group.broadcast(bytes_of(parameters));
  group.broadcast(bytes_of(accumulators));
  backend.write_parameters(parameters);
  backend.write_accumulators(accumulators);

  std::vector<size_t> counts(static_cast<size_t>(group.size()));
  std::vector<int8_t> mine, leaving;
  uint64_t next_slot = 0;
  for_each_state_slice(config, group.size(), state_bytes(config),
                       [&](int r, uint64_t first, uint64_t slots) {
                         std::ranges::fill(counts, 0);
                         counts[static_cast<size_t>(r)] = slots * state_bytes(config);
                         leaving.resize(reader ? slots * state_bytes(config) : 0);
                         if (reader) reader->read_states(next_slot, leaving, config.shape());
                         next_slot += slots;
                         mine.resize(counts[static_cast<size_t>(group.rank())]);
                         group.scatter(bytes_of(std::as_const(leaving)), counts, bytes_of(mine));
                         if (group.rank() == r) backend.write_states(first, mine);
                       });
  return position;
}

std::vector<int8_t> parameters_for(const CheckpointReader& reader,
                                   const std::filesystem::path& path, const IntRnnShape& shape) {
  const RunConfig saved = parse_config_text(reader.header().config, path.string());
  if (saved.shape() != shape)
    throw ConfigError(fmt::format(
        "init = {}: holds layers = {}, width = {}; this run has layers = {}, width = {}",
        path.string(), saved.layers, saved.width, shape.layers, shape.width));
  return reader.read_parameters(int_rnn_layout(shape));
}

std::vector<int8_t> start_parameters(const RunConfig& config) {
  if (config.init.empty()) return int_rnn_initial_parameters(config.shape(), config.seed);
  return parameters_for(open_checkpoint("init", config.init), config.init, config.shape());
}

std::string without_path(const Error& error, const std::filesystem::path& path) {
  const std::string what = error.what(), prefix = path.string() + ": ";
  return what.starts_with(prefix) ? what.substr(prefix.size()) : what;
}

CheckpointReader open_newest_checkpoint(const std::filesystem::path& folder) {
  return newest_checkpoint(folder, [](const std::filesystem::path&, const std::string& why) {
    fmt::print(stderr, "eggroll: passing over {}\n", why);
  });
}

void begin_with(Collectives& group, Task& task, UpdateRule update, std::vector<int8_t> parameters) {
  group.broadcast(bytes_of(parameters));
  task.backend().write_parameters(parameters);
  task.backend().write_accumulators(
      std::vector<int32_t>(update == UpdateRule::sigma_delta ? parameters.size() : 0));
}

CheckpointReader open_checkpoint(const std::string& option, const std::filesystem::path& path) {
  try {
    if (std::filesystem::is_directory(path)) return open_newest_checkpoint(path);
    CheckpointReader reader(path);
    reader.verify();
    if (reader.header().config.empty())
      throw Error("has no attribute config, which names layers and width");
    return reader;
  } catch (const Error& e) {  // the file is one that the user named
    throw ConfigError(fmt::format("{} = {}: {}", option, path.string(), without_path(e, path)));
  }
}

}  // namespace eggroll
