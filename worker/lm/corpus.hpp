// A corpus of bytes: one file, or every regular file below a folder in path order with a zero byte
// (document boundary) between them. Path order is the byte order of the paths below the folder, the
// same in every locale; empty files are passed over, links to files are followed. Bytes are taken as
// they are: an editor's byte order mark is part of the text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace eggroll {

class Corpus {
 public:
  // Throws ConfigError naming `path` when it is missing, unreadable or empty. held_out: share of
  // the bytes at the end that training never sees, 0 <= held_out < 1.
  Corpus(const std::filesystem::path& path, double held_out);

  std::span<const uint8_t> all() const { return bytes_; }
  std::span<const uint8_t> train() const { return std::span(bytes_).first(train_bytes_); }
  std::span<const uint8_t> held_out() const { return std::span(bytes_).subspan(train_bytes_); }
  uint64_t digest() const;  // XXH3-64 of all bytes

 private:
  std::vector<uint8_t> bytes_;
  size_t train_bytes_ = 0;
};

}  // namespace eggroll
