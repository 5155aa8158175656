#include "coordinator/records/metrics_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/check.hpp"

namespace eggroll {
namespace {

constexpr std::streamoff kTailBytes = 64 << 10;  // a record is far shorter

// Of a record; nothing where the line is none.
std::optional<uint64_t> generation_in(const std::string& line) {
  const auto record = nlohmann::json::parse(line, nullptr, false);
  if (!record.is_object()) return std::nullopt;
  const auto generation = record.find("generation");
  if (generation == record.end() || !generation->is_number_unsigned()) return std::nullopt;
  return generation->get<uint64_t>();
}

// The records of the first `completed` generations, that of the last one by `amended` where it is not
// empty, written aside and renamed. The last of them.
std::string keep_records(const std::filesystem::path& path, uint64_t completed,
                         const std::string& amended = "") {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return "";
  std::ifstream in(path);
  if (!in) return "";
  std::string last;
  const std::filesystem::path aside = path.string() + ".partial";
  std::ofstream out(aside, std::ios::trunc);
  for (std::string line; std::getline(in, line);) {
    const auto generation = generation_in(line);
    if (!generation || *generation > completed) continue;
    if (*generation == completed && !amended.empty()) line = amended;
    out << line << '\n';
    last = line;
  }
  out.close();
  if (!out) throw Error(fmt::format("{}: cannot write", aside.string()));
  std::filesystem::rename(aside, path);
  return last;
}

}  // namespace

uint64_t recorded_generations(const std::filesystem::path& run, uint64_t most) {
  std::ifstream in(run / "metrics.jsonl", std::ios::binary | std::ios::ate);
  const std::streamoff size = in ? static_cast<std::streamoff>(in.tellg()) : 0;
  in.seekg(std::max<std::streamoff>(0, size - kTailBytes));
  uint64_t last = 0;
  // A line without its end, which is being written, is no record.
  for (std::string line; std::getline(in, line);) last = generation_in(line).value_or(last);
  return std::min(last, most);
}

MetricsFile::MetricsFile(const std::filesystem::path& run, uint64_t completed,
                         uint64_t budget_bytes)
    : path_(run / "metrics.jsonl"), completed_(completed), budget_bytes_(budget_bytes) {
  last_kept_ = keep_records(path_, completed);
  descriptor_ = open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0)
    throw Error(fmt::format("{}: cannot write: {}", path_.string(), std::strerror(errno)));
}

MetricsFile::~MetricsFile() { close_file(); }

void MetricsFile::close_file() {
  if (descriptor_ >= 0) close(descriptor_);
  descriptor_ = -1;
}

void MetricsFile::append(const std::string& line) {
  waiting_ += line;
  waiting_ += '\n';
  ++waiting_lines_;
  if (error_.empty() || Clock::now() >= next_attempt_) write_waiting();
}

void MetricsFile::amend_last_kept(const std::string& line) {
  require(waiting_.empty(), "metrics: records are amended before others follow");
  keep_records(path_, completed_, line);  // attempt() opens what has its name then
}

void MetricsFile::sync() {
  write_waiting();
  if (error_.empty() && fsync(descriptor_) != 0 && errno != EINVAL)
    error_ = fmt::format("cannot sync: {}", std::strerror(errno));
}

void MetricsFile::write_waiting() {
  const Clock::time_point start = Clock::now();
  error_ = attempt();
  if (error_.empty()) {
    waiting_.clear();
    waiting_lines_ = failed_attempts_ = 0;
    return;
  }
  close_file();  // one opened anew may work where this one would not
  ++failed_attempts_;
  // A disk that takes long to fail is asked less often.
  next_attempt_ = Clock::now() +
                  std::max<Clock::duration>(std::chrono::seconds(1), 10 * (Clock::now() - start));
}

std::string MetricsFile::attempt() {
  struct stat named = {}, opened = {};
  const bool is_named = stat(path_.c_str(), &named) == 0;
  if (descriptor_ >= 0 && (fstat(descriptor_, &opened) != 0 || !is_named ||
                           named.st_dev != opened.st_dev || named.st_ino != opened.st_ino))
    close_file();
  if (descriptor_ < 0) {
    // Where the run's folder is not what it was (the empty one below a file system that went away)
    // there is no configuration in it either.
    std::error_code error;
    const bool is_run_folder = std::filesystem::exists(path_.parent_path() / "config.ini", error);
    descriptor_ =
        open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | (is_run_folder ? O_CREAT : 0), 0666);
    if (descriptor_ < 0) return fmt::format("cannot open: {}", std::strerror(errno));
    if (fstat(descriptor_, &opened) != 0)
      return fmt::format("cannot read its size: {}", std::strerror(errno));
  }
  if (whole_bytes_ && opened.st_size > *whole_bytes_) {
    if (ftruncate(descriptor_, *whole_bytes_) != 0)
      return fmt::format("cannot cut off half a line: {}", std::strerror(errno));
    opened.st_size = *whole_bytes_;
  }
  whole_bytes_.reset();
  for (size_t written = 0; written < waiting_.size();) {
    const ssize_t count = write(descriptor_, waiting_.data() + written, waiting_.size() - written);
    if (count >= 0) {
      written += static_cast<size_t>(count);
      continue;
    }
    if (errno == EINTR) continue;
    const int error = errno;
    if (written > 0 && ftruncate(descriptor_, opened.st_size) != 0) whole_bytes_ = opened.st_size;
    return fmt::format("cannot write: {}", std::strerror(error));
  }
  return "";
}

}  // namespace eggroll
