#include "coordinator/supervise/job_watch.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "common/check.hpp"
#include "common/exit_codes.hpp"
#include "common/files/checkpoint_folder.hpp"
#include "common/output.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/records/metrics_file.hpp"
#include "coordinator/stop_signal.hpp"
#include "coordinator/supervise/job_process.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;

constexpr double kStartFor_s = 30;  // until a job says that it runs, however short --hang-after is
constexpr double kGrace_s = 10;     // for a job whose run has ended to end too
constexpr std::chrono::milliseconds kRound{20};
constexpr double kLongestRound_s = 1;  // with a slow look into the folder
constexpr int kRoundsALook = 5;        // the folder may be on another machine

volatile std::sig_atomic_t stop_requests = 0;  // INT, TERM, HUP
volatile std::sig_atomic_t wants_checkpoint = 0;
volatile std::sig_atomic_t wants_stop = 0;

// What can be seen of a run.
struct Footprint {
  std::string status;  // the text of status.json
  int64_t metrics_bytes = 0;
  uint64_t newest_checkpoint = 0;  // its generation
  bool operator==(const Footprint&) const = default;
};

Footprint footprint_of(const RunConfig& run) {
  Footprint seen;
  std::ifstream file(fs::path(run.run) / "status.json");
  seen.status.assign(std::istreambuf_iterator<char>(file), {});
  struct stat metrics {};
  if (stat((fs::path(run.run) / "metrics.jsonl").c_str(), &metrics) == 0)
    seen.metrics_bytes = metrics.st_size;
  try {
    const auto checkpoints = list_checkpoints(run.run);
    if (!checkpoints.empty())
      seen.newest_checkpoint = checkpoint_generation(checkpoints.front()).value_or(0);
  } catch (const Error&) {  // a folder that cannot be listed just now shows nothing
  }
  return seen;
}

class JobWatch {
 public:
  JobWatch(const std::vector<std::string>& command, const RunConfig& run, double hang_after_s)
      : run_(run),
        hang_after_s_(hang_after_s),
        before_(footprint_of(run)),
        seen_(before_),
        process_(command, environment_of(run)) {}

  JobEnd watch() {
    std::string hang;
    std::optional<int> code;
    for (int round = 0; hang.empty() && !(code = process_.exit_code()); ++round) {
      pass_on_requests();
      // Time in which this process was suspended, and the job with it, is no silence.
      quiet_s_ += std::min(since_round_.lap_s(), kLongestRound_s);
      if (round % kRoundsALook == 0) look();
      if (has_ended() && quiet_s_ > kGrace_s) break;
      const double patience =
          std::max(hang_after_s_, state().empty() ? kStartFor_s : 10 * longest_step_s_);
      if (!has_ended() && quiet_s_ > patience)
        hang = fmt::format("hung: nothing has come from it for {:.0f} s", patience);
      std::this_thread::sleep_for(kRound);
    }
    look();
    JobEnd end = verdict(code, hang);
    end.noticed = JobEnd::Clock::now();
    // Ranks that are ended here may still stop in good order, which is not the end of the run.
    process_.end();
    look();
    if (state() == "finished") end.exit_code = 0;
    end.first_generation = first_generation_;
    return end;
  }

 private:
  static std::map<std::string, std::string> environment_of(const RunConfig& run) {
    if (!run.survive) return {};
    return {{"OMPI_MCA_orte_enable_recovery", "1"},
            {"OMPI_MCA_orte_abort_on_non_zero_status", "0"}};
  }

  void pass_on_requests() {
    if (wants_checkpoint) process_.signal(SIGUSR1);
    wants_checkpoint = 0;
    const bool is_another = stop_requests != stops_heard_;
    if (is_another && is_asked_to_stop_) process_.signal(SIGTERM);
    // mpirun gives its ranks no time after SIGTERM, but passes SIGUSR2 on.
    if ((is_another && !is_asked_to_stop_) || wants_stop) {
      process_.signal(SIGUSR2);
      if (!is_asked_to_stop_)
        tell(stdout, "supervise: the run is asked to write a checkpoint and stop\n");
      is_asked_to_stop_ = true;
    }
    wants_stop = 0;
    stops_heard_ = stop_requests;
  }

  void look() {
    const Footprint now = footprint_of(run_);
    if (now == seen_) return;
    // Once this start says that it runs, the records that its predecessor had too many are gone.
    if (now.status != before_.status) {
      if (now.metrics_bytes > seen_.metrics_bytes)
        longest_step_s_ = std::max(longest_step_s_, quiet_s_);
      if (!first_generation_ &&
          recorded_generations(run_.run, UINT64_MAX) > before_.newest_checkpoint)
        first_generation_ = JobEnd::Clock::now();
    }
    seen_ = now;
    quiet_s_ = 0;
  }

  // Of status.json, once this start has written it.
  nlohmann::json status() const {
    if (seen_.status == before_.status) return nlohmann::json::object();
    const auto json = nlohmann::json::parse(seen_.status, nullptr, false);
    return json.is_object() ? json : nlohmann::json::object();
  }
  std::string state() const { return status().value("state", ""); }
  bool has_ended() const { return !state().empty() && state() != "running"; }

  JobEnd verdict(std::optional<int> code, const std::string& hang) const {
    JobEnd end;
    const int said = status().value("exit_code", 1);
    if (state() == "finished") {
      end.exit_code = 0;
    } else if (state() == "failed" && (said == 2 || is_asked_to_stop_)) {
      end.exit_code = said;
    } else if ((state() == "stopped" && hang.empty()) || is_asked_to_stop_) {
      end.exit_code = kStoppedBeforeEnd;
    } else if (state().empty() && code && (*code == 2 || (*code == 0 && !run_.survive))) {
      end.exit_code = *code;  // refused before it began; --dry-run, --help
    } else if (state() == "failed") {
      end.death = status().value("message", "it failed");
    } else if (!hang.empty()) {
      end.death = hang;
    } else if (code && *code > 128) {
      end.death = fmt::format("ended by signal {} (exit code {})", *code - 128, *code);
    } else {
      end.death = fmt::format("exit code {}", code.value_or(-1));
    }
    return end;
  }

  const RunConfig& run_;
  const double hang_after_s_;
  const Footprint before_;
  Footprint seen_;
  JobProcess process_;
  Stopwatch since_round_;
  double quiet_s_ = 0;  // since something has come from the job
  double longest_step_s_ = 0;
  std::optional<JobEnd::Clock::time_point> first_generation_;
  bool is_asked_to_stop_ = false;
  int stops_heard_ = 0;
};

}  // namespace

void take_requests() {
  std::signal(SIGPIPE, SIG_IGN);  // a log that nobody reads any more
  for (const int number : {SIGINT, SIGTERM, SIGHUP})
    if (!is_left_ignored(number))
      std::signal(number, [](int) { stop_requests = stop_requests + 1; });
  std::signal(SIGUSR1, [](int) { wants_checkpoint = 1; });
  std::signal(SIGUSR2, [](int) { wants_stop = 1; });
}

JobEnd run_job(const std::vector<std::string>& command, const RunConfig& run, double hang_after_s) {
  return JobWatch(command, run, hang_after_s).watch();
}

}  // namespace eggroll
