#include "coordinator/survivors.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <utility>

#include "common/check.hpp"
#include "common/files/checkpoint_folder.hpp"
#include "common/output.hpp"
#include "common/partition.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/records/open_checkpoint.hpp"
#include "coordinator/records/snapshots.hpp"
#include "coordinator/start.hpp"

namespace eggroll {
namespace {

enum class Outcome : int32_t { finished, broken, failed, concluded_with_failure };

// How the work together has ended for a rank: its proposal for the next view. Sent as bytes between
// identical builds.
struct RankOutcome {
  Outcome outcome = Outcome::broken;
  int32_t exit_code = 0;
  bool is_prepared = false;
  bool keeps_records = false;  // the log, the checkpoints, the last word
  uint64_t recorded = 0;       // generations in metrics.jsonl, as this rank sees it
  std::array<HeldCopy, 2> copies;
  std::array<char, 1000> message{};
};
static_assert(std::is_trivially_copyable_v<RankOutcome>);

std::string proposal_of(const RankOutcome& outcome) {
  return {reinterpret_cast<const char*>(&outcome), sizeof outcome};
}

std::vector<RankOutcome> outcomes_of(const View& view) {
  std::vector<RankOutcome> all(view.proposals.size());
  for (size_t i = 0; i < all.size(); ++i) {
    require(view.proposals[i].size() == sizeof(RankOutcome), "a proposal of an identical build");
    std::memcpy(&all[i], view.proposals[i].data(), sizeof(RankOutcome));
  }
  return all;
}

RankOutcome failed(int code, const std::string& message) {
  RankOutcome failure;
  failure.outcome = Outcome::failed;
  failure.exit_code = code;
  std::memcpy(failure.message.data(), message.data(),
              std::min(message.size(), failure.message.size() - 1));
  return failure;
}

// Puts the newest copy that all hold, or else the newest checkpoint, or else the beginning, into every
// rank's learner and task. Returns how many generations are completed there.
uint64_t go_back(Run& run, Collectives& group, const std::vector<RankOutcome>& all) {
  const RunConfig& config = run.config;
  std::vector<std::array<HeldCopy, 2>> held;
  for (const RankOutcome& each : all) held.push_back(each.copies);
  CarriedStates* carried = run.task->carried();
  // No further than what rank 0 has recorded: a record that is missing comes again.
  if (const auto generation =
          common_copy(config, carries_states(*run.task), held, all.front().recorded)) {
    run.buddies->restore(config, group, *run.task, *run.learner, *generation, held);
    return *generation;
  }

  if (carried) carried->assign(pairs_of_rank(config.pairs(), group.rank(), group.size()));
  bool has_checkpoint = true;  // or one that it was resumed from
  std::optional<CheckpointReader> reader;
  if (group.rank() == 0) {
    // What is on its way comes to the disk first: it may be the newest, and files are read by a forked
    // child, which must not meet a library that a thread is in the middle of.
    if (run.storage) run.storage->settle();
    const bool is_in_folder = !list_checkpoints(config.run).empty();
    has_checkpoint = is_in_folder || !config.resume.empty();
    if (is_in_folder)
      reader.emplace(open_newest_checkpoint(config.run));
    else if (has_checkpoint)
      reader.emplace(open_checkpoint("resume", config.resume));
  }
  group.broadcast(bytes_of(has_checkpoint));
  if (has_checkpoint)
    return load_snapshot(reader ? &*reader : nullptr, config, group, *run.task, *run.learner);
  // The beginning of a run that has no checkpoint yet; the carried states are zero already.
  const ParameterLayout& layout = run.learner->layout();
  begin_with(group, config, *run.learner,
             group.rank() == 0 ? start_parameters(config, layout)
                               : std::vector<std::byte>(layout.bytes()));
  return 0;
}

// The survivors stand where the run goes on; rank 0, which may be another one now, keeps the log.
void regroup(Run& run, Collectives& group, const std::vector<std::string>& lost,
             const std::vector<RankOutcome>& all, const Stopwatch& since) {
  run.generation = go_back(run, group, all);
  run.regroupings.push_back(
      {.generation = run.generation, .seconds = since.elapsed_s(), .lost = lost});
  if (group.rank() != 0) return;
  if (run.log) {
    run.log->go_back_to(run.generation);
    run.folder->say(RunStatus::running, 0, run.generation);  // it may have concluded
  } else {
    run.folder.emplace(run.config, run.config_text, /*replaces_lost=*/true);
    begin_records(run);
  }
  run.log->say(fmt::format("{}; {} rank{} on after generation {} ({:.2f} s)", fmt::join(lost, "; "),
                           group.size(), group.size() == 1 ? " goes" : "s go", run.generation,
                           run.regroupings.back().seconds));
}

}  // namespace

void check_launcher_lets_survive(int ranks) {
  if (ranks == 1) return;
  const auto is_set = [](const char* name, std::string_view one, std::string_view other) {
    const char* value = std::getenv(name);
    return value && (value == one || value == other);
  };
  if (!std::getenv("OMPI_COMM_WORLD_SIZE"))
    throw ConfigError(
        "survive = true: needs Open MPI's mpirun as launcher; others, srun among them, end the job "
        "when a rank is lost");
  if (!mpi_library().starts_with("Open MPI v4."))
    throw ConfigError(
        fmt::format("survive = true: {} is not known to go on when a rank is lost; allowed is the "
                    "mpirun of Open MPI 4",
                    mpi_library()));
  if (!is_set("OMPI_MCA_orte_enable_recovery", "1", "true") ||
      !is_set("OMPI_MCA_orte_abort_on_non_zero_status", "0", "false"))
    throw ConfigError(
        "survive = true: mpirun would end the job when a rank is lost; start it with eggroll "
        "supervise, or with OMPI_MCA_orte_enable_recovery=1 and "
        "OMPI_MCA_orte_abort_on_non_zero_status=0 in its environment");
}

int run_with_survivors(Run& run, MpiSession& session, Membership& membership,
                       const std::function<void(Collectives&)>& prepare,
                       const std::function<std::string()>& conclude) {
  const int me = session.world_rank();
  bool is_prepared = false;
  std::vector<RankOutcome> all;   // since the group was broken
  std::vector<std::string> lost;  // since the ranks last came together
  Stopwatch since_broken;
  for (;;) {
    RankOutcome mine;
    try {
      const std::unique_ptr<Collectives> group = session.group_of(membership);
      if (!is_prepared) {
        prepare(*group);
        run.buddies.emplace();
        is_prepared = true;
      } else {
        regroup(run, *group, lost, all, since_broken);
        lost.clear();
      }
      run_generations(run, *group);
      mine.outcome = Outcome::finished;
      since_broken = Stopwatch();
      if (run.log && !conclude().empty()) mine.outcome = Outcome::concluded_with_failure;
    } catch (const GroupBroken&) {
      since_broken = Stopwatch();
    } catch (const ConfigError& e) {  // the same on every rank
      mine = failed(2, e.what());
    } catch (const std::exception& e) {  // this rank's alone
      mine = failed(1, fmt::format("rank {} on host {}: {}", me, host_name(), e.what()));
    }
    mine.is_prepared = is_prepared;
    mine.keeps_records = run.log.has_value();
    if (run.buddies) mine.copies = run.buddies->held();
    mine.recorded = run.log ? run.log->recorded()
                            : recorded_generations(run.config.run, run.config.generations);

    const View& view = mine.outcome == Outcome::finished
                           ? membership.agree_at_end(proposal_of(mine))
                           : membership.agree(proposal_of(mine));
    all = outcomes_of(view);
    lost.insert(lost.end(), view.lost.begin(), view.lost.end());
    const bool leads = view.ranks.front() == me;
    const auto end_with = [&](int code, const std::string& message) {
      if (leads) {
        if (run.log) run.log->interrupt();
        complain(message);
        if (run.folder) run.folder->say(RunStatus::failed, code, run.generation, message);
      }
      return code;
    };
    if (std::ranges::find(all, Outcome::concluded_with_failure, &RankOutcome::outcome) != all.end())
      return 1;  // which has been said
    const auto failure = std::ranges::find(all, Outcome::failed, &RankOutcome::outcome);
    if (failure != all.end()) return end_with(failure->exit_code, failure->message.data());
    // Where the rank that kept the records is lost at the very end, nobody knows what it has
    // written and said: the last generation is done again, by a group whose rank 0 keeps them.
    if (all.front().keeps_records && std::ranges::all_of(all, [](const RankOutcome& w) {
          return w.outcome == Outcome::finished;
        }))
      return 0;
    if (!std::ranges::all_of(all, &RankOutcome::is_prepared))
      return end_with(
          1, fmt::format("{}; the run had not begun, start it again", fmt::join(lost, "; ")));
  }
}

}  // namespace eggroll
