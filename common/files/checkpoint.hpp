// The HDF5 file a run rests in; the same content for any number of ranks. One rank writes it:
// aside, synced, renamed, so a reader sees a complete file or none. Layout (format_version 1),
// readable with h5py:
//   attributes  format_version, generation, seed, data_position (where in its slice every sequence
//   goes
//               on), data_digest (16 hex digits, of the text), noise_law, config (the .ini text),
//               parameters_digest (16 hex digits), content_xxh3 (16 hex digits, of everything else
//               in the file); texts are UTF-8 of fixed length, which h5py gives as bytes
//   /parameters/<tensor>     int8, out x in (vectors: length); layers.<i>.Wf is a dataset of that
//                            name, dots included
//   /accumulators/<tensor>   int32, same shapes; only with the sigma_delta rule
//   /states                  int8 [slots, layers, width]; absent without carried states
// A file with nothing but /parameters and `config` is read too (parameters only); its config need
// not say more than `layers` and `width`, and its texts may be of variable length.
//
// content_xxh3 is XXH3-64 over: format_version, generation, seed, data_position; data_digest,
// noise_law, config, parameters_digest; the number of state slots; then parameters and
// accumulators, each as the number of tensors and, by name in byte order, name, number of
// dimensions, dimensions, elements; then the states likewise. Numbers are 8 bytes, little-endian,
// as are the lengths before texts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/parameters.hpp"

namespace eggroll {

inline constexpr int kCheckpointFormatVersion = 1;

struct CheckpointHeader {
  uint64_t generation = 0;  // completed generations
  uint64_t seed = 0;
  uint64_t data_position = 0;
  std::string data_digest;
  std::string noise_law;
  std::string config;
  std::string parameters_digest;
  uint64_t state_slots = 0;  // not an attribute: the first dimension of /states
};

// XXH3-64 over parameters and then accumulators (empty: parameters alone), in layout order, as 16
// hex digits.
std::string parameters_digest(std::span<const int8_t> parameters,
                              std::span<const int32_t> accumulators);

// Writes one checkpoint. States arrive in slices so that rank 0 never holds all of them. After an
// Error the partial file is gone and the writer is of no further use.
class CheckpointWriter {
 public:
  // Starts `path` + ".partial". accumulators may be empty.
  CheckpointWriter(std::filesystem::path path, const ParameterLayout& layout,
                   const IntRnnShape& shape, const CheckpointHeader& header,
                   std::span<const int8_t> parameters, std::span<const int32_t> accumulators);
  ~CheckpointWriter();  // an unfinished file is removed
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // The next states in slot order; values.size() is a multiple of layers * width.
  void append_states(std::span<const int8_t> values);
  // Checks that all slots came, writes the checksum, syncs file and directory, renames.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Reads one checkpoint; opened read-only, every size checked against the layout before anything is
// allocated. Throws Error naming file and what is wrong.
class CheckpointReader {
 public:
  explicit CheckpointReader(const std::filesystem::path& path);
  ~CheckpointReader();
  CheckpointReader(CheckpointReader&&) noexcept;

  const std::filesystem::path& path() const;
  const CheckpointHeader& header() const;
  // False for a file that holds parameters only: what its header lacks has the default value.
  bool is_complete() const;
  // The whole file against content_xxh3; throws Error where it differs. A parameters-only file
  // without the attribute passes.
  void verify() const;

  // The file holds exactly the tensors of the layout, or these throw.
  std::vector<int8_t> read_parameters(const ParameterLayout& layout) const;
  std::vector<int32_t> read_accumulators(
      const ParameterLayout& layout) const;  // empty: it has none
  // values.size() is a multiple of layers * width.
  void read_states(uint64_t first_slot, std::span<int8_t> values, const IntRnnShape& shape) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace eggroll
