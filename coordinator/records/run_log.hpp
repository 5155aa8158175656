// What a person and a program see of a run; rank 0 only. On a terminal one progress line that renews
// itself, elsewhere plain lines; metrics.jsonl holds one record a generation, `summary` the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/config.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/generation_record.hpp"
#include "coordinator/records/metrics_file.hpp"
#include "coordinator/records/snapshot_writer.hpp"
#include "coordinator/records/terminal.hpp"
#include "worker/task.hpp"

namespace eggroll {

struct Validation {
  uint64_t generation = 0;  // completed before it
  std::vector<Metric> metrics;
  double seconds = 0;
};

// The ranks that are left after a loss have come together again.
struct Regrouping {
  uint64_t generation = 0;  // after which they went on; its successor's record tells of the loss
  double seconds = 0;       // from the loss being noticed until the run could go on
  std::vector<std::string> lost;
};

// What is told of a generation beside its record.
struct GenerationExtras {
  double generation_s = 0;
  std::vector<Metric> train;                                 // of the task
  std::optional<Work> work;                                  // of the task
  std::vector<std::pair<std::string, double>> of_optimizer;  // name and value
  int ranks = 1;
  std::vector<std::string> slow_ranks;  // by name
  double guard_s = 0;  // keeping the buddy checkpoint (survive); part of generation_s
  std::vector<Regrouping> regroupings;   // that led to this generation
  double checkpoint_s = 0;               // how long a checkpoint held up the run; 0: none was begun
  std::vector<SnapshotOutcome> written;  // checkpoints that have come to the disk since the last
  std::optional<Validation> validation;
};

class RunLog {
 public:
  // Continues metrics.jsonl after `completed` generations.
  RunLog(const RunConfig& config, uint64_t completed, size_t parameters);

  void say(const std::string& line);       // a line of its own, whatever the progress line does
  void complain(const std::string& line);  // likewise, on standard error
  void generation(const GenerationPlan& plan, const GenerationRecord& record,
                  const GenerationExtras& extras);
  // One after the generations that were completed when this log began goes to the record that they
  // have already.
  void validated(const Validation& validation);
  // Whether that record is there and has none: the run was stopped before its validation.
  bool lacks_validation() const { return lacks_validation_; }
  // The run goes on after `completed` generations: later records come again.
  void go_back_to(uint64_t completed);
  void interrupt();  // what stands on the progress line stays, the next word begins a new one
  uint64_t recorded() const { return recorded_; }  // generations in metrics.jsonl
  // Shows the summary and writes it; what kept it from being written, if anything did.
  std::string end(const std::vector<std::string>& summary);

  MetricsFile& metrics() { return *metrics_; }
  const std::optional<Validation>& last_validation() const { return validation_; }
  double elapsed_s() const { return watch_.elapsed_s(); }  // since this log began
  // What was evaluated since this log began, generations that were done again too.
  double members() const { return members_; }
  // All that was gone through meanwhile; nothing where the task counts none.
  const std::optional<Work>& work() const { return work_; }

 private:
  void show_progress(uint64_t generation, const GenerationExtras& extras, double changed_share);

  const RunConfig config_;
  uint64_t completed_;  // when this log began, or went back to
  uint64_t recorded_;
  const size_t parameters_;
  const std::optional<Terminal> terminal_;
  std::optional<MetricsFile> metrics_;
  const double before_s_;  // that the run had taken when this log began, by its records
  bool lacks_validation_;
  Stopwatch watch_;
  double last_shown_s_ = -1e9;
  bool line_is_open_ = false;
  bool states_version_ = false;  // some record of this log does, the first
  uint64_t bytes_sent_before_ = 0;
  std::optional<Validation> validation_;
  double members_ = 0;
  std::optional<Work> work_;
};

// The metrics that have a label, as on the progress line: "train 3.252  validation 3.406 bits/byte".
std::string labelled(const std::vector<Metric>& metrics);

}  // namespace eggroll
