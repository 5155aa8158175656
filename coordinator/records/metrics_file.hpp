// metrics.jsonl on disks that fail. The file holds whole lines only: one that could be written in
// part is cut off again. What cannot be written waits in memory, in order, and is written once it
// can be; until then an attempt is made every second at most. A file whose name has come to mean
// another one, or none, as when its file system went away, is opened anew.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace eggroll {

// By its last whole line: how many generations, `most` at most, the metrics.jsonl of a run folder
// holds. 0 where there is none.
uint64_t recorded_generations(const std::filesystem::path& run, uint64_t most);

inline constexpr uint64_t kMetricsBudgetBytes = uint64_t{64} << 20;

class MetricsFile {
 public:
  // run/metrics.jsonl, with those of its records that belong to the first `completed` generations:
  // later ones, left by a run that went further than its last checkpoint, are dropped, as they will
  // come again. Throws Error where that cannot be done.
  MetricsFile(const std::filesystem::path& run, uint64_t completed,
              uint64_t budget_bytes = kMetricsBudgetBytes);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  // Does not throw for the disk's sake.
  void append(const std::string& line);
  // An attempt at once, up to the disk itself.
  void sync();

  const std::filesystem::path& path() const { return path_; }
  // The last record that was there already; empty: there was none.
  const std::string& last_kept() const { return last_kept_; }
  // Puts this in place of the record of generation `completed`, before any is appended. Throws Error
  // where that cannot be done; then the record stays.
  void amend_last_kept(const std::string& line);
  // Why lines wait, and since how many attempts; "" and 0 when none do.
  const std::string& error() const { return error_; }
  uint64_t failed_attempts() const { return failed_attempts_; }
  uint64_t waiting_lines() const { return waiting_lines_; }
  bool is_beyond_budget() const { return waiting_.size() > budget_bytes_; }

 private:
  using Clock = std::chrono::steady_clock;

  void write_waiting();
  std::string attempt();  // what went wrong
  void close_file();

  const std::filesystem::path path_;
  const uint64_t completed_;
  const uint64_t budget_bytes_;
  std::string last_kept_;
  int descriptor_ = -1;
  std::optional<int64_t> whole_bytes_;  // where half a line begins that could not be cut off
  std::string waiting_;
  uint64_t waiting_lines_ = 0;
  std::string error_;
  uint64_t failed_attempts_ = 0;
  Clock::time_point next_attempt_ = {};
};

}  // namespace eggroll
