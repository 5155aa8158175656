#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <system_error>
#include <utility>

#include "common/check.hpp"
#include "common/files/checkpoint_content.hpp"
#include "common/files/hdf5_file.hpp"
#include "common/files/sandbox.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;
using hdf5::Dataset;

constexpr uint64_t kSlabBytes = 1 << 20;  // read at a time while a file is verified
// Of the sandbox, beside what the size of a file asks for.
constexpr uint64_t kSandboxBytes = 64 << 20;
constexpr uint64_t kSandboxSeconds = 5;
constexpr uint64_t kSandboxBytesPerSecond = 20 << 20;
// What a file may unpack to: this, or so many times its size where that is more.
constexpr uint64_t kUnpackedBytes = uint64_t{1} << 28;
constexpr uint64_t kUnpackedPerByte = 64;

}  // namespace

struct CheckpointReader::Impl {
  hdf5::File file;
  CheckpointHeader header;
  ParameterLayout layout;
  uint64_t data_position = 0;  // of format 1; it follows from the generation
  std::optional<std::string> content_xxh3;
  uint64_t format_version = 1;
  bool is_complete = false;

  explicit Impl(const fs::path& path) : file(hdf5::File::open(path)) { read_header(); }

  void read_header() {
    if (const auto version = file.number("format_version")) {
      if (*version > kCheckpointFormatVersion)
        file.fail(
            fmt::format("format_version {}, written by a newer eggroll; this one reads up to {}",
                        *version, kCheckpointFormatVersion));
      if (*version == 0) file.fail("format_version 0 is none of eggroll's");
      format_version = *version;
      is_complete = true;
    }
    // A complete file has every attribute of its format, any other file those that it has.
    const auto take = [&](const char* name, auto found, auto& value) {
      if (found)
        value = std::move(*found);
      else if (is_complete)
        file.fail(fmt::format("attribute {} is missing", name));
    };
    const bool is_first_format = is_complete && format_version == 1;
    take("generation", file.number("generation"), header.generation);
    take("seed", file.number("seed"), header.seed);
    header.version = file.text("version").value_or("");
    take("data_digest", file.text("data_digest"), header.data_digest);
    take("noise_law", file.text("noise_law"), header.noise_law);
    take("config", file.text("config"), header.config);
    take("parameters_digest", file.text("parameters_digest"), header.parameters_digest);
    if (is_first_format) {
      take("data_position", file.number("data_position"), data_position);
    } else {
      take("arithmetic", file.text("arithmetic"), header.arithmetic);
      take("layout", file.text("layout"), header.layout);
      read_layout();
    }
    content_xxh3 = file.text("content_xxh3");
    if (is_complete && !content_xxh3) file.fail("attribute content_xxh3 is missing");
    if (!file.has("", "parameters")) file.fail("holds no parameters, so it is no checkpoint");
    read_slots();
    if (!file.has("", "states")) return;
    const Dataset states = open("", "states", Element::int8);
    header.state_slots = states.shape[0];
    header.slot_shape.assign(states.shape.begin() + 1, states.shape.end());
  }

  void read_layout() {
    try {
      layout = ParameterLayout::parse(header.layout);
    } catch (const Error& error) {
      file.fail(fmt::format("attribute layout: {}", error.what()));
    }
    if (is_complete && layout.tensors().empty()) file.fail("attribute layout names no tensor");
  }

  void read_slots() {
    if (is_complete && format_version > 1) {
      const auto text = file.text("slots");
      if (!text) file.fail("attribute slots is missing");
      try {
        header.slots = parse_slots(*text);
      } catch (const Error& error) {
        file.fail(fmt::format("attribute slots: {}", error.what()));
      }
      for (const SlotInfo& slot : header.slots)
        if (!file.has("", slot.name))
          file.fail(fmt::format("attribute slots names {}, of which it holds nothing", slot.name));
    } else if (file.has("", "accumulators")) {
      header.slots = {{"accumulators", Element::int32}};
    }
  }

  Dataset open(const std::string& group, const std::string& name, Element element) const {
    Dataset dataset = file.open_dataset(group, name);
    if (dataset.element != element)
      file.fail(fmt::format("{} holds {}, needed is {}", dataset.name, name_of(dataset.element),
                            name_of(element)));
    return dataset;
  }

  void hash_values(const Dataset& dataset, ContentHash& hash) const {
    const uint64_t slab_rows =
        std::min(std::max<uint64_t>(1, kSlabBytes / dataset.row_bytes()), dataset.shape[0]);
    std::vector<char> slab(slab_rows * dataset.row_bytes());
    for (uint64_t first = 0; first < dataset.shape[0]; first += slab_rows) {
      const uint64_t rows = std::min(slab_rows, dataset.shape[0] - first);
      file.read_rows(dataset, first, rows, slab.data());
      hash.add(slab.data(), rows * dataset.row_bytes());
    }
  }

  void hash_tensors(const std::string& group, ContentHash& hash) const {
    const std::vector<std::string> names = file.names(group);
    hash.add_number(names.size());
    for (const std::string& name : names) {
      const Dataset dataset = file.open_dataset(group, name);
      if (format_version == 1)
        hash.add_tensor_of_format_1(name, dataset.shape);
      else
        hash.add_tensor(name, dataset.element, dataset.shape);
      hash_values(dataset, hash);
    }
  }

  std::string content_digest() const {
    ContentHash hash;
    if (format_version == 1)
      hash.add_header_of_format_1(header, data_position);
    else
      hash.add_header(header);
    hash_tensors("parameters", hash);
    for (const SlotInfo& slot : header.slots) hash_tensors(slot.name, hash);
    if (format_version == 1 && header.slots.empty()) hash.add_number(0);
    if (header.state_slots > 0) {
      const Dataset states = open("", "states", Element::int8);
      hash.add_shape(states.shape);
      hash_values(states, hash);
    }
    return hash.digest();
  }

  // In the sandbox: what any reader may ask of the library. What it refuses by itself, it will refuse
  // again to those who ask.
  void read_everything() const {
    uint64_t stored = 0, unpacked = 0;
    const auto read = [&](const std::string& group, const std::string& name) {
      std::optional<Dataset> dataset;
      try {
        dataset = file.open_dataset(group, name);
      } catch (const Error&) {
        return;
      }
      stored += dataset->stored_bytes;
      unpacked += dataset->bytes();
      std::error_code error;
      if (const uint64_t size = fs::file_size(file.path(), error); !error) {
        if (stored > size)
          file.fail(fmt::format("its tensors hold {} bytes and more, the whole file has {}", stored,
                                size));
        if (unpacked > std::max(kUnpackedBytes, kUnpackedPerByte * size))
          file.fail(fmt::format("its tensors unpack to {} bytes and more, the whole file has {}",
                                unpacked, size));
      }
      allow_memory_in_sandbox(kSandboxBytes + dataset->row_bytes() + 4 * dataset->piece_bytes);
      std::vector<char> row(dataset->row_bytes());
      const uint64_t rows = dataset->piece_bytes > 0 ? dataset->shape[0] : 1;
      for (uint64_t i = 0; i < rows; ++i) file.read_rows(*dataset, i, 1, row.data());
    };
    const auto read_group = [&](const std::string& group) {
      std::vector<std::string> names;
      try {
        names = file.names(group);
      } catch (const Error&) {
      }
      for (const std::string& name : names) read(group, name);
    };
    read_group("parameters");
    for (const SlotInfo& slot : header.slots) read_group(slot.name);
    if (header.state_slots > 0) read("", "states");
  }

  std::vector<std::byte> read_group(const TensorGroup& group) const {
    const auto open_tensor = [&](const TensorGroup::Tensor& tensor) {
      if (!file.has(group.name, tensor.name))
        file.fail(fmt::format("{}/{} is missing", group.name, tensor.name));
      Dataset dataset = open(group.name, tensor.name, tensor.element);
      if (dataset.shape != tensor.shape)
        file.fail(fmt::format("{} has shape {}, the model needs {}", dataset.name,
                              hdf5::shape_text(dataset.shape), hdf5::shape_text(tensor.shape)));
      return dataset;
    };
    for (const TensorGroup::Tensor& tensor : group.tensors) open_tensor(tensor);
    const size_t members = file.names(group.name).size();
    if (members != group.tensors.size())
      file.fail(fmt::format("{} holds {} tensors, the model has {}", group.name, members,
                            group.tensors.size()));

    std::vector<std::byte> arena(group.bytes);
    for (const TensorGroup::Tensor& tensor : group.tensors)
      file.read_rows(open_tensor(tensor), 0, tensor.shape[0], arena.data() + tensor.at);
    return arena;
  }
};

namespace {

// HDF5 crashes on some damaged files, mostly such as carry no checksums of their metadata (what
// h5py writes unless told otherwise), and unpacks compressed data without a bound. So everything it
// will be asked is asked first in a sandbox; data that lie in the file as they are need one row.
void survive_reading(const fs::path& path, const std::function<void()>& read) {
  std::error_code error;
  const uint64_t file_bytes = fs::is_regular_file(path, error) ? fs::file_size(path, error) : 0;
  const SandboxLimits limits{
      .memory_bytes = kSandboxBytes + 4 * (error ? 0 : file_bytes),
      .compute_s = kSandboxSeconds + (error ? 0 : file_bytes) / kSandboxBytesPerSecond};
  const SandboxResult result = run_in_sandbox(read, limits);
  if (result.end == SandboxEnd::refused) throw Error(result.what);
  if (result.end == SandboxEnd::died)
    throw Error(fmt::format("{}: damaged: the HDF5 library does not survive reading it ({})",
                            path.string(), result.what));
}

}  // namespace

CheckpointReader::CheckpointReader(const fs::path& path) {
  survive_reading(path, [&] { Impl(path).read_everything(); });
  impl_ = std::make_unique<Impl>(path);
}
CheckpointReader::~CheckpointReader() = default;
CheckpointReader::CheckpointReader(CheckpointReader&&) noexcept = default;

const fs::path& CheckpointReader::path() const { return impl_->file.path(); }
const CheckpointHeader& CheckpointReader::header() const { return impl_->header; }
bool CheckpointReader::is_complete() const { return impl_->is_complete; }

void CheckpointReader::verify() const {
  const Impl& from = *impl_;
  if (!from.content_xxh3) return;
  const std::string digest = from.content_digest();
  if (digest != *from.content_xxh3)
    from.file.fail(fmt::format("damaged: its content has the checksum {}, it was written with {}",
                               digest, from.content_xxh3->substr(0, 16)));
}

const ParameterLayout& CheckpointReader::layout() const {
  if (impl_->layout.tensors().empty()) impl_->file.fail("states no layout");
  return impl_->layout;
}

std::vector<std::byte> CheckpointReader::read_parameters(const ParameterLayout& layout) const {
  return impl_->read_group(parameters_group(layout));
}

std::vector<std::byte> CheckpointReader::read_slot(const ParameterLayout& layout,
                                                   const std::string& name, Element element) const {
  const auto& slots = impl_->header.slots;
  if (std::ranges::find(slots, name, &SlotInfo::name) == slots.end()) return {};
  return impl_->read_group(slot_group(layout, {name, element}));
}

void CheckpointReader::expect_states(uint64_t slots, std::span<const uint64_t> slot_shape) const {
  const CheckpointHeader& header = impl_->header;
  if (header.state_slots == slots &&
      (slots == 0 || std::ranges::equal(header.slot_shape, slot_shape)))
    return;
  const auto text = [](uint64_t count, std::span<const uint64_t> shape) {
    if (count == 0) return std::string("none");
    std::vector<uint64_t> all = {count};
    all.insert(all.end(), shape.begin(), shape.end());
    return hdf5::shape_text(all);
  };
  impl_->file.fail(fmt::format("states: {}, the run needs {}",
                               text(header.state_slots, header.slot_shape),
                               text(slots, slot_shape)));
}

void CheckpointReader::read_states(uint64_t first_slot, std::span<std::byte> values) const {
  const Impl& from = *impl_;
  if (from.header.state_slots == 0) from.file.fail("holds no states");
  const Dataset states = from.open("", "states", Element::int8);
  const uint64_t held = states.shape[0], slots = values.size() / states.row_bytes();
  require(values.size() % states.row_bytes() == 0, "checkpoint: states in whole slots");
  if (first_slot > held || slots > held - first_slot)
    from.file.fail(
        fmt::format("holds states 0 to {}, asked for {} from {} on", held - 1, slots, first_slot));
  if (slots > 0) from.file.read_rows(states, first_slot, slots, values.data());
}

}  // namespace eggroll
