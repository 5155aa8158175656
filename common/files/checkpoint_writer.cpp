#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "common/check.hpp"
#include "common/files/checkpoint_content.hpp"
#include "common/files/checkpoint_folder.hpp"
#include "common/files/hdf5_file.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;

// What was written to `path` reaches the disk; a directory's names likewise.
void sync_to_disk(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool worked = descriptor >= 0 && fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) close(descriptor);
  if (!worked) throw Error(fmt::format("{}: cannot sync: {}", path.string(), std::strerror(error)));
}

// The digest goes over these bytes and the file has none of them.
bool is_zero_between_tensors(const ParameterLayout& layout, std::span<const std::byte> parameters) {
  size_t end = 0;
  for (const TensorSpec& tensor : layout.tensors()) {
    for (; end < tensor.at; ++end)
      if (parameters[end] != std::byte{0}) return false;
    end += tensor.bytes();
  }
  return true;
}

}  // namespace

struct CheckpointWriter::Impl {
  fs::path path;
  fs::path partial;
  uint64_t slots = 0;
  uint64_t slot_bytes = 1;
  uint64_t next_slot = 0;
  bool is_finished = false;
  ContentHash hash;
  std::optional<hdf5::File> file;
  hdf5::Dataset states;

  ~Impl() {
    states = {};
    if (file && !is_finished) file->abandon();
  }

  void write_header(const CheckpointHeader& header) {
    file->write_number("format_version", kCheckpointFormatVersion);
    file->write_number("generation", header.generation);
    file->write_number("seed", header.seed);
    if (!header.version.empty()) file->write_text("version", header.version);
    file->write_text("data_digest", header.data_digest);
    file->write_text("noise_law", header.noise_law);
    file->write_text("arithmetic", header.arithmetic);
    file->write_text("config", header.config);
    file->write_text("layout", header.layout);
    file->write_text("slots", slots_text(header.slots));
    file->write_text("parameters_digest", header.parameters_digest);
    hash.add_header(header);
  }

  void write_group(const TensorGroup& group, std::span<const std::byte> arena) {
    file->create_group(group.name);
    hash.add_number(group.tensors.size());
    for (const TensorGroup::Tensor* tensor : group.by_name()) {
      const std::byte* values = arena.data() + tensor->at;
      const hdf5::Dataset dataset =
          file->create_dataset(group.name, tensor->name, tensor->element, tensor->shape);
      file->write_rows(dataset, 0, tensor->shape[0], values);
      hash.add_tensor(tensor->name, tensor->element, tensor->shape);
      hash.add(values, tensor->bytes);
    }
  }

  void begin_states(const std::vector<uint64_t>& slot_shape) {
    std::vector<uint64_t> shape = {slots};
    shape.insert(shape.end(), slot_shape.begin(), slot_shape.end());
    states = file->create_dataset("", "states", Element::int8, shape);
    hash.add_shape(shape);
  }
};

std::string checkpoint_library() { return hdf5::library(); }

CheckpointWriter::CheckpointWriter(fs::path path, const ParameterLayout& layout,
                                   const CheckpointHeader& header,
                                   std::span<const std::span<const std::byte>> arenas)
    : impl_(std::make_unique<Impl>()) {
  Impl& to = *impl_;
  to.slots = header.state_slots;
  for (const uint64_t side : header.slot_shape) to.slot_bytes *= side;
  require(to.slots == 0 || (to.slot_bytes > 0 && header.slot_shape.size() < hdf5::kMaxDimensions),
          "checkpoint: a shape of states");
  require(parse_slots(slots_text(header.slots)) == header.slots, "checkpoint: names of slots");
  std::vector<TensorGroup> groups = {parameters_group(layout)};
  for (const SlotInfo& slot : header.slots) groups.push_back(slot_group(layout, slot));
  require(std::ranges::equal(arenas, groups, {}, &std::span<const std::byte>::size,
                             &TensorGroup::bytes),
          "checkpoint: an arena of parameters, and one for each slot, by the layout");
  require(is_zero_between_tensors(layout, arenas[0]), "checkpoint: nothing between tensors");

  to.path = std::move(path);
  to.partial = to.path.string() + kPartialSuffix;
  to.file = hdf5::File::create(to.partial);
  CheckpointHeader complete = header;
  complete.layout = layout.text();
  complete.parameters_digest = arenas_digest(arenas);
  to.write_header(complete);
  for (size_t i = 0; i < groups.size(); ++i) to.write_group(groups[i], arenas[i]);
  if (to.slots > 0) to.begin_states(header.slot_shape);
}

CheckpointWriter::~CheckpointWriter() = default;

void CheckpointWriter::append_states(std::span<const std::byte> values) {
  Impl& to = *impl_;
  const uint64_t slots = values.size() / to.slot_bytes;
  require(values.size() % to.slot_bytes == 0 && slots <= to.slots - to.next_slot,
          "checkpoint: states in whole slots, and no more than announced");
  if (slots == 0) return;
  to.file->write_rows(to.states, to.next_slot, slots, values.data());
  to.hash.add(values.data(), values.size());
  to.next_slot += slots;
}

void CheckpointWriter::finish() {
  Impl& to = *impl_;
  require(to.next_slot == to.slots, "checkpoint: all states written");
  to.file->write_text("content_xxh3", to.hash.digest());
  to.states = {};
  to.file->close();
  sync_to_disk(to.partial);
  std::error_code error;
  fs::rename(to.partial, to.path, error);
  if (error) throw Error(fmt::format("{}: cannot rename: {}", to.path.string(), error.message()));
  to.is_finished = true;
  sync_to_disk(to.path.has_parent_path() ? to.path.parent_path() : fs::path("."));
}

}  // namespace eggroll
