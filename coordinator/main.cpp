// eggroll: evolution strategies with low-rank perturbations on MPI ranks. The only place that catches.
// Its exit codes: common/exit_codes.hpp.
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "common/config.hpp"
#include "common/exit_codes.hpp"
#include "common/messages/collectives.hpp"
#include "common/output.hpp"
#include "coordinator/commands.hpp"
#include "coordinator/launcher.hpp"
#include "coordinator/stop_signal.hpp"
#include "coordinator/train.hpp"
#include "coordinator/verbs.hpp"
#include "coordinator/version.hpp"
#include "worker/tasks.hpp"

namespace {

std::string usage() {
  std::string text =
      "eggroll: train networks by evolution strategies with low-rank perturbations, "
      "on MPI ranks\n\n";
  const auto add = [&](const std::string& command, const std::string& arguments,
                       const std::string& help) {
    text += fmt::format("  eggroll {:9} {:22} {}\n", command, arguments, help);
  };
  add("train", "--task NAME ...", "train a model; under mpirun or srun on many ranks");
  add("supervise", "-- mpirun ...", "start a training job, and again when it dies or hangs");
  for (const eggroll::VerbEntry& verb : eggroll::verbs())
    add(verb.name, "--checkpoint PATH ...", fmt::format("{} (task {})", verb.help, verb.tasks));
  add("inspect", "--checkpoint PATH", "what is in a checkpoint");
  add("bench", "WHAT ...", "what kernels do on this machine; --help lists them");
  return text +
         "\neggroll COMMAND --help lists a command's options; eggroll --version says which program "
         "this is.\n";
}

using eggroll::complain;
using eggroll::kBroke;
using eggroll::kMisused;

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

template <typename Command>
int run_alone(const Command& command, const std::string& name) {
  const char* ranks = std::getenv("OMPI_COMM_WORLD_SIZE");
  if (ranks && std::string(ranks) != "1")
    throw eggroll::ConfigError(
        fmt::format("{} runs in one process; start it without mpirun", name));
  return command();
}

int run_command(const std::string& command, const std::vector<std::string>& arguments) {
  if (command == "--help" || command == "help") {
    eggroll::write_result(usage());
    return 0;
  }
  if (command == "--version") {
    if (eggroll::is_first_process()) eggroll::print_result("{}\n", eggroll::version_line());
    return 0;
  }
  if (command == "train") {
    const auto help = eggroll::train_help(arguments, eggroll::option_catalogue());
    if (!help) return train_on_all_ranks(arguments);
    if (eggroll::is_first_process()) eggroll::write_result(*help);
    return 0;
  }
  const auto alone = [&](int (*run)(const std::vector<std::string>&)) {
    return run_alone([&] { return run(arguments); }, command);
  };
  if (command == "supervise") return alone(eggroll::supervise_command);
  if (command == "inspect") return alone(eggroll::inspect_command);
  if (command == "bench") return alone(eggroll::bench_command);
  std::string names;
  for (const eggroll::VerbEntry& verb : eggroll::verbs()) {
    if (verb.name == command)
      return run_alone([&] { return eggroll::verb_command(command, arguments); }, command);
    names += verb.name + ", ";
  }
  throw eggroll::ConfigError(
      fmt::format("{}: allowed commands are train, supervise, {}inspect, bench; see eggroll --help",
                  command, names));
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error like a full disk
  const std::vector<std::string> all(argv + 1, argv + argc);
  if (all.empty()) {
    eggroll::tell(stderr, usage());
    return kMisused;
  }
  try {
    eggroll::occupy_standard_descriptors();
    const int code = run_command(all[0], {all.begin() + 1, all.end()});
    eggroll::flush_result();
    return code;
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
