// A corpus of bytes: one file, or every regular file below a folder in path order with a zero byte
// (document boundary) between them. Path order is the byte order of the paths below the folder, the
// same in every locale; empty files are passed over, links are followed, each folder once. Bytes are
// taken as they are: an editor's byte order mark is part of the text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace eggroll {

// What a path names as data.
struct DataFiles {
  std::vector<std::filesystem::path> files;  // in path order
  bool is_folder = false;
  // Of a folder what is not read, in path order: "a/b: a link that leads nowhere".
  std::vector<std::string> skipped = {};
};
// Throws ConfigError naming `path` where it is neither a file nor a folder, or cannot be listed.
DataFiles data_files(const std::filesystem::path& path);

class Corpus {
 public:
  // Throws ConfigError naming `path` when it is missing, unreadable or empty. held_out: share of
  // the bytes at the end that training never sees, 0 <= held_out < 1.
  Corpus(const std::filesystem::path& path, double held_out);

  std::span<const uint8_t> all() const { return bytes_; }
  std::span<const uint8_t> train() const { return std::span(bytes_).first(train_bytes_); }
  std::span<const uint8_t> held_out() const { return std::span(bytes_).subspan(train_bytes_); }
  uint64_t digest() const;  // XXH3-64 of all bytes
  // What a person wants to know of a folder, a line each: "data = texts: 3 files, 12345 bytes", and
  // what is not among them. Nothing of a file.
  const std::vector<std::string>& remarks() const { return remarks_; }

 private:
  std::vector<uint8_t> bytes_;
  size_t train_bytes_ = 0;
  std::vector<std::string> remarks_;
};

}  // namespace eggroll
