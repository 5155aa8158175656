#include "coordinator/bench/bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <ranges>

#include "common/check.hpp"
#include "common/command_line.hpp"
#include "common/json_text.hpp"
#include "common/output.hpp"
#include "common/rule_names.hpp"
#include "coordinator/commands.hpp"
#include "coordinator/devices.hpp"
#include "worker/control/environment_types.hpp"

namespace eggroll {
namespace bench {

Report::Report(std::string command, bool json) : command_(std::move(command)), json_(json) {
  if (!json_) print_result("# {}\n", command_);
}

void Report::note(const std::string& line) {
  notes_.push_back(line);
  if (!json_) print_result("# {}\n", line);
}

void Report::row(const std::string& name, const std::string& unit, const Rate& rate, double scale,
                 const std::string& against, double ratio) {
  rows_.push_back({name, unit, against, rate.median * scale, rate.spread, ratio});
  if (json_) return;
  print_result("{:44} {:>12.4g} {:18} +-{:4.1f}%  {:6.3f} {}\n", name, rate.median * scale, unit,
               50 * rate.spread, ratio, against);
  flush_result();
}

void Report::point(const Point& point) {
  points_.push_back(point);
  if (json_ || point.is_for_plots) return;
  print_result("{:48} {:>8.6g} {:>12.5g}", point.series, point.x, point.y);
  if (point.error > 0) print_result(" +- {:.2g}", point.error);
  if (point.theory) print_result("   theory {:.5g}", *point.theory);
  print_result("\n");
  flush_result();
}

void Report::finish() const {
  if (!json_) return;
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Row& r : rows_)
    rows.push_back({{"name", r.name},
                    {"unit", r.unit},
                    {"median", r.value},
                    {"spread_10_to_90", r.spread},
                    {"ratio", r.ratio},
                    {"against", r.against}});
  nlohmann::ordered_json all = {{"command", command_}, {"notes", notes_}, {"rows", rows}};
  for (const Point& p : points_) {
    all["points"].push_back({{"series", p.series}, {"x", p.x}, {"y", p.y}, {"error", p.error}});
    if (p.theory) all["points"].back()["theory"] = *p.theory;
  }
  print_result("{}\n", json_text(all));
}

}  // namespace bench

int bench_command(const std::vector<std::string>& arguments) {
  constexpr const char* kWhat = "control, kernels, model, noise, shaping, theory, update";
  if (arguments.empty() || (arguments[0].starts_with("--") && !asks_for_help(arguments)))
    throw ConfigError(fmt::format("bench: what to measure comes first: {}", kWhat));
  bench::Settings settings;
  DeviceChoice device = DeviceChoice::automatic;
  bool json = false;
  Options options;
  options.number("layers", settings.shape.layers, 1, 64, "model, update: layers");
  options.add(
      "width", "64|256|1024|4096", "model, update: width", "allowed are 64, 256, 1024, 4096",
      [&](std::string_view text) {
        return (text == "64" || text == "256" || text == "1024" || text == "4096") &&
               read_number(text, settings.shape.width);
      },
      [&] { return std::to_string(settings.shape.width); });
  options.add(
      "population", "N", "model, update: members", "allowed are even numbers from 2 to 16777216",
      [&](std::string_view text) {
        uint64_t value = 0;
        if (!read_number(text, value) || value < 2 || value % 2 != 0 || value > 1 << 24)
          return false;
        settings.population = value;
        return true;
      },
      [&] { return std::to_string(settings.population); });
  options.number("tokens", settings.tokens, 1, 65536,
                 "model, update: bytes a member reads in a generation");
  options.number("threads", settings.threads, 1, 1024, "model, update: threads");
  options.add(
      "env", "NAME,NAME...", "control: environments", "allowed are " + environments_text(),
      [&](std::string_view text) {
        std::vector<std::string> names;
        for (const auto part : std::views::split(text, ',')) {
          names.emplace_back(part.begin(), part.end());
          environment_type(names.back());  // throws where there is none of that name
        }
        settings.environments = std::move(names);
        return !settings.environments.empty();
      },
      [&] { return fmt::format("{}", fmt::join(settings.environments, ",")); });
  options.choice("device", device, "model, update: what computes");
  options.number("repetitions", settings.repetitions, 1, 10000,
                 "of each figure; medians are printed");
  options.flag("json", json, "one JSON object instead of text");
  if (!parse_command(
          "bench",
          fmt::format("eggroll bench WHAT: what this machine does; WHAT is one of {}", kWhat),
          options, {arguments.begin() + (asks_for_help(arguments) ? 0 : 1), arguments.end()}))
    return 0;

  constexpr struct {
    const char* name;
    void (*run)(const bench::Settings&, bench::Report&);
  } kBenches[] = {{"control", bench::bench_control}, {"kernels", bench::bench_kernels},
                  {"model", bench::bench_model},     {"noise", bench::bench_noise},
                  {"shaping", bench::bench_shaping}, {"theory", bench::bench_theory},
                  {"update", bench::bench_update}};
  const auto* chosen =
      std::ranges::find(kBenches, arguments[0], [](const auto& b) { return std::string(b.name); });
  if (chosen == std::end(kBenches))
    throw ConfigError(fmt::format("bench {}: allowed are {}", arguments[0], kWhat));
  settings.device = choose_device(device);
  const bool is_of_model = arguments[0] == "model" || arguments[0] == "update";
  if (device == DeviceChoice::cuda && !is_of_model)
    throw OptionError(
        "device", "cuda",
        fmt::format("bench {} measures the CPU; allowed are auto, cpu", arguments[0]));
  bench::Report report(fmt::format("eggroll bench {}", fmt::join(arguments, " ")), json);
  chosen->run(settings, report);
  report.finish();
  return 0;
}

}  // namespace eggroll
