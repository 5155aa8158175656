#include "coordinator/records/run_log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/json_text.hpp"
#include "common/output.hpp"
#include "coordinator/version.hpp"

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

void show(const std::string& text) { tell(stdout, text); }

// Of a record of metrics.jsonl; 0 where it has none.
double elapsed_s_in(const std::string& record) {
  const auto json = nlohmann::json::parse(record, nullptr, false);
  if (!json.is_object()) return 0;
  const auto elapsed = json.find("elapsed_s");
  return elapsed != json.end() && elapsed->is_number() ? elapsed->get<double>() : 0;
}

// Whether a record is that of this generation, without a validation.
bool lacks_validation_in(const std::string& record, uint64_t generation) {
  const auto json = nlohmann::json::parse(record, nullptr, false);
  return json.is_object() && json.contains("generation") && json["generation"] == generation &&
         !json.contains("validation_s");
}

void add(const Validation& validation, nlohmann::ordered_json& record) {
  for (const Metric& metric : validation.metrics) record[metric.name] = metric.value;
  record["validation_s"] = validation.seconds;
}

}  // namespace

std::string labelled(const std::vector<Metric>& metrics) {
  std::vector<const Metric*> shown;
  for (const Metric& metric : metrics)
    if (!metric.label.empty()) shown.push_back(&metric);
  std::string text;
  for (size_t i = 0; i < shown.size(); ++i) {
    text += fmt::format("{}{} {:.3f}", i == 0 ? "" : "  ", shown[i]->label, shown[i]->value);
    // A unit stands behind the last of those that share it.
    const bool is_last = i + 1 == shown.size() || shown[i + 1]->unit != shown[i]->unit;
    if (is_last && !shown[i]->unit.empty()) text += ' ' + shown[i]->unit;
  }
  return text;
}

RunLog::RunLog(const RunConfig& config, uint64_t completed, size_t parameters)
    : config_(config),
      completed_(completed),
      recorded_(completed),
      parameters_(parameters),
      terminal_(Terminal::of_output()),
      metrics_(std::in_place, config.run, completed),
      before_s_(elapsed_s_in(metrics_->last_kept())),
      lacks_validation_(lacks_validation_in(metrics_->last_kept(), completed)) {}

void RunLog::say(const std::string& line) {
  show(fmt::format("{}{}\n", line_is_open_ ? "\r\033[K" : "", line));
  line_is_open_ = false;
}

void RunLog::complain(const std::string& line) {
  if (line_is_open_) show("\r\033[K");
  line_is_open_ = false;
  eggroll::complain(line);
}

void RunLog::validated(const Validation& validation) {
  validation_ = validation;
  if (validation.generation == 0) say("generation 0: " + labelled(validation.metrics));
  if (!lacks_validation_ || validation.generation != completed_) return;
  lacks_validation_ = false;
  auto record = nlohmann::ordered_json::parse(metrics_->last_kept());
  add(validation, record);
  try {
    metrics_->amend_last_kept(json_text(record));
  } catch (const std::exception& e) {
    complain(fmt::format("no validation in the record of generation {}: {}", validation.generation,
                         e.what()));
  }
}

void RunLog::show_progress(uint64_t generation, const GenerationExtras& extras,
                           double changed_share) {
  const double elapsed = watch_.elapsed_s();
  const double rate = static_cast<double>(generation - completed_) / elapsed;
  std::vector<Metric> metrics = extras.train;
  if (validation_)
    metrics.insert(metrics.end(), validation_->metrics.begin(), validation_->metrics.end());
  const std::string line = fmt::format(
      "generation {}/{}  {}  changed {:.2f}%  {} members/s  {}{} left", generation,
      config_.generations, labelled(metrics), 100 * changed_share,
      short_number(rate * static_cast<double>(config_.population)),
      extras.work
          ? fmt::format("{} {}/s  ", short_number(rate * extras.work->amount), extras.work->unit)
          : "",
      duration(static_cast<double>(config_.generations - generation) / rate));
  // The last column stays free, as some terminals go on to the next line once it is written.
  show(terminal_ ? fmt::format("\r\033[K{}", line.substr(0, terminal_->columns() - 1))
                 : line + "\n");
  line_is_open_ = terminal_.has_value();
  last_shown_s_ = elapsed;
}

void RunLog::generation(const GenerationPlan& plan, const GenerationRecord& record,
                        const GenerationExtras& extras) {
  const uint64_t generation = plan.generation + 1;
  const double changed_share =
      static_cast<double>(record.update.changed) / static_cast<double>(parameters_);
  nlohmann::ordered_json json = {{"generation", generation},
                                 {"elapsed_s", before_s_ + watch_.elapsed_s()},
                                 {"generation_s", extras.generation_s}};
  for (const Metric& metric : extras.train) json[metric.name] = metric.value;
  json["changed_parameters"] = record.update.changed;
  json["changed_share"] = changed_share;
  json["ties"] = record.ties;
  json["active_pairs"] = record.active_pairs;
  json["sum_squares"] = record.shaped.sum_squares;
  for (const auto& [name, value] : extras.of_optimizer) json[name] = value;
  json.update({{"evaluate_s", record.evaluate_s},
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
               {"members_per_s", static_cast<double>(config_.population) / extras.generation_s}});
  if (extras.work) json[extras.work->unit + "_per_s"] = extras.work->amount / extras.generation_s;
  json["bytes_sent"] = record.bytes_sent - bytes_sent_before_;
  json["sums_travel_wide"] = record.update.sums_travel_wide;
  json["sigma"] = plan.sigma;
  json["not_finite"] = record.fitness.not_finite;
  // Ternary fitness has said who of a pair is better, and no more.
  if (config_.fitness_encoding != FitnessEncoding::ternary &&
      record.fitness.not_finite < config_.population) {
    json["fitness_mean"] = record.fitness.mean;
    json["fitness_best"] = record.fitness.best;
    json["fitness_worst"] = record.fitness.worst;
    json["fitness_deviation"] = record.fitness.deviation;
  }
  if (!states_version_) json["version"] = version();
  states_version_ = true;
  bytes_sent_before_ = record.bytes_sent;
  for (const SnapshotOutcome& each : extras.written)
    json["checkpoints_written"].push_back(
        {{"generation", each.generation}, {"write_s", each.write_s}, {"bytes", each.bytes}});
  if (extras.validation) add(*extras.validation, json);
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
  metrics_->append(json_text(json));
  recorded_ = generation;
  lacks_validation_ = false;
  members_ += static_cast<double>(config_.population);
  if (extras.work) work_ = {extras.work->unit, extras.work->amount + (work_ ? work_->amount : 0)};
  const double since = watch_.elapsed_s() - last_shown_s_;
  if (generation == config_.generations || (terminal_ ? since > 0.2 : since > 10.0))
    show_progress(generation, extras, changed_share);
}

void RunLog::go_back_to(uint64_t completed) {
  interrupt();
  lacks_validation_ = false;
  bytes_sent_before_ = 0;  // the ranks that are left count anew
  if (completed >= recorded_) return;
  metrics_.reset();
  metrics_.emplace(config_.run, completed);
  states_version_ = false;
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
