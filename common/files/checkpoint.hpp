// The HDF5 file a run rests in; the same content for any number of ranks, written by one of them:
// aside, synced, renamed, so a reader sees a complete file or none. It knows no model: what it holds
// are arenas of bytes by a ParameterLayout, which stands in the file. Format 2, readable with h5py:
//
//   attributes            numbers: format_version, generation (completed ones), seed
//                         texts: data_digest, noise_law, arithmetic, config (the .ini), layout
//                         (ParameterLayout::text), slots (a line each: name, element),
//                         parameters_digest, content_xxh3. Digests are 16 hex digits; texts are
//                         UTF-8 of fixed length, which h5py gives as bytes. One more, outside the
//                         checksum and not in every file: version, of the program that wrote it
//   /parameters/<tensor>  in the tensor's elements: [rows, cols], a vector [rows]; dots are part of
//                         the name
//   /<slot>/<tensor>      what the optimiser keeps (accumulators, adam_m, ...): trained tensors only,
//                         the same shapes, in the slot's elements
//   /states               int8 [states, ...shape of one]; absent without carried states
//
// Format 1 is read: int8 parameters, int32 accumulators, no layout, no arithmetic. So is a file with
// nothing but /parameters and what it has of the rest; its texts may be of variable length.
//
// content_xxh3 is XXH3-64 over: format_version, generation, seed; data_digest, noise_law, arithmetic,
// config, layout, slots, parameters_digest; the number of states; then parameters and each slot, as the
// number of tensors and, by name in byte order, name, name of the element, number of dimensions,
// dimensions, elements; then the states, as number of dimensions, dimensions, elements. Numbers are 8
// bytes, little-endian, as are the lengths before texts.
// Of format 1: format_version, generation, seed, data_position; data_digest, noise_law, config,
// parameters_digest; the number of states; parameters and accumulators without the names of elements, 0
// where there are no accumulators; states.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/layout.hpp"

namespace eggroll {

inline constexpr uint64_t kCheckpointFormatVersion = 2;

// A group of numbers, one for each trained element: a slot of the optimiser. Its name is of small
// letters, digits and _.
struct SlotInfo {
  std::string name;
  Element element;

  bool operator==(const SlotInfo&) const = default;
};

struct CheckpointHeader {
  uint64_t generation = 0;  // completed generations
  uint64_t seed = 0;
  std::string version;  // of the program that wrote it; empty: the file does not say
  std::string data_digest;
  std::string noise_law;
  std::string arithmetic;  // Task::arithmetic; empty: the file does not say
  std::string config;
  std::string layout;             // empty: the file states none. The writer fills it in
  std::string parameters_digest;  // of all arenas. The writer fills it in
  std::vector<SlotInfo> slots;
  uint64_t state_slots = 0;          // the first dimension of /states
  std::vector<uint64_t> slot_shape;  // the others: of what a pair or member carries

  bool operator==(const CheckpointHeader&) const = default;
};

// Parameters, then the slots in the order of CheckpointHeader::slots, each as a Learner's arena of that
// number.
struct RunArenas {
  std::vector<std::vector<std::byte>> arenas;

  std::vector<std::span<const std::byte>> spans() const { return {arenas.begin(), arenas.end()}; }
  bool operator==(const RunArenas&) const = default;
};

// The library that reads and writes it, as it runs: "HDF5 1.10.8".
std::string checkpoint_library();

// XXH3-64 over the arenas one after another, as 16 hex digits.
std::string arenas_digest(std::span<const std::span<const std::byte>> arenas);

// Writes one checkpoint. States arrive in slices so that rank 0 never holds all of them. After an
// Error the partial file is gone and the writer is of no further use.
class CheckpointWriter {
 public:
  // Starts `path` + ".partial". arenas: as in RunArenas; bytes of the parameters between tensors are 0.
  CheckpointWriter(std::filesystem::path path, const ParameterLayout& layout,
                   const CheckpointHeader& header,
                   std::span<const std::span<const std::byte>> arenas);
  ~CheckpointWriter();  // an unfinished file is removed
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // The next states in order, in whole slots.
  void append_states(std::span<const std::byte> values);
  // Checks that all states came, writes the checksum, syncs file and directory, renames.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Reads one checkpoint; opened read-only, every size checked before anything is allocated. Throws Error
// of one line that names the file and what is wrong.
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

  // What the file states; throws Error where header().layout is empty.
  const ParameterLayout& layout() const;
  // layout.bytes(), zero between tensors. The file holds exactly the tensors of the
  // layout, or this throws.
  std::vector<std::byte> read_parameters(const ParameterLayout& layout) const;
  // Numbers for layout.trained() elements; empty where the file has no slot of that name. Throws Error
  // where it holds other elements, or other tensors than those that are trained.
  std::vector<std::byte> read_slot(const ParameterLayout& layout, const std::string& name,
                                   Element element) const;
  // Throws Error where the file carries another number of states, or others.
  void expect_states(uint64_t slots, std::span<const uint64_t> slot_shape) const;
  // States from one on, in whole slots.
  void read_states(uint64_t first_slot, std::span<std::byte> values) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace eggroll
