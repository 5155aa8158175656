#include "worker/control/mujoco/physics.hpp"

#include <fmt/format.h>
#include <mujoco/mujoco.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <mutex>
#include <string_view>
#include <vector>

#include "common/check.hpp"
#include "common/options.hpp"
#include "common/text_encoding.hpp"
#include "worker/control/mujoco/embedded_models.hpp"

namespace eggroll {
namespace {

// Out of the library: a handler must not return. Its functions are C, or C++ that holds nothing here, and
// carry the tables that an exception needs to pass (every x86-64 and AArch64 compiler writes them by
// default); without them the process would end here, rather than wait for a key. What a state had reserved
// when it was left is free again once it is reset.
[[noreturn]] void fatal(const char* text) { throw Error(fmt::format("MuJoCo: {}", text)); }

void be_quiet(const char*) {}

// Once, before anything else is asked of the library.
void prepare_library() {
  static const bool is_done = [] {
    mju_user_error = fatal;
    mju_user_warning = be_quiet;
    if (mj_version() != mjVERSION_HEADER)
      throw Error(
          fmt::format("compiled for version {} of MuJoCo, but the library that was found is {}",
                      mjVERSION_HEADER, mj_version()));
    return true;
  }();
  static_cast<void>(is_done);
}

// Files in memory, by the functions that this version has: a template, so that those it has not are not
// looked for.
template <typename Files>
class MemoryFiles {
 public:
  MemoryFiles(const char* name, std::string_view text) : files_(std::make_unique<Files>()) {
    mj_defaultVFS(files_.get());
    const int size = static_cast<int>(text.size());
    int failed = 0;
    if constexpr (requires(Files * f) { mj_addBufferVFS(f, name, text.data(), size); }) {
      failed = mj_addBufferVFS(files_.get(), name, text.data(), size);
    } else {
      failed = mj_makeEmptyFileVFS(files_.get(), name, size);
      if (failed == 0)
        std::memcpy(files_->filedata[mj_findFileVFS(files_.get(), name)], text.data(), text.size());
    }
    require(failed == 0, "MuJoCo takes a file from memory");
  }
  ~MemoryFiles() { mj_deleteVFS(files_.get()); }
  MemoryFiles(const MemoryFiles&) = delete;
  MemoryFiles& operator=(const MemoryFiles&) = delete;

  const Files* get() const { return files_.get(); }

 private:
  std::unique_ptr<Files> files_;  // megabytes, in old versions
};

std::string text_of(const std::filesystem::path& path, const std::string& title) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw ConfigError(title + " cannot be read: it is a folder");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad())
    throw ConfigError(fmt::format("{} cannot be read: {}", title, std::strerror(errno)));
  if (const auto encoding = foreign_encoding(text); !encoding.empty())
    throw ConfigError(fmt::format("{} is {} text; allowed is UTF-8", title, encoding));
  return text;
}

// Lines in a row.
std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    if (c != '\n' && c != '\r')
      line += c;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

// One at a time: the library's parser keeps what it read last.
mjModel* load(const std::string& file, const mjVFS* files, const std::string& title) {
  static std::mutex parser;
  const std::lock_guard hold(parser);
  char reason[1000] = "";
  mjModel* model = nullptr;
  try {
    model = mj_loadXML(file.c_str(), files, reason, sizeof(reason));
  } catch (const Error& error) {
    throw ConfigError(fmt::format("{} is no model: {}", title, one_line(error.what())));
  }
  if (model == nullptr)
    throw ConfigError(fmt::format("{} is no model: {}", title, one_line(reason)));
  return model;
}

}  // namespace

std::string physics_version() { return fmt::format("MuJoCo {}", mj_versionString()); }

PhysicsModel::PhysicsModel(const std::string& file_name, const std::filesystem::path& folder) {
  prepare_library();
  if (folder.empty()) {
    title_ = "built-in model " + file_name;
    const std::optional<std::string_view> text = embedded_model(file_name);
    if (!text) throw ConfigError(title_ + ": there is none of that name");
    digest_ = fmt::format("{:016x}", XXH3_64bits(text->data(), text->size()));
    const MemoryFiles<mjVFS> files(file_name.c_str(), *text);
    model_.reset(load(file_name, files.get(), title_));
  } else {
    const std::filesystem::path path = folder / file_name;
    title_ = "model file " + shown(path.string());
    const std::string text = text_of(path, title_);
    digest_ = fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
    model_.reset(load(path.string(), nullptr, title_));  // may name files beside it
  }
}

int PhysicsModel::body(const char* name) const {
  const int number = mj_name2id(model_.get(), mjOBJ_BODY, name);
  if (number < 0) throw ConfigError(fmt::format("{} has no body of the name {}", title_, name));
  return number;
}

void PhysicsModel::Free::operator()(mjModel_* model) const { mj_deleteModel(model); }

PhysicsState::PhysicsState(const PhysicsModel& model) : data_(mj_makeData(model.get())) {
  if (!data_) throw Error(model.title() + ": MuJoCo makes no state of it");
}

size_t PhysicsState::bytes() const { return static_cast<size_t>(data_->nbuffer); }

bool PhysicsState::has_warned() const {
  for (const auto& warning : data_->warning)
    if (warning.number > 0) return true;
  return false;
}

void PhysicsState::Free::operator()(mjData_* data) const { mj_deleteData(data); }

}  // namespace eggroll
