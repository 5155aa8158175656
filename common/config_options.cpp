#include "common/config_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "common/noise.hpp"
#include "common/rule_names.hpp"

namespace eggroll {
namespace {

// A pair has 32 bits in a noise address (common/noise.hpp).
constexpr uint64_t kMaxPopulation = uint64_t{1} << 32;
// Each generation can have a noise epoch of its own, none of them that of the initial parameters.
constexpr uint64_t kMaxGenerations = kInitialisationEpoch - uint64_t{1};
constexpr int kMaxNoiseRank = 65536;  // beyond that a perturbation is full in any matrix there is

template <typename T>
constexpr T kMost = std::numeric_limits<T>::max();

template <typename Integer>
Option& even_number(Options& to, std::string name, Integer& field, std::string help,
                    std::string allowed) {
  return to.add(
      std::move(name), "N", std::move(help), std::move(allowed),
      [&field](std::string_view text) {
        uint64_t value = 0;
        const bool is_allowed = read_number(text, value) && value % 2 == 0 && value >= 2 &&
                                value <= std::min<uint64_t>(kMaxPopulation, kMost<Integer>);
        if (is_allowed) field = static_cast<Integer>(value);
        return is_allowed;
      },
      [&field] { return std::to_string(field); });
}

std::string names_of(const std::vector<OptionChapter>& chapters, const char* between) {
  std::string names;
  for (const OptionChapter& chapter : chapters)
    names += (names.empty() ? "" : between) + chapter.name;
  return names;
}

std::string allowed_of(const std::vector<OptionChapter>& chapters) {
  return fmt::format("allowed {} {}", chapters.size() == 1 ? "is" : "are",
                     names_of(chapters, ", "));
}

Option& chapter_name(Options& to, std::string name, std::string& field,
                     const std::vector<OptionChapter>& chapters, std::string help) {
  std::vector<std::string> names;
  for (const OptionChapter& chapter : chapters) names.push_back(chapter.name);
  return to.add(
      std::move(name), names_of(chapters, "|"), std::move(help), allowed_of(chapters),
      [&field, names](std::string_view text) {
        if (std::ranges::find(names, text) == names.end()) return false;
        field = text;
        return true;
      },
      [&field] { return field; });
}

void declare_general(Options& to, RunConfig& c, const OptionCatalogue& catalogue) {
  to.begin(OptionGroup::data);
  chapter_name(to, "task", c.task, catalogue.tasks, "what is learnt").basic();
  to.path("init", c.init, "PATH",
          "start from the parameters in this checkpoint, or in a folder's newest");

  to.begin(OptionGroup::population);
  even_number(to, "population", c.population, "members of a generation, two to a pair",
              fmt::format("allowed are even numbers from 2 to {}", kMaxPopulation))
      .basic();
  even_number(to, "group-size", c.group_size, "members that see the same data",
              "allowed are even numbers from 2 that divide the population");
  to.number("generations", c.generations, 1, kMaxGenerations, "generations to train")
      .changeable()
      .basic();
  to.choice(
      "sampling", c.sampling,
      "whether the members of a pair share a perturbation, with opposite signs, or each member "
      "has one of its own");
  to.number("seed", c.seed, 0, kMost<uint64_t>, "seed of start values and noise").basic();

  to.begin(OptionGroup::learning);
  to.number("noise-rank", c.noise_rank, 1, kMaxNoiseRank, "rank of a matrix's perturbation")
      .basic();
  to.number("noise-reuse", c.noise_reuse, 0, kMost<uint32_t>,
            "generations that share their noise; 0: it is never renewed");
  to.choice(
        "fitness", c.fitness,
        "what fitness says: of a pair the sign of the difference, or the sign in levels 0, 1, 2 by "
        "its size; of a member its value, its deviation from the mean (z-score), its rank, or its "
        "deviation from its group")
      .basic();
  to.choice("fitness-encoding", c.fitness_encoding,
            "how fitness travels: 4 bytes a member, or 5 pairs in a byte")
      .changeable();
  chapter_name(to, "update", c.update, catalogue.updates,
               "optimiser: how the sum of a generation's perturbations moves the weights")
      .basic();

  to.begin(OptionGroup::machine);
  to.path("resume", c.resume, "PATH", "go on with the run in this folder, or from this checkpoint")
      .of_invocation()
      .basic();
  to.flag("auto-resume", c.auto_resume,
          "go on with the run in --run where it holds a checkpoint, else start it: one command for "
          "the first start and every restart")
      .of_invocation();
  to.choice(
        "device", c.device,
        "what computes: the CPU, or a GPU for each rank; auto: cuda where this program has it and "
        "every rank sees a GPU, cpu where none does")
      .changeable()
      .basic();
  to.choice(
        "all-reduce", c.all_reduce,
        "what adds up perturbations over ranks: MPI in the host's memory, or NCCL in that of the "
        "GPUs; auto: nccl with device cuda where this program has it")
      .changeable();
  to.choice(
        "step", c.step,
        "who moves the parameters by the sums: every rank all of them, or each its shard, which it "
        "then sends to the others: fewer bytes travel")
      .changeable();
  to.number("threads", c.threads, 0, 1024, "threads of a rank; 0: its share of the machine's cores")
      .changeable()
      .basic();
  to.choice("schedule", c.schedule,
            "who evaluates what: each rank a slice of its own (static), or tiles taken one by one "
            "(dynamic, where members carry no state); auto: dynamic where it can be")
      .changeable();
  to.number("straggler-limit", c.straggler_limit, 1.1, 1000,
            "times the usual time of a tile after which a rank counts as slow: it is reported, and "
            "with dynamic tiles others do its work as well")
      .changeable();
  to.flag("survive", c.survive,
          "go on inside the job when a rank is lost, on the ranks that are left")
      .of_invocation();
  to.number(
        "silence-limit", c.silence_limit, 2, 3600,
        "survive: seconds without a sign after which a rank counts as lost; a process that ends is "
        "noticed at once")
      .changeable();
  to.number(
        "max-seconds", c.max_seconds, 0, uint64_t{kMost<uint32_t>},
        "seconds after which this start of the run stops, with a checkpoint to go on from; 0: no "
        "limit")
      .of_invocation();
  to.flag("dry-run", c.dry_run,
          "check everything, print the complete config and what it costs, and stop")
      .of_invocation()
      .basic();

  to.begin(OptionGroup::records);
  to.path("run", c.run, "DIR", "folder of the run: config.ini, metrics.jsonl, checkpoints")
      .changeable()
      .basic();
  to.number("validate-every", c.validate_every, 0, kMost<uint64_t>,
            "generations between validations; 0: only at the end")
      .changeable();
  to.number("checkpoint-every", c.checkpoint_every, 0, kMost<uint64_t>,
            "generations between checkpoints; 0: only at the end")
      .changeable();
  to.number("checkpoint-seconds", c.checkpoint_seconds, 0, uint64_t{kMost<uint32_t>},
            "seconds after which another checkpoint is due as well; 0: only by generations")
      .changeable();
  to.number("keep-checkpoints", c.keep_checkpoints, 1, kMost<uint64_t>,
            "newest checkpoints to keep")
      .changeable();
  to.choice(
        "on-storage-failure", c.on_storage_failure,
        "when a checkpoint or metrics cannot be written: go on and try again when the next is due, "
        "or stop")
      .changeable();
  to.number("digest-every", c.digest_every, 0, kMost<uint64_t>,
            "generations between comparisons of the ranks' parameters; 0: only at the end")
      .changeable();
}

}  // namespace

const char* question_of(OptionGroup group) {
  switch (group) {
    case OptionGroup::data:
      return "What is trained on what?";
    case OptionGroup::model:
      return "How big is the model?";
    case OptionGroup::population:
      return "How is it trained?";
    case OptionGroup::learning:
      return "How does a generation learn?";
    case OptionGroup::machine:
      return "Where and how does it run?";
    case OptionGroup::records:
      return "What is kept and shown?";
  }
  return "";
}

const OptionChapter& chapter_of(const std::vector<OptionChapter>& chapters, const std::string& kind,
                                const std::string& name) {
  for (const OptionChapter& chapter : chapters)
    if (chapter.name == name) return chapter;
  throw OptionError(kind, name, allowed_of(chapters));
}

RunOptions::RunOptions(const OptionCatalogue& catalogue, const RunConfig& config)
    : config_(config) {
  declare_general(general_, config_, catalogue);
  task_settings_ = chapter_of(catalogue.tasks, "task", config_.task).declare(of_task_);
  update_settings_ = chapter_of(catalogue.updates, "update", config_.update).declare(of_update_);
  of_task_.read(config_.of_task);
  of_update_.read(config_.of_update);
}

RunConfig RunOptions::config() const {
  RunConfig config = config_;
  config.of_task = of_task_.texts();
  config.of_update = of_update_.texts();
  return config;
}

std::vector<Option*> RunOptions::rows() {
  std::vector<Option*> rows;
  for (const OptionGroup group : kOptionGroups)
    for (Options* options : {&general_, &of_task_, &of_update_})
      for (Option& row : options->rows())
        if (row.group == group) rows.push_back(&row);
  return rows;
}

Option* RunOptions::find(std::string_view name) {
  for (Options* options : {&general_, &of_task_, &of_update_})
    if (Option* row = options->find(name)) return row;
  return nullptr;
}

AllOptions::AllOptions(const OptionCatalogue& catalogue) {
  of_command_line_.begin(OptionGroup::machine);
  of_command_line_
      .path("config", file_, "FILE",
            "options from a file, one `name = value` a line; the command line wins")
      .basic();
  of_command_line_.flag("help", help_, "print this and stop; --help all: all there is").basic();
  chapters_.push_back({"", "", "", {}, nullptr});
  declare_general(chapters_[0].options, config_, catalogue);
  const auto declare = [&](const char* kind, const OptionChapter& chapter) {
    Chapter& added = chapters_.emplace_back(Chapter{kind, chapter.name, chapter.help, {}, nullptr});
    added.settings = chapter.declare(added.options);
  };
  for (const OptionChapter& task : catalogue.tasks) declare("task", task);
  for (const OptionChapter& update : catalogue.updates) declare("update", update);
}

std::vector<const AllOptions::Chapter*> AllOptions::chapters_with(std::string_view name) const {
  std::vector<const Chapter*> found;
  for (const Chapter& chapter : chapters_)
    if (chapter.options.find(name) != nullptr) found.push_back(&chapter);
  return found;
}

std::vector<const Option*> AllOptions::rows() const {
  std::vector<const Option*> rows;
  const auto add = [&](const Options& options) {
    for (const Option& row : options.rows())
      if (std::ranges::find(rows, row.name, &Option::name) == rows.end()) rows.push_back(&row);
  };
  for (const Chapter& chapter : chapters_) add(chapter.options);
  add(of_command_line_);
  return rows;
}

}  // namespace eggroll
