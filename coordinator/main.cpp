// eggroll: evolution strategies with low-rank perturbations on MPI ranks. The only place that
// catches.
//   exit codes: 0 done   1 the run broke   2 options, files or data do not fit   75 stopped by a
//   signal, with a checkpoint to go on from
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "common/config.hpp"
#include "common/messages/collectives.hpp"
#include "coordinator/commands.hpp"
#include "coordinator/launcher.hpp"
#include "coordinator/stop_signal.hpp"
#include "coordinator/train.hpp"

namespace {

constexpr const char* kUsage =
    "eggroll: train networks by evolution strategies with low-rank perturbations, on MPI ranks\n"
    "\n"
    "  eggroll train    --data FILE ...                train a model; under mpirun or srun on many "
    "ranks\n"
    "  eggroll supervise -- mpirun ... eggroll train ...  start a training job again when it dies\n"
    "  eggroll evaluate --checkpoint PATH --data FILE  bits per byte of a trained model on a text\n"
    "  eggroll sample   --checkpoint PATH              text from a trained model\n"
    "  eggroll inspect  --checkpoint PATH              what is in a checkpoint\n"
    "  eggroll bench    kernels|model|noise|update     what the kernels do on this machine\n"
    "\n"
    "eggroll COMMAND --help lists a command's options.\n";

constexpr int kBroke = 1, kMisused = 2;

void complain(const std::string& what) { fmt::print(stderr, "eggroll: {}\n", what); }

int train_on_all_ranks(const std::vector<std::string>& arguments) {
  eggroll::refuse_srun_without_pmix();
  eggroll::install_request_handlers();
  eggroll::MpiSession session;
  const auto group = session.world();
  try {
    return session.ends_with(eggroll::train(arguments, session, *group));
  } catch (const eggroll::ConfigError& e) {  // the same on every rank
    if (group->rank() == 0 && eggroll::is_first_process()) complain(e.what());
    return kMisused;
  } catch (const std::bad_alloc&) {
    complain(fmt::format("rank {} on host {}: out of memory; --dry-run says how much a run needs",
                         group->rank(), eggroll::host_name()));
    session.abort(kBroke);
  } catch (const std::exception& e) {  // this rank's alone: the others may be waiting for it
    complain(group->size() == 1 ? e.what()
                                : fmt::format("rank {} on host {}: {}", group->rank(),
                                              eggroll::host_name(), e.what()));
    session.abort(kBroke);
  }
}

int run_alone(int (*command)(const std::vector<std::string>&), const std::string& name,
              const std::vector<std::string>& arguments) {
  const char* ranks = std::getenv("OMPI_COMM_WORLD_SIZE");
  if (ranks && std::string(ranks) != "1")
    throw eggroll::ConfigError(
        fmt::format("{} runs in one process; start it without mpirun", name));
  return command(arguments);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error like a full disk
  const std::vector<std::string> all(argv + 1, argv + argc);
  if (all.empty() || all[0] == "--help" || all[0] == "help") {
    std::fputs(kUsage, all.empty() ? stderr : stdout);
    return all.empty() ? kMisused : 0;
  }
  const std::string& command = all[0];
  const std::vector<std::string> arguments(all.begin() + 1, all.end());
  try {
    if (command == "train") {
      if (std::ranges::find(arguments, "--help") == arguments.end())
        return train_on_all_ranks(arguments);
      if (eggroll::is_first_process()) fmt::print("{}", eggroll::train_help());
      return 0;
    }
    if (command == "supervise") return run_alone(eggroll::supervise_command, command, arguments);
    if (command == "evaluate") return run_alone(eggroll::evaluate_command, command, arguments);
    if (command == "sample") return run_alone(eggroll::sample_command, command, arguments);
    if (command == "inspect") return run_alone(eggroll::inspect_command, command, arguments);
    if (command == "bench") return run_alone(eggroll::bench_command, command, arguments);
    throw eggroll::ConfigError(
        fmt::format("{}: allowed commands are train, supervise, evaluate, sample, inspect, bench; "
                    "see eggroll --help",
                    command));
  } catch (const eggroll::ConfigError& e) {
    if (eggroll::is_first_process()) complain(e.what());
    return kMisused;
  } catch (const std::bad_alloc&) {
    complain("out of memory");
    return kBroke;
  } catch (const std::exception& e) {
    complain(e.what());
    return kBroke;
  }
}
