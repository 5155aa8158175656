// `eggroll supervise`: keeps a training job going. It starts the job, and again when it dies or hangs,
// until the run has ended; the run itself goes on from its newest checkpoint (--auto-resume).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "common/check.hpp"
#include "common/command_line.hpp"
#include "common/config.hpp"
#include "common/output.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/commands.hpp"
#include "coordinator/supervise/job_process.hpp"
#include "coordinator/supervise/job_watch.hpp"
#include "worker/tasks.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTitle =
    "Keeps a training job going: starts it again when it dies or hangs.\n\n"
    "  eggroll supervise [options] -- mpirun ... eggroll train ...\n";
constexpr double kProbeFor_s = 10;  // for a host to answer
constexpr int kLoop = 2;            // deaths in a row without a generation between them

struct Host {
  std::string name;
  int slots = 1;
};

struct Assignment {
  RunConfig run;
  std::vector<std::string> command;
  std::vector<Host> hosts;
  std::string probe = "ssh -o BatchMode=yes -o ConnectTimeout=3 {host} true";
  uint64_t max_restarts = 100;
  double hang_after_s = 300;
};

void say(const std::string& line) { tell(stdout, fmt::format("supervise: {}\n", line)); }

// ---- the command line ----

std::vector<Host> parse_hosts(const std::string& text) {
  std::vector<Host> hosts;
  for (size_t first = 0; first <= text.size();) {
    const size_t end = std::min(text.find(',', first), text.size());
    std::string name = text.substr(first, end - first);
    Host host;
    if (const size_t colon = name.find(':'); colon != std::string::npos) {
      const std::string slots = name.substr(colon + 1);
      host.slots = slots.find_first_not_of("0123456789") == std::string::npos && slots.size() < 5
                       ? std::atoi(slots.c_str())
                       : 0;
      name.resize(colon);
    }
    host.name = name;
    if (name.empty() || host.slots < 1)
      throw ConfigError(fmt::format(
          "supervise: hosts = {}: allowed are names with their ranks, as in n1:2,n2:2", text));
    hosts.push_back(host);
    first = end + 1;
  }
  return hosts;
}

bool holds(const std::vector<std::string>& words, std::string_view part) {
  return std::ranges::any_of(words,
                             [&](const auto& w) { return w.find(part) != std::string::npos; });
}

// None: --help was there, and has been printed.
std::optional<Assignment> parse(const std::vector<std::string>& own,
                                const std::vector<std::string>& command) {
  Assignment job;
  std::string hosts;
  Options options;
  options.number("max-restarts", job.max_restarts, 0, std::numeric_limits<uint64_t>::max(),
                 "how often the job is started again at most");
  options.number(
      "hang-after", job.hang_after_s, 1.0, 1e9,
      "seconds without a generation, validation or checkpoint after which the job counts as "
      "hung (and no less than ten times the longest generation so far, and 30 s until it has "
      "begun)");
  options.path("hosts", hosts, "H:N,...",
               "hosts with their ranks, for {hosts} and {ranks} in the command; those that do not "
               "answer are left out of a start");
  options.path("probe", job.probe, "COMMAND", "how a host is asked whether it is there");
  if (!parse_command("supervise", kTitle, options, own)) return std::nullopt;

  if (command.empty())
    throw ConfigError(
        "supervise: needed is the command of the job, as in eggroll supervise -- "
        "mpirun -np 4 eggroll train ...");
  if (std::ranges::find(command, ":") != command.end())
    throw ConfigError("supervise: a command of several parts (:) is not supported");
  const auto train = std::ranges::find(command, "train");
  if (train == command.begin() || train == command.end())
    throw ConfigError(
        fmt::format("supervise: the command starts no eggroll train: {}", fmt::join(command, " ")));
  const std::vector<std::string> arguments(train + 1, command.end());
  const ParsedConfig parsed = parse_train_config(arguments, option_catalogue());
  job.run = parsed.config;
  job.command = command;
  if (!job.run.resume.empty()) {
    if (std::error_code error; !fs::is_directory(job.run.resume, error))
      throw ConfigError(
          fmt::format("supervise: resume = {}: name the folder of the run, so that a "
                      "restart goes on from its newest checkpoint",
                      job.run.resume));
    if (!parsed.given.contains("run")) job.run.run = job.run.resume;
  } else {
    validate_config(job.run, option_catalogue(), parsed.given);
    if (!job.run.auto_resume) job.command.push_back("--auto-resume");
  }
  const bool has_places = holds(command, "{hosts}") || holds(command, "{ranks}");
  if (!hosts.empty()) job.hosts = parse_hosts(hosts);
  if (has_places != !hosts.empty())
    throw ConfigError("supervise: --hosts and {hosts}, {ranks} in the command belong together");
  return job;
}

// ---- starts ----

std::string replaced(std::string text, std::string_view place, const std::string& value) {
  for (size_t at = 0; (at = text.find(place, at)) != std::string::npos; at += value.size())
    text.replace(at, place.size(), value);
  return text;
}

// The hosts that answer.
std::vector<Host> present_hosts(const Assignment& job) {
  std::vector<std::unique_ptr<JobProcess>> probes;
  for (const Host& host : job.hosts)
    probes.push_back(std::make_unique<JobProcess>(
        std::vector<std::string>{"/bin/sh", "-c", replaced(job.probe, "{host}", host.name)},
        std::map<std::string, std::string>{}));
  std::vector<std::optional<int>> codes(probes.size());
  const Stopwatch watch;
  while (watch.elapsed_s() < kProbeFor_s) {
    bool all = true;
    for (size_t i = 0; i < probes.size(); ++i) {
      if (!codes[i]) codes[i] = probes[i]->exit_code();
      all &= codes[i].has_value();
    }
    if (all) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  std::vector<Host> present;
  for (size_t i = 0; i < probes.size(); ++i) {
    if (codes[i] == 0)
      present.push_back(job.hosts[i]);
    else
      say(fmt::format("host {} does not answer and is left out", job.hosts[i].name));
  }
  return present;
}

std::vector<std::string> command_of_start(const Assignment& job) {
  if (job.hosts.empty()) return job.command;
  const std::vector<Host> present = present_hosts(job);
  if (present.empty()) throw Error("supervise: no host answers");
  std::string list;
  int ranks = 0;
  for (const Host& host : present) {
    list += fmt::format("{}{}:{}", list.empty() ? "" : ",", host.name, host.slots);
    ranks += host.slots;
  }
  std::vector<std::string> command;
  for (const std::string& word : job.command)
    command.push_back(replaced(replaced(word, "{hosts}", list), "{ranks}", std::to_string(ranks)));
  return command;
}

int finish(int code, uint64_t restarts, std::vector<double> to_next) {
  std::ranges::sort(to_next);
  if (restarts > 0)
    say(fmt::format("{} restart{}{}", restarts, restarts == 1 ? "" : "s",
                    to_next.empty()
                        ? ""
                        : fmt::format("; from a death to the next generation {:.1f} s (median), "
                                      "{:.1f} s (worst)",
                                      to_next[to_next.size() / 2], to_next.back())));
  return code;
}

}  // namespace

int supervise_command(const std::vector<std::string>& arguments) {
  const auto dashes = std::ranges::find(arguments, "--");
  const std::vector<std::string> command(dashes == arguments.end() ? dashes : std::next(dashes),
                                         arguments.end());
  const std::optional<Assignment> assignment = parse({arguments.begin(), dashes}, command);
  if (!assignment) return 0;
  const Assignment& job = *assignment;

  adopt_orphans();
  take_requests();
  std::vector<double> to_next;
  std::optional<JobEnd::Clock::time_point> death;
  int deaths_in_a_row = 0;
  for (uint64_t restarts = 0;; ++restarts) {
    const JobEnd end = run_job(command_of_start(job), job.run, job.hang_after_s);
    if (death && end.first_generation)
      to_next.push_back(std::chrono::duration<double>(*end.first_generation - *death).count());
    if (end.exit_code) return finish(*end.exit_code, restarts, std::move(to_next));
    death = end.noticed;
    deaths_in_a_row = end.first_generation ? 1 : deaths_in_a_row + 1;
    say(fmt::format("the job is gone: {}", end.death));
    if (deaths_in_a_row >= kLoop && !end.first_generation) {
      say(fmt::format("{} deaths in a row without one generation between them; not started again",
                      deaths_in_a_row));
      return finish(1, restarts, std::move(to_next));
    }
    if (restarts == job.max_restarts) {
      say(fmt::format("started again {} times already (--max-restarts); not started again",
                      restarts));
      return finish(1, restarts, std::move(to_next));
    }
    say(fmt::format("start {} goes on from the newest checkpoint in {}", restarts + 2,
                    job.run.run));
  }
}

}  // namespace eggroll
