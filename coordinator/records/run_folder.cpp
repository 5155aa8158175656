#include "coordinator/records/run_folder.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "common/check.hpp"
#include "common/files/checkpoint.hpp"
#include "common/files/checkpoint_folder.hpp"
#include "common/json_text.hpp"
#include "common/messages/collectives.hpp"
#include "common/start_thread.hpp"
#include "coordinator/records/open_checkpoint.hpp"
#include "worker/tasks.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kTouchEvery{5};
constexpr int64_t kStaleAfter_s = 30;  // without a touch

std::string job_id() {
  for (const char* name : {"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"})
    if (const char* value = std::getenv(name)) return value;
  return "";
}

std::string utc(std::time_t time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(time));
}

constexpr const char* kStatusNames[] = {"running", "finished", "stopped", "failed"};

fs::path status_path(const std::string& run) { return fs::path(run) / "status.json"; }

nlohmann::ordered_json myself() {
  return {{"host", host_name()},
          {"pid", static_cast<int64_t>(getpid())},
          {"job", job_id()},
          {"since", utc(std::time(nullptr))}};
}

// A disk that does not take it is no reason to end.
void write_status(const std::string& run, RunStatus state, int exit_code, uint64_t generation,
                  const std::string& message) {
  nlohmann::ordered_json json = {{"state", kStatusNames[static_cast<int>(state)]},
                                 {"exit_code", exit_code},
                                 {"generation", generation},
                                 {"message", message}};
  json.update(myself());
  const fs::path path = status_path(run);
  const fs::path aside = path.string() + ".partial";
  std::ofstream file(aside, std::ios::trunc);
  file << json_text(json) << '\n';
  file.close();
  std::error_code ignored;
  if (file)
    fs::rename(aside, path, ignored);
  else
    fs::remove(aside, ignored);
}

std::string content_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Whether this program writes such a file: then nothing of a person's is in it, no comment, no order.
bool is_written_config(const std::string& text) {
  try {
    return write_config(parse_config_text(text, "", option_catalogue()), option_catalogue()) ==
           text;
  } catch (const ConfigError&) {
    return false;
  }
}

// Renames a config.ini that a person wrote to the first of config.ini.1, .2, ... that is free; the
// new name, empty where there was nothing to keep.
std::string keep_beside(const fs::path& config) {
  std::error_code error;
  if (!fs::is_regular_file(config, error)) return "";
  if (!fs::is_symlink(config, error) && is_written_config(content_of(config))) return "";
  for (int number = 1;; ++number) {
    const std::string name = fmt::format("{}.{}", config.string(), number);
    if (fs::exists(fs::symlink_status(name, error))) continue;
    fs::rename(config, name);
    return name;
  }
}

}  // namespace

// The lock file, open and touched as long as this lives.
class RunFolder::Lock {
 public:
  Lock(fs::path path, bool replaces_lost, std::string& taken_over) : path_(std::move(path)) {
    if (replaces_lost) unlink(path_.c_str());
    while (!take(taken_over)) {
    }
    const std::string content = json_text(myself()) + '\n';
    if (ftruncate(descriptor_, 0) != 0 || pwrite(descriptor_, content.data(), content.size(), 0) !=
                                              static_cast<ssize_t>(content.size())) {
      const std::string why = std::strerror(errno);
      release();
      throw ConfigError(fmt::format("run = {}: cannot write {}: {}", path_.parent_path().string(),
                                    path_.string(), why));
    }
    try {
      toucher_ = start_thread([this] { touch(); });
    } catch (const Error&) {
      release();
      throw;
    }
  }
  ~Lock() {
    {
      const std::lock_guard guard(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    toucher_.join();
    release();
  }

 private:
  // False: the file was removed while this process waited for it.
  bool take(std::string& taken_over) {
    descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0)
      throw ConfigError(fmt::format("run = {}: cannot open {}: {}", path_.parent_path().string(),
                                    path_.string(), std::strerror(errno)));
    const bool is_locked = flock(descriptor_, LOCK_EX | LOCK_NB) == 0;
    const bool has_locks = is_locked || errno == EWOULDBLOCK;
    const bool is_held_here = !is_locked && has_locks;
    const nlohmann::json holder = read_holder();
    struct stat mine {};
    struct stat named {};
    fstat(descriptor_, &mine);
    if (!is_held_here && !is_live(holder, mine, has_locks)) {
      if (stat(path_.c_str(), &named) != 0 || named.st_ino != mine.st_ino) {
        close(descriptor_);
        return false;
      }
      if (holder.is_object())
        taken_over = fmt::format("the run folder was left locked by {}, which is gone; taken over",
                                 text_of(holder));
      return true;
    }
    close(descriptor_);
    throw ConfigError(
        fmt::format("run = {}: {} is writing there; wait for it, end it, or choose "
                    "another folder",
                    path_.parent_path().string(), text_of(holder)));
  }

  nlohmann::json read_holder() const {
    char text[1024];
    const ssize_t count = pread(descriptor_, text, sizeof text, 0);
    return nlohmann::json::parse(text, text + std::max<ssize_t>(count, 0), nullptr, false);
  }

  // Of a holder that left words, where no lock of the file system says that it is there.
  static bool is_live(const nlohmann::json& holder, const struct stat& file, bool has_locks) {
    if (!holder.is_object()) return false;
    if (holder.value("host", "") == host_name())
      return !has_locks && kill(static_cast<pid_t>(holder.value("pid", int64_t{0})), 0) == 0;
    return std::time(nullptr) - file.st_mtime < kStaleAfter_s;
  }

  static std::string text_of(const nlohmann::json& holder) {
    if (!holder.is_object()) return "another process";
    const std::string job = holder.value("job", "");
    return fmt::format("process {} on host {}{}, since {}", holder.value("pid", int64_t{0}),
                       holder.value("host", "?"), job.empty() ? "" : " (job " + job + ")",
                       holder.value("since", "?"));
  }

  void touch() {
    std::unique_lock guard(mutex_);
    while (!changed_.wait_for(guard, kTouchEvery, [this] { return ends_; }))
      futimens(descriptor_, nullptr);
  }

  // The file goes only while it is still this process's own.
  void release() {
    struct stat mine {};
    struct stat named {};
    if (fstat(descriptor_, &mine) == 0 && stat(path_.c_str(), &named) == 0 &&
        named.st_ino == mine.st_ino)
      unlink(path_.c_str());
    close(descriptor_);
  }

  const fs::path path_;
  int descriptor_ = -1;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  std::thread toucher_;
};

bool holds_checkpoints(const RunConfig& config) {
  try {
    return !list_checkpoints(config.run).empty();
  } catch (const Error& e) {
    throw ConfigError(fmt::format("run = {}: {}", config.run, without_path(e, config.run)));
  }
}

std::string folder_to_resume_in(const std::string& resume) {
  if (const auto folder = run_folder_of(resume)) return folder->string();
  throw ConfigError(
      fmt::format("resume = {}: not the name of a checkpoint in the folder of a run, such as {}; "
                  "name the folder to go on in with --run",
                  shown(resume), checkpoint_path("", 1).string()));
}

bool goes_on_in_place(const RunConfig& config) {
  if (config.resume.empty()) return false;
  std::error_code error;
  const auto folder = run_folder_of(config.resume);
  return folder && fs::equivalent(*folder, config.run, error);
}

void check_run_folder(const RunConfig& config) {
  if (goes_on_in_place(config)) return;
  std::error_code error;
  if (fs::exists(config.run, error) && !fs::is_directory(config.run, error))
    throw ConfigError(fmt::format("run = {}: is a file, needed is a folder", config.run));
  if (holds_checkpoints(config))
    throw ConfigError(fmt::format(
        "run = {}: the folder already holds a run; go on with --resume {} or choose another folder",
        config.run, config.run));
}

bool confirm_finished(const std::string& run, uint64_t generations) {
  std::ifstream file(status_path(run));
  const auto json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return false;
  const auto state = json.find("state"), generation = json.find("generation");
  if (state == json.end() || *state != kStatusNames[static_cast<int>(RunStatus::finished)] ||
      generation == json.end() || *generation != generations)
    return false;
  write_status(run, RunStatus::finished, 0, generations, "");
  return true;
}

RunFolder::RunFolder(const RunConfig& config, const std::string& config_text, bool replaces_lost)
    : run_(config.run) {
  std::error_code error;
  fs::create_directories(run_, error);
  if (error)
    throw ConfigError(fmt::format("run = {}: cannot create the folder: {}", run_, error.message()));
  lock_ = std::make_unique<Lock>(fs::path(run_) / "lock", replaces_lost, taken_over_);
  const fs::path path = fs::path(run_) / "config.ini";
  try {
    if (const std::string name = keep_beside(path); !name.empty())
      kept_beside_ =
          fmt::format("{} is the run's own from now on; the one that was there is kept as {}",
                      path.string(), name);
  } catch (const fs::filesystem_error& failure) {
    throw ConfigError(fmt::format("run = {}: cannot rename {}: {}", run_, path.string(),
                                  failure.code().message()));
  }
  std::ofstream file(path, std::ios::trunc);
  file << config_text;
  file.close();
  if (file) return;
  has_ended_ = true;
  throw ConfigError(fmt::format("run = {}: cannot write {}", run_, path.string()));
}

RunFolder::~RunFolder() {
  if (!has_ended_) say(RunStatus::failed, 1, 0, "ended by an error");
}

void RunFolder::say(RunStatus state, int exit_code, uint64_t generation,
                    const std::string& message) {
  has_ended_ = state != RunStatus::running;
  write_status(run_, state, exit_code, generation, message);
}

}  // namespace eggroll
