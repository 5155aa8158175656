#include "common/files/checkpoint.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <system_error>
#include <utility>

#include "common/check.hpp"
#include "common/files/checkpoint_folder.hpp"
#include "common/files/hdf5_file.hpp"
#include "common/files/sandbox.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;
using hdf5::Dataset;
using hdf5::Element;

constexpr uint64_t kSlabBytes = 1 << 20;  // read at a time while a file is verified
// Of a trial, beside what the size of a file asks for.
constexpr uint64_t kTrialBytes = 64 << 20;
constexpr uint64_t kTrialSeconds = 5;
constexpr uint64_t kTrialBytesPerSecond = 20 << 20;

std::string hex_digits(uint64_t value) { return fmt::format("{:016x}", value); }

class Xxh3 {
 public:
  Xxh3() : state_(XXH3_createState(), XXH3_freeState) {
    require(state_ != nullptr, "memory for a checksum");
    XXH3_64bits_reset(state_.get());
  }
  void add(const void* data, size_t bytes) { XXH3_64bits_update(state_.get(), data, bytes); }
  void add(uint64_t value) { add(&value, sizeof value); }
  void add(const std::string& text) {
    add(uint64_t{text.size()});
    add(text.data(), text.size());
  }
  void add_shape(const std::vector<uint64_t>& shape) {
    add(uint64_t{shape.size()});
    for (uint64_t side : shape) add(side);
  }
  void add_header(const CheckpointHeader& header) {
    for (uint64_t value :
         {uint64_t{kCheckpointFormatVersion}, header.generation, header.seed, header.data_position})
      add(value);
    for (const std::string& text :
         {header.data_digest, header.noise_law, header.config, header.parameters_digest})
      add(text);
    add(header.state_slots);
  }
  std::string digest() const { return hex_digits(XXH3_64bits_digest(state_.get())); }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

std::vector<uint64_t> shape_of(const TensorSpec& tensor) {
  if (tensor.kind == TensorKind::vector) return {tensor.rows};
  return {tensor.rows, tensor.cols};
}

std::vector<const TensorSpec*> by_name(const ParameterLayout& layout) {
  std::vector<const TensorSpec*> tensors;
  for (const TensorSpec& tensor : layout.tensors()) tensors.push_back(&tensor);
  std::sort(tensors.begin(), tensors.end(),
            [](const auto* a, const auto* b) { return a->name < b->name; });
  return tensors;
}

// What was written to `path` reaches the disk; a directory's names likewise.
void sync_to_disk(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool worked = descriptor >= 0 && fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) close(descriptor);
  if (!worked) throw Error(fmt::format("{}: cannot sync: {}", path.string(), std::strerror(error)));
}

}  // namespace

std::string parameters_digest(std::span<const int8_t> parameters,
                              std::span<const int32_t> accumulators) {
  Xxh3 hash;
  hash.add(parameters.data(), parameters.size_bytes());
  hash.add(accumulators.data(), accumulators.size_bytes());
  return hash.digest();
}

// Writing.

struct CheckpointWriter::Impl {
  fs::path path;
  fs::path partial;
  uint64_t slots;
  uint64_t slot_bytes;
  uint64_t next_slot = 0;
  bool is_finished = false;
  Xxh3 hash;
  std::optional<hdf5::File> file;
  Dataset states;

  ~Impl() {
    states = {};
    if (file && !is_finished) file->abandon();
  }

  void write_tensors(const std::string& group, const ParameterLayout& layout, Element element,
                     const void* arena) {
    file->create_group(group);
    const std::vector<const TensorSpec*> tensors = by_name(layout);
    hash.add(uint64_t{tensors.size()});
    for (const TensorSpec* tensor : tensors) {
      const size_t bytes = hdf5::bytes_of(element);
      const void* values = static_cast<const char*>(arena) + tensor->offset * bytes;
      const Dataset dataset = file->create_dataset(group, tensor->name, element, shape_of(*tensor));
      file->write_rows(dataset, 0, tensor->rows, values);
      hash.add(tensor->name);
      hash.add_shape(dataset.shape);
      hash.add(values, tensor->size() * bytes);
    }
  }
};

CheckpointWriter::CheckpointWriter(fs::path path, const ParameterLayout& layout,
                                   const IntRnnShape& shape, const CheckpointHeader& header,
                                   std::span<const int8_t> parameters,
                                   std::span<const int32_t> accumulators)
    : impl_(std::make_unique<Impl>()) {
  require(parameters.size() == layout.size(), "checkpoint: parameters of the layout");
  require(accumulators.empty() || accumulators.size() == layout.size(),
          "checkpoint: accumulators of the layout, or none");
  Impl& to = *impl_;
  to.slots = header.state_slots;
  to.slot_bytes = uint64_t{shape.layers} * shape.width;
  to.path = std::move(path);
  to.partial = to.path.string() + kPartialSuffix;
  to.file = hdf5::File::create(to.partial);

  to.file->write_number("format_version", kCheckpointFormatVersion);
  to.file->write_number("generation", header.generation);
  to.file->write_number("seed", header.seed);
  to.file->write_number("data_position", header.data_position);
  to.file->write_text("data_digest", header.data_digest);
  to.file->write_text("noise_law", header.noise_law);
  to.file->write_text("config", header.config);
  to.file->write_text("parameters_digest", header.parameters_digest);
  to.hash.add_header(header);

  to.write_tensors("parameters", layout, Element::int8, parameters.data());
  if (accumulators.empty())
    to.hash.add(uint64_t{0});
  else
    to.write_tensors("accumulators", layout, Element::int32, accumulators.data());
  if (to.slots == 0) return;
  to.states =
      to.file->create_dataset("", "states", Element::int8, {to.slots, shape.layers, shape.width});
  to.hash.add_shape(to.states.shape);
}

CheckpointWriter::~CheckpointWriter() = default;

void CheckpointWriter::append_states(std::span<const int8_t> values) {
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

// Reading.

struct CheckpointReader::Impl {
  hdf5::File file;
  CheckpointHeader header;
  std::optional<std::string> content_xxh3;
  bool is_complete = false;

  explicit Impl(const fs::path& path) : file(hdf5::File::open(path)) { read_header(); }

  void read_header() {
    if (const auto version = file.number("format_version")) {
      if (*version > kCheckpointFormatVersion)
        file.fail(fmt::format("format_version {}, written by a newer eggroll; this one reads {}",
                              *version, kCheckpointFormatVersion));
      if (*version != kCheckpointFormatVersion)
        file.fail(fmt::format("format_version {} is none of eggroll's", *version));
      is_complete = true;
    }
    // A complete file has every attribute, any other file those that it has.
    const auto take = [&](const char* name, auto found, auto& value) {
      if (found)
        value = std::move(*found);
      else if (is_complete)
        file.fail(fmt::format("attribute {} is missing", name));
    };
    take("generation", file.number("generation"), header.generation);
    take("seed", file.number("seed"), header.seed);
    take("data_position", file.number("data_position"), header.data_position);
    take("data_digest", file.text("data_digest"), header.data_digest);
    take("noise_law", file.text("noise_law"), header.noise_law);
    take("config", file.text("config"), header.config);
    take("parameters_digest", file.text("parameters_digest"), header.parameters_digest);
    content_xxh3 = file.text("content_xxh3");
    if (is_complete && !content_xxh3) file.fail("attribute content_xxh3 is missing");
    if (!file.has("", "parameters")) file.fail("holds no parameters, so it is no checkpoint");
    if (file.has("", "states")) header.state_slots = open_states().shape[0];
  }

  Dataset open_states() const {
    if (!file.has("", "states")) file.fail("holds no states");
    return file.open_dataset("", "states", Element::int8);
  }

  void hash_dataset(const Dataset& dataset, Xxh3& hash) const {
    hash.add_shape(dataset.shape);
    const uint64_t row_bytes = dataset.row_elements() * hdf5::bytes_of(dataset.element);
    const uint64_t slab_rows =
        std::min(std::max<uint64_t>(1, kSlabBytes / row_bytes), dataset.shape[0]);
    std::vector<char> slab(slab_rows * row_bytes);
    for (uint64_t first = 0; first < dataset.shape[0]; first += slab_rows) {
      const uint64_t rows = std::min(slab_rows, dataset.shape[0] - first);
      file.read_rows(dataset, first, rows, slab.data());
      hash.add(slab.data(), rows * row_bytes);
    }
  }

  void hash_tensors(const std::string& group, Element element, Xxh3& hash) const {
    const std::vector<std::string> names = file.names(group);
    hash.add(uint64_t{names.size()});
    for (const std::string& name : names) {
      hash.add(name);
      hash_dataset(file.open_dataset(group, name, element), hash);
    }
  }

  // For a trial: what any reader may ask of the library. What it refuses by itself, it will refuse
  // again to those who ask.
  void read_everything() const {
    uint64_t stored = 0;
    const auto read = [&](const std::string& group, const std::string& name, Element element) {
      std::optional<Dataset> dataset;
      try {
        dataset = file.open_dataset(group, name, element);
      } catch (const Error&) {
        return;
      }
      stored += dataset->stored_bytes;
      std::error_code error;
      if (const uint64_t size = fs::file_size(file.path(), error); !error && stored > size)
        file.fail(
            fmt::format("its tensors hold {} bytes and more, the whole file has {}", stored, size));
      const uint64_t row_bytes = dataset->row_elements() * hdf5::bytes_of(element);
      allow_memory_in_trial(kTrialBytes + row_bytes + 4 * dataset->piece_bytes);
      std::vector<char> row(row_bytes);
      const uint64_t rows = dataset->piece_bytes > 0 ? dataset->shape[0] : 1;
      for (uint64_t i = 0; i < rows; ++i) file.read_rows(*dataset, i, 1, row.data());
    };
    const std::pair<const char*, Element> groups[] = {{"parameters", Element::int8},
                                                      {"accumulators", Element::int32}};
    for (const auto& [group, element] : groups) {
      if (!file.has("", group)) continue;
      std::vector<std::string> names;
      try {
        names = file.names(group);
      } catch (const Error&) {
      }
      for (const std::string& name : names) read(group, name, element);
    }
    if (file.has("", "states")) read("", "states", Element::int8);
  }

  template <typename Value>
  std::vector<Value> read_tensors(const std::string& group, const ParameterLayout& layout) const {
    const Element element = sizeof(Value) == 1 ? Element::int8 : Element::int32;
    const auto open = [&](const TensorSpec& tensor) {
      if (!file.has(group, tensor.name))
        file.fail(fmt::format("{}/{} is missing", group, tensor.name));
      Dataset dataset = file.open_dataset(group, tensor.name, element);
      if (dataset.shape != shape_of(tensor))
        file.fail(fmt::format("{} has shape {}, the model needs {}", dataset.name,
                              hdf5::shape_text(dataset.shape), hdf5::shape_text(shape_of(tensor))));
      return dataset;
    };
    for (const TensorSpec& tensor : layout.tensors()) open(tensor);
    const size_t members = file.names(group).size();
    if (members != layout.tensors().size())
      file.fail(fmt::format("{} holds {} tensors, the model has {}", group, members,
                            layout.tensors().size()));

    std::vector<Value> arena(layout.size());
    for (const TensorSpec& tensor : layout.tensors())
      file.read_rows(open(tensor), 0, tensor.rows, arena.data() + tensor.offset);
    return arena;
  }
};

namespace {

// HDF5 crashes on some damaged files, mostly such as carry no checksums of their metadata (what
// h5py writes unless told otherwise), and unpacks compressed data without a bound. So everything it
// will be asked is asked first in a child; data that lie in the file as they are need one row.
void survive_reading(const fs::path& path, const std::function<void()>& read) {
  std::error_code error;
  const uint64_t file_bytes = fs::is_regular_file(path, error) ? fs::file_size(path, error) : 0;
  const TrialLimits limits{
      .memory_bytes = kTrialBytes + 4 * (error ? 0 : file_bytes),
      .compute_s = kTrialSeconds + (error ? 0 : file_bytes) / kTrialBytesPerSecond};
  const Trial trial = try_in_child(read, limits);
  if (trial.end == TrialEnd::refused) throw Error(trial.what);
  if (trial.end == TrialEnd::died)
    throw Error(fmt::format("{}: damaged: the HDF5 library does not survive reading it ({})",
                            path.string(), trial.what));
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
  Xxh3 hash;
  hash.add_header(from.header);
  from.hash_tensors("parameters", Element::int8, hash);
  if (from.file.has("", "accumulators"))
    from.hash_tensors("accumulators", Element::int32, hash);
  else
    hash.add(uint64_t{0});
  if (from.header.state_slots > 0) from.hash_dataset(from.open_states(), hash);
  if (hash.digest() != *from.content_xxh3)
    from.file.fail(fmt::format("damaged: its content has the checksum {}, it was written with {}",
                               hash.digest(), from.content_xxh3->substr(0, 16)));
}

std::vector<int8_t> CheckpointReader::read_parameters(const ParameterLayout& layout) const {
  return impl_->read_tensors<int8_t>("parameters", layout);
}

std::vector<int32_t> CheckpointReader::read_accumulators(const ParameterLayout& layout) const {
  if (!impl_->file.has("", "accumulators")) return {};
  return impl_->read_tensors<int32_t>("accumulators", layout);
}

void CheckpointReader::read_states(uint64_t first_slot, std::span<int8_t> values,
                                   const IntRnnShape& shape) const {
  const Impl& from = *impl_;
  const Dataset states = from.open_states();
  const std::vector<uint64_t> wanted = {from.header.state_slots, shape.layers, shape.width};
  if (states.shape != wanted)
    from.file.fail(fmt::format("states have shape {}, the model needs {}",
                               hdf5::shape_text(states.shape), hdf5::shape_text(wanted)));
  const uint64_t slots = values.size() / states.row_elements();
  require(values.size() % states.row_elements() == 0, "checkpoint: states in whole slots");
  if (first_slot > wanted[0] || slots > wanted[0] - first_slot)
    from.file.fail(fmt::format("holds states 0 to {}, asked for {} from {} on", wanted[0] - 1,
                               slots, first_slot));
  if (slots > 0) from.file.read_rows(states, first_slot, slots, values.data());
}

}  // namespace eggroll
