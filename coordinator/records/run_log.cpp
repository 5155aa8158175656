#include "coordinator/records/run_log.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace eggroll {
namespace {

std::string short_number(double v) {
  if (v >= 1e9) return fmt::format("{:.2f} G", v / 1e9);
  if (v >= 1e6) return fmt::format("{:.2f} M", v / 1e6);
  if (v >= 1e3) return fmt::format("{:.1f} k", v / 1e3);
  return fmt::format("{:.0f}", v);
}

std::string duration(double seconds) {
  const auto s = static_cast<long>(seconds + 0.5);
  if (s >= 3600) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
  if (s >= 60) return fmt::format("{}m{:02}s", s / 60, s % 60);
  return fmt::format("{}s", s);
}

// A closed terminal or pipe is no reason to end a run: what cannot be shown is in the metrics.
void show(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace

bool output_is_terminal() {
  if (!isatty(STDOUT_FILENO)) return false;
  if (!std::getenv("OMPI_COMM_WORLD_SIZE")) return true;
  // Up to the launcher, past what may stand in between (a shell, a profiler).
  pid_t process = getppid();
  for (int level = 0; level < 8 && process > 1; ++level) {
    const std::filesystem::path folder = fmt::format("/proc/{}", process);
    std::ifstream status(folder / "stat");
    std::string stat;
    std::getline(status, stat);
    const size_t open = stat.find('('), close = stat.rfind(')');  // pid (command) state ppid ...
    if (open == std::string::npos || close == std::string::npos) return false;
    const std::string command = stat.substr(open + 1, close - open - 1);
    if (command == "mpirun" || command == "mpiexec" || command == "orterun") {
      std::error_code error;
      const std::string output = std::filesystem::read_symlink(folder / "fd" / "1", error).string();
      return !error && (output.starts_with("/dev/pts/") || output.starts_with("/dev/tty"));
    }
    char state = 0;
    std::istringstream(stat.substr(close + 1)) >> state >> process;
  }
  return false;
}

Validation validation_of(const StreamScores& scores, uint64_t generation, double seconds) {
  const auto tokens = static_cast<double>(scores.tokens);
  return {.generation = generation,
          .bits_per_byte = static_cast<double>(scores.loss_2e24) / 16777216.0 / tokens,
          .integer_bits_per_byte = static_cast<double>(-scores.score_sum) / 16.0 / tokens,
          .seconds = seconds};
}

RunLog::RunLog(const RunConfig& config, uint64_t completed, size_t parameters)
    : config_(config),
      completed_(completed),
      recorded_(completed),
      parameters_(parameters),
      terminal_(output_is_terminal()),
      metrics_(std::in_place, config.run, completed) {}

void RunLog::say(const std::string& line) {
  show(fmt::format("{}{}\n", line_is_open_ ? "\r\033[K" : "", line));
  line_is_open_ = false;
}

void RunLog::complain(const std::string& line) {
  if (line_is_open_) show("\r\033[K");
  line_is_open_ = false;
  fmt::print(stderr, "eggroll: {}\n", line);
}

void RunLog::validated(const Validation& validation) {
  validation_ = validation;
  if (validation.generation == 0)
    say(fmt::format("generation 0: validation {:.3f} bits/byte", validation.bits_per_byte));
}

void RunLog::show_progress(uint64_t generation, double train_bits, double changed_share) {
  const double elapsed = watch_.elapsed_s();
  const double rate = static_cast<double>(generation - completed_) / elapsed;
  const double members = rate * static_cast<double>(config_.population);
  const std::string line = fmt::format(
      "generation {}/{}  train {:.3f}{} bits/byte  changed {:.2f}%  {} members/s  {} tokens/s  {} "
      "left",
      generation, config_.generations, train_bits,
      validation_ ? fmt::format("  validation {:.3f}", validation_->bits_per_byte) : "",
      100 * changed_share, short_number(members), short_number(members * config_.tokens_per_update),
      duration(static_cast<double>(config_.generations - generation) / rate));
  show(terminal_ ? fmt::format("\r\033[K{}", line) : line + "\n");
  line_is_open_ = terminal_;
  last_shown_s_ = elapsed;
}

void RunLog::generation(const GenerationPlan& plan, const GenerationRecord& record,
                        const GenerationExtras& extras) {
  const double tokens = static_cast<double>(config_.population) * config_.tokens_per_update;
  const uint64_t generation = plan.generation + 1;
  // Known for each encoding: every rank reports the sum of its scores. Integer score, floored log2:
  // about 0.03 too low.
  const double train_bits = static_cast<double>(-record.score_sum) / 16.0 / tokens;
  const double changed_share =
      static_cast<double>(record.update.changed) / static_cast<double>(parameters_);
  nlohmann::ordered_json json = {
      {"generation", generation},
      {"elapsed_s", watch_.elapsed_s()},
      {"generation_s", extras.generation_s},
      {"train_integer_bits_per_byte", train_bits},
      {"changed_parameters", record.update.changed},
      {"changed_share", changed_share},
      {"ties", record.ties},
      {"active_pairs", record.active_pairs},
      {"sum_squares", record.shaped.sum_squares},
      {"alpha", extras.alpha},
      {"matrix_threshold", record.shaped.matrix_threshold},
      {"evaluate_s", record.evaluate_s},
      {"slowest_evaluate_s", record.slowest_evaluate_s},
      {"usual_tile_s", record.usual_tile_s},
      {"slowest_tile_s", record.slowest_tile_s},
      {"slowest_rank", record.slowest_rank},
      {"tiles_given_again", record.tiles_given_again},
      {"gather_s", record.gather_s},
      {"shape_s", record.shape_s},
      {"scatter_s", record.scatter_s},
      {"update_s", record.update.reconstruct_s},
      {"all_reduce_s", record.update.all_reduce_s},
      {"step_s", record.update.step_s},
      {"checkpoint_s", extras.checkpoint_s},
      {"ranks", extras.ranks},
      {"guard_s", extras.guard_s},
      {"members_per_s", static_cast<double>(config_.population) / extras.generation_s},
      {"tokens_per_s", tokens / extras.generation_s},
      {"bytes_sent", record.bytes_sent - bytes_sent_before_},
      {"sums_travel_wide", record.update.sums_travel_wide},
  };
  bytes_sent_before_ = record.bytes_sent;
  for (const SnapshotOutcome& each : extras.written)
    json["checkpoints_written"].push_back(
        {{"generation", each.generation}, {"write_s", each.write_s}, {"bytes", each.bytes}});
  if (extras.validation) {
    json["validation_bits_per_byte"] = extras.validation->bits_per_byte;
    json["validation_integer_bits_per_byte"] = extras.validation->integer_bits_per_byte;
    json["validation_s"] = extras.validation->seconds;
  }
  if (!extras.slow_ranks.empty()) json["slow_ranks"] = extras.slow_ranks;
  if (!extras.regroupings.empty()) {
    double seconds = 0;
    std::vector<std::string> lost;
    for (const Regrouping& each : extras.regroupings) {
      seconds += each.seconds;
      lost.insert(lost.end(), each.lost.begin(), each.lost.end());
    }
    json["regroup_s"] = seconds;
    json["lost"] = lost;
  }
  metrics_->append(json.dump());
  recorded_ = generation;
  const double since = watch_.elapsed_s() - last_shown_s_;
  if (generation == config_.generations || (terminal_ ? since > 0.2 : since > 10.0))
    show_progress(generation, train_bits, changed_share);
}

void RunLog::go_back_to(uint64_t completed) {
  interrupt();
  bytes_sent_before_ = 0;  // the ranks that are left count anew
  if (completed >= recorded_) return;
  metrics_.reset();
  metrics_.emplace(config_.run, completed);
  recorded_ = completed;
}

void RunLog::interrupt() {
  if (line_is_open_) show("\n");
  line_is_open_ = false;
}

std::string RunLog::end(const std::vector<std::string>& summary) {
  interrupt();
  const std::filesystem::path path = std::filesystem::path(config_.run) / "summary";
  errno = 0;
  std::ofstream file(path, std::ios::trunc);
  for (const std::string& line : summary) {
    show(line + "\n");
    file << line << '\n';
  }
  file.close();
  return file ? "" : fmt::format("{}: cannot write: {}", path.string(), std::strerror(errno));
}

}  // namespace eggroll
