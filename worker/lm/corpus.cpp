#include "worker/lm/corpus.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <system_error>

#include "common/check.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTooLarge = "too large for the memory of this machine";

[[noreturn]] void fail(const fs::path& path, const std::string& what) {
  throw ConfigError(fmt::format("data = {}: {}", path.string(), what));
}

void append_file(const fs::path& path, std::vector<uint8_t>& bytes) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (!file) fail(path, fmt::format("cannot be read: {}", std::strerror(errno)));
  // The size is what the file says first and then what it turns out to be: some have none to say.
  std::error_code error;
  const uintmax_t announced = fs::file_size(path, error);
  size_t used = bytes.size();
  bytes.resize(used + (error ? 0 : announced) + 1);
  while (const size_t count = std::fread(bytes.data() + used, 1, bytes.size() - used, file.get())) {
    used += count;
    if (used == bytes.size()) bytes.resize(used + (size_t{1} << 20));
  }
  if (std::ferror(file.get())) fail(path, fmt::format("cannot be read: {}", std::strerror(errno)));
  bytes.resize(used);
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      names.push_back(entry.path().lexically_relative(folder).generic_string());
  std::sort(names.begin(), names.end());
  std::vector<fs::path> files;
  for (const std::string& name : names) files.push_back(folder / name);
  return files;
}

std::vector<uint8_t> read_bytes(const fs::path& path) {
  std::vector<uint8_t> bytes;
  if (!fs::exists(path)) fail(path, "there is no such file or folder");
  if (fs::is_regular_file(path)) {
    append_file(path, bytes);
  } else if (fs::is_directory(path)) {
    for (const fs::path& file : files_below(path)) {
      const size_t before = bytes.size();
      if (before > 0) bytes.push_back(0);
      append_file(file, bytes);
      if (before > 0 && bytes.size() == before + 1) bytes.pop_back();  // it was empty
    }
  } else {
    fail(path, "neither a file nor a folder");
  }
  if (bytes.empty())
    fail(path, fs::is_directory(path) ? "there is no text in this folder" : "this file is empty");
  return bytes;
}

}  // namespace

Corpus::Corpus(const fs::path& path, double held_out) {
  if (!(held_out >= 0 && held_out < 1))
    throw ConfigError(fmt::format("held-out = {}: allowed is 0 to below 1", held_out));
  try {
    bytes_ = read_bytes(path);
  } catch (const fs::filesystem_error& error) {
    fail(error.path1().empty() ? path : error.path1(),
         fmt::format("cannot be read: {}", error.code().message()));
  } catch (const std::bad_alloc&) {
    fail(path, kTooLarge);
  } catch (const std::length_error&) {  // a file that announces more than any memory has
    fail(path, kTooLarge);
  }
  const auto held_out_bytes = static_cast<size_t>(held_out * static_cast<double>(bytes_.size()));
  train_bytes_ = bytes_.size() - std::min(held_out_bytes, bytes_.size() - 1);
}

uint64_t Corpus::digest() const { return XXH3_64bits(bytes_.data(), bytes_.size()); }

}  // namespace eggroll
