#include "worker/lm/corpus.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "common/check.hpp"
#include "common/options.hpp"

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

// The files below a folder. Folders are read under their own names first, then through links in path
// order, so that each is read once, whatever leads to it.
class FolderListing {
 public:
  explicit FolderListing(const fs::path& root) : root_(root) {
    list("");
    while (!links_.empty()) {
      const std::string name = *links_.begin();
      links_.erase(links_.begin());
      list(name);
    }
    std::sort(names_.begin(), names_.end());
    std::sort(skipped_.begin(), skipped_.end());
  }

  std::vector<fs::path> files() const {
    std::vector<fs::path> files;
    for (const std::string& name : names_) files.push_back(root_ / name);
    return files;
  }
  const std::vector<std::string>& skipped() const { return skipped_; }

 private:
  // name: from the root on, empty for the root itself.
  void list(const std::string& name) {
    const fs::path folder = name.empty() ? root_ : root_ / name;
    struct stat identity {};
    if (stat(folder.c_str(), &identity) != 0)
      throw fs::filesystem_error("", folder, std::error_code(errno, std::generic_category()));
    if (!listed_.emplace(identity.st_dev, identity.st_ino).second)
      return skip(name, "a folder that is read already");
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const std::string file = entry.path().filename().string();
      add(name.empty() ? file : name + '/' + file, entry);
    }
  }
  void add(const std::string& name, const fs::directory_entry& entry) {
    const bool is_link = entry.is_symlink();
    std::error_code error;
    const fs::file_status status = is_link ? entry.status(error) : entry.symlink_status();
    if (is_link && (error || !fs::exists(status)))
      skip(name, "a link that leads nowhere");
    else if (fs::is_regular_file(status))
      names_.push_back(name);
    else if (!fs::is_directory(status))
      skip(name, "neither a file nor a folder");
    else if (is_link)
      links_.insert(name);
    else
      list(name);
  }
  void skip(const std::string& name, const char* why) {
    skipped_.push_back(fmt::format("{}: {}", shown(name), why));
  }

  const fs::path root_;
  std::vector<std::string> names_, skipped_;
  std::set<std::string> links_;               // to folders, not followed yet
  std::set<std::pair<dev_t, ino_t>> listed_;  // folders
};

std::vector<uint8_t> read_bytes(const fs::path& path, const DataFiles& data) {
  std::vector<uint8_t> bytes;
  for (const fs::path& file : data.files) {
    const size_t before = bytes.size();
    if (before > 0) bytes.push_back(0);
    append_file(file, bytes);
    if (before > 0 && bytes.size() == before + 1) bytes.pop_back();  // it was empty
  }
  if (bytes.empty())
    fail(path, data.is_folder ? "there is no text in this folder" : "this file is empty");
  return bytes;
}

std::vector<std::string> remarks_on(const fs::path& path, const DataFiles& data, size_t bytes) {
  constexpr size_t kMostSkipped = 5;  // that are named
  if (!data.is_folder) return {};
  const std::string key = fmt::format("data = {}: ", shown(path.string()));
  std::vector<std::string> remarks = {fmt::format("{}{} file{}, {} byte{}", key, data.files.size(),
                                                  data.files.size() == 1 ? "" : "s", bytes,
                                                  bytes == 1 ? "" : "s")};
  const size_t named = std::min(kMostSkipped, data.skipped.size());
  for (size_t i = 0; i < named; ++i)
    remarks.push_back(fmt::format("{}not read is {}", key, data.skipped[i]));
  if (named < data.skipped.size())
    remarks.push_back(fmt::format("{}not read are {} more", key, data.skipped.size() - named));
  return remarks;
}

}  // namespace

DataFiles data_files(const fs::path& path) {
  try {
    if (!fs::exists(path)) fail(path, "there is no such file or folder");
    if (fs::is_regular_file(path)) return {.files = {path}};
    if (!fs::is_directory(path)) fail(path, "neither a file nor a folder");
    const FolderListing listing(path);
    return {.files = listing.files(), .is_folder = true, .skipped = listing.skipped()};
  } catch (const fs::filesystem_error& error) {
    fail(error.path1().empty() ? path : error.path1(),
         fmt::format("cannot be read: {}", error.code().message()));
  }
}

Corpus::Corpus(const fs::path& path, double held_out) {
  if (!(held_out >= 0 && held_out < 1))
    throw ConfigError(fmt::format("held-out = {}: allowed is 0 to below 1", held_out));
  const DataFiles data = data_files(path);
  try {
    bytes_ = read_bytes(path, data);
  } catch (const std::bad_alloc&) {
    fail(path, kTooLarge);
  } catch (const std::length_error&) {  // a file that announces more than any memory has
    fail(path, kTooLarge);
  }
  const auto held_out_bytes = static_cast<size_t>(held_out * static_cast<double>(bytes_.size()));
  train_bytes_ = bytes_.size() - std::min(held_out_bytes, bytes_.size() - 1);
  remarks_ = remarks_on(path, data, bytes_.size());
}

uint64_t Corpus::digest() const { return XXH3_64bits(bytes_.data(), bytes_.size()); }

}  // namespace eggroll
