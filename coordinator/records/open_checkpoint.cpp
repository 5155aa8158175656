#include "coordinator/records/open_checkpoint.hpp"

#include <fmt/format.h>

#include "common/output.hpp"
#include "worker/tasks.hpp"

namespace eggroll {

std::string without_path(const Error& error, const std::filesystem::path& path) {
  const std::string what = error.what(), prefix = path.string() + ": ";
  return what.starts_with(prefix) ? what.substr(prefix.size()) : what;
}

CheckpointReader open_newest_checkpoint(const std::filesystem::path& folder) {
  return newest_checkpoint(folder, [](const std::filesystem::path&, const std::string& why) {
    complain(fmt::format("passing over {}", why));
  });
}

CheckpointReader open_checkpoint(const std::string& option, const std::filesystem::path& path) {
  try {
    if (std::filesystem::is_directory(path)) return open_newest_checkpoint(path);
    CheckpointReader reader(path);
    reader.verify();
    if (reader.header().config.empty())
      throw Error("has no attribute config, which names the task and its options");
    return reader;
  } catch (const Error& e) {  // the file is one that the user named
    throw ConfigError(fmt::format("{} = {}: {}", option, path.string(), without_path(e, path)));
  }
}

RunConfig config_in(const CheckpointReader& reader, const std::filesystem::path& path) {
  return parse_config_text(reader.header().config, path.string(), option_catalogue());
}

ParameterLayout layout_in(const CheckpointReader& reader, const std::filesystem::path& path) {
  if (!reader.header().layout.empty()) return reader.layout();
  const RunConfig config = config_in(reader, path);
  return task_type(config.task).layout(config);
}

std::vector<std::byte> parameters_for(const CheckpointReader& reader, const std::string& option,
                                      const std::filesystem::path& path,
                                      const ParameterLayout& layout) {
  try {
    return reader.read_parameters(layout);
  } catch (const Error& e) {
    throw ConfigError(
        fmt::format("{} = {}: {}", option, path.string(), without_path(e, reader.path())));
  }
}

}  // namespace eggroll
