// The part of HDF5 that a checkpoint needs, for checkpoint_*.cpp alone: groups, datasets of int8,
// int32 or float32, and attributes that are numbers or text. Files from elsewhere are read with
// suspicion: hard links only, data inside the file only and all of it, every size checked before
// memory is taken. The library itself can crash on a damaged file, so a sandbox reads it first.
// Each failure is an Error that names the file; HDF5 itself prints nothing. One thread at a time.
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/layout.hpp"

namespace eggroll::hdf5 {

// Owns one id of the library.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);

  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  ~Handle() { reset(); }
  Handle(Handle&& other) noexcept
      : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    reset();
    id_ = std::exchange(other.id_, H5I_INVALID_HID);
    close_ = other.close_;
    return *this;
  }

  hid_t get() const { return id_; }
  bool is_valid() const { return id_ >= 0; }
  bool reset() {  // closes; false where the library could not
    const hid_t id = std::exchange(id_, H5I_INVALID_HID);
    return id < 0 || close_(id) >= 0;
  }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Close close_ = nullptr;
};

inline constexpr size_t kMaxDimensions = 5;

// An open dataset of 1 to kMaxDimensions dimensions. A row is what one index of the
// first dimension holds.
struct Dataset {
  Handle handle;
  std::string name;  // as errors call it: parameters/emb
  Element element = Element::int8;
  std::vector<uint64_t> shape;
  // Of one that was opened to be read:
  uint64_t stored_bytes = 0;  // what it takes of the file
  uint64_t piece_bytes = 0;   // of a piece as the library unpacks it; 0: stored as it is

  uint64_t row_elements() const;
  uint64_t row_bytes() const { return row_elements() * bytes_of(element); }
  uint64_t bytes() const { return shape[0] * row_bytes(); }
};

// The words of a shape: [256, 64].
std::string shape_text(const std::vector<uint64_t>& shape);

// "HDF5 1.10.8", as it runs.
std::string library();

class File {
 public:
  static File create(const std::filesystem::path& path);  // replaces what is there
  static File open(const std::filesystem::path& path);    // to read

  const std::filesystem::path& path() const { return path_; }
  [[noreturn]] void fail(const std::string& what) const;  // throws Error: path: what

  void write_number(const char* name, uint64_t value);
  void write_text(const char* name, const std::string& value);
  void create_group(const std::string& name);
  // group: empty for the root.
  Dataset create_dataset(const std::string& group, const std::string& name, Element element,
                         std::vector<uint64_t> shape);
  void write_rows(const Dataset& dataset, uint64_t first, uint64_t rows, const void* values);
  void close();    // everything to the operating system
  void abandon();  // removes the file, written or not; its datasets are closed before

  // Attributes of the root; nothing where there is none of that name. A number is not negative.
  std::optional<uint64_t> number(const char* name) const;
  std::optional<std::string> text(const char* name) const;
  // Whether the root or a group in it has a link of this name, of whatever kind.
  bool has(const std::string& group, const std::string& name) const;
  // Names in a group of the root, sorted by their bytes.
  std::vector<std::string> names(const std::string& group) const;
  // Refused where its elements are none of ours, as unsigned, double or big-endian ones.
  Dataset open_dataset(const std::string& group, const std::string& name) const;
  void read_rows(const Dataset& dataset, uint64_t first, uint64_t rows, void* values) const;

 private:
  File(std::filesystem::path path, Handle handle);
  Handle open_object(hid_t parent, const std::string& name, H5I_type_t type) const;
  Handle open_group(const std::string& name) const;
  void measure_pieces(Dataset& dataset, hid_t creation, uint64_t bytes) const;
  [[noreturn]] void fail_in_library(const std::string& doing) const;
  void check(bool worked, const char* doing) const;

  std::filesystem::path path_;
  Handle file_;
};

}  // namespace eggroll::hdf5
