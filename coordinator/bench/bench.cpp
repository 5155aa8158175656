#include "coordinator/bench/bench.hpp"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <nlohmann/json.hpp>

#include "common/check.hpp"
#include "coordinator/command_line.hpp"
#include "coordinator/commands.hpp"
#include "coordinator/devices.hpp"

namespace eggroll {
namespace bench {

Report::Report(std::string command, bool json) : command_(std::move(command)), json_(json) {
  if (!json_) fmt::print("# {}\n", command_);
}

void Report::note(const std::string& line) {
  notes_.push_back(line);
  if (!json_) fmt::print("# {}\n", line);
}

void Report::row(const std::string& name, const std::string& unit, const Rate& rate, double scale,
                 const std::string& against, double ratio) {
  rows_.push_back({name, unit, against, rate.median * scale, rate.spread, ratio});
  if (json_) return;
  fmt::print("{:44} {:>12.4g} {:18} +-{:4.1f}%  {:6.3f} {}\n", name, rate.median * scale, unit,
             50 * rate.spread, ratio, against);
  std::fflush(stdout);
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
  fmt::print(
      "{}\n",
      nlohmann::ordered_json{{"command", command_}, {"notes", notes_}, {"rows", rows}}.dump());
}

}  // namespace bench

int bench_command(const std::vector<std::string>& arguments) {
  namespace po = boost::program_options;
  constexpr const char* kWhat = "kernels, model, noise, update";
  if (arguments.empty() || (arguments[0].starts_with("--") && arguments[0] != "--help"))
    throw ConfigError(fmt::format("bench: what to measure comes first: {}", kWhat));
  bench::Settings settings;
  std::string device;
  po::options_description options(
      fmt::format("eggroll bench WHAT: what this machine does; WHAT is one of {}", kWhat));
  options.add_options()("layers",
                        po::value(&settings.shape.layers)->default_value(6)->value_name("N"),
                        "model, update: layers")(
      "width", po::value(&settings.shape.width)->default_value(256)->value_name("N"),
      "model, update: width")("population",
                              po::value(&settings.population)->default_value(1056)->value_name("N"),
                              "model, update: members")(
      "tokens", po::value(&settings.tokens)->default_value(100)->value_name("N"),
      "model, update: bytes a member reads in a generation")(
      "threads", po::value(&settings.threads)->default_value(1)->value_name("N"),
      "model, update: threads")(
      "device", po::value(&device)->default_value("auto")->value_name("auto|cpu|cuda"),
      "model, update: what computes")(
      "repetitions", po::value(&settings.repetitions)->default_value(15)->value_name("N"),
      "of each figure; medians are printed")("json", "one JSON object instead of text");
  const bool help_only = arguments[0] == "--help";
  const po::variables_map values =
      parse_command("bench", options, {arguments.begin() + (help_only ? 0 : 1), arguments.end()});
  if (values.count("help")) {
    fmt::print("{}", fmt::streamed(options));
    return 0;
  }
  const auto& w = settings.shape.width;
  if (w != 64 && w != 256 && w != 1024 && w != 4096)
    throw ConfigError(fmt::format("width = {}: allowed are 64, 256, 1024, 4096", w));
  if (settings.shape.layers < 1 || settings.shape.layers > 64)
    throw ConfigError(fmt::format("layers = {}: allowed are 1 to 64", settings.shape.layers));
  if (settings.population < 2 || settings.population % 2 != 0 || settings.population > 1 << 24)
    throw ConfigError(fmt::format("population = {}: allowed are even numbers from 2 to 16777216",
                                  settings.population));
  if (settings.tokens < 1 || settings.tokens > 65536)
    throw ConfigError(fmt::format("tokens = {}: allowed are 1 to 65536", settings.tokens));
  if (settings.threads < 1 || settings.threads > 1024)
    throw ConfigError(fmt::format("threads = {}: allowed are 1 to 1024", settings.threads));
  if (settings.repetitions < 1 || settings.repetitions > 10000)
    throw ConfigError(
        fmt::format("repetitions = {}: allowed are 1 to 10000", settings.repetitions));

  constexpr struct {
    const char* name;
    void (*run)(const bench::Settings&, bench::Report&);
  } kBenches[] = {{"kernels", bench::bench_kernels},
                  {"model", bench::bench_model},
                  {"noise", bench::bench_noise},
                  {"update", bench::bench_update}};
  const auto* chosen =
      std::ranges::find(kBenches, arguments[0], [](const auto& b) { return std::string(b.name); });
  if (chosen == std::end(kBenches))
    throw ConfigError(fmt::format("bench {}: allowed are {}", arguments[0], kWhat));
  settings.device = choose_device(device);
  const bool is_of_model = arguments[0] == "model" || arguments[0] == "update";
  if (device == "cuda" && !is_of_model)
    throw ConfigError(fmt::format("device = cuda: bench {} measures the CPU; allowed are auto, cpu",
                                  arguments[0]));
  bench::Report report("eggroll bench " + fmt::format("{}", fmt::join(arguments, " ")),
                       values.count("json") != 0);
  chosen->run(settings, report);
  report.finish();
  return 0;
}

}  // namespace eggroll
