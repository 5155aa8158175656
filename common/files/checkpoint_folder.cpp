#include "common/files/checkpoint_folder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>

#include "common/check.hpp"
#include "common/files/checkpoint.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNamePrefix = "checkpoint-";
constexpr const char* kNameSuffix = ".h5";

// Names of the regular files in a folder; none where there is no folder.
std::vector<std::string> file_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error))
    if (std::error_code ignored; entry->is_regular_file(ignored))
      names.push_back(entry->path().filename().string());
  if (error && error != std::errc::no_such_file_or_directory)
    throw Error(fmt::format("{}: cannot be listed: {}", folder.string(), error.message()));
  return names;
}

}  // namespace

fs::path checkpoint_path(const fs::path& run, uint64_t generation) {
  return run / fmt::format("{}{:09}{}", kNamePrefix, generation, kNameSuffix);
}

std::optional<uint64_t> checkpoint_generation(const fs::path& path) {
  const std::string name = path.filename().string();
  const std::string_view prefix = kNamePrefix, suffix = kNameSuffix;
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) return std::nullopt;
  if (name.size() < prefix.size() + suffix.size()) return std::nullopt;
  const char* first = name.data() + prefix.size();
  const char* last = name.data() + name.size() - suffix.size();
  uint64_t generation = 0;
  const auto [rest, error] = std::from_chars(first, last, generation);
  if (error != std::errc{} || rest != last) return std::nullopt;
  if (checkpoint_path("", generation) != name) return std::nullopt;
  return generation;
}

std::vector<fs::path> list_checkpoints(const fs::path& run) {
  std::vector<uint64_t> generations;
  for (const std::string& name : file_names(run))
    if (const auto generation = checkpoint_generation(name)) generations.push_back(*generation);
  std::sort(generations.rbegin(), generations.rend());
  std::vector<fs::path> paths;
  for (uint64_t generation : generations) paths.push_back(checkpoint_path(run, generation));
  return paths;
}

std::optional<fs::path> run_folder_of(const fs::path& checkpoint) {
  std::error_code error;
  if (fs::is_directory(checkpoint, error)) return checkpoint;
  const fs::path file =
      fs::is_symlink(checkpoint, error) ? fs::canonical(checkpoint, error) : checkpoint;
  if (!checkpoint_generation(file)) return std::nullopt;
  return file.has_parent_path() ? file.parent_path() : ".";
}

CheckpointReader newest_checkpoint(
    const fs::path& run,
    const std::function<void(const fs::path&, const std::string&)>& passed_over) {
  constexpr int kListings = 100;  // of a folder that somebody writes into
  std::set<fs::path> damaged;
  size_t listed = 0;
  for (int listing = 0; listing < kListings; ++listing) {
    const std::vector<fs::path> paths = list_checkpoints(run);
    listed = paths.size();
    bool is_pruned = false;  // meanwhile: there is a newer one then
    for (const fs::path& path : paths) try {
        CheckpointReader reader(path);
        reader.verify();
        return reader;
      } catch (const Error& error) {
        std::error_code ignored;
        is_pruned = !fs::exists(path, ignored);
        if (is_pruned) break;
        if (damaged.insert(path).second) passed_over(path, error.what());
      }
    if (!is_pruned) break;
  }
  throw Error(listed == 0 ? fmt::format("{}: holds no checkpoint", run.string())
                          : fmt::format("{}: none of its {} checkpoints can be read", run.string(),
                                        listed));
}

void prune_checkpoints(const fs::path& run, uint64_t keep, uint64_t newest) {
  require(keep >= 1, "checkpoint: one at least is kept");
  std::vector<fs::path> remove = list_checkpoints(run);
  std::erase_if(remove, [newest](const fs::path& path) {
    return checkpoint_generation(path).value_or(0) > newest;
  });
  remove.erase(remove.begin(),
               remove.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(keep, remove.size())));
  for (const std::string& name : file_names(run))
    if (name.ends_with(std::string(kNameSuffix) + kPartialSuffix)) remove.push_back(run / name);
  std::string first_failure;
  for (const fs::path& path : remove) {
    std::error_code error;
    fs::remove(path, error);
    if (error && first_failure.empty())
      first_failure = fmt::format("{}: cannot remove: {}", path.string(), error.message());
  }
  if (!first_failure.empty()) throw Error(first_failure);
}

}  // namespace eggroll
