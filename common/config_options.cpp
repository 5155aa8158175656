#include "common/config_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <numeric>
#include <type_traits>
#include <utility>

#include "common/noise.hpp"

namespace eggroll {
namespace {

// A pair has 32 bits in a noise address (common/noise.hpp).
constexpr uint64_t kMaxPopulation = uint64_t{1} << 32;
constexpr uint32_t kMaxTokensPerUpdate = 65536;
constexpr int kMaxNoiseRank = 16;

// A member's fitness is an int32 sum of scores. A score is y - log2 term, in 1/16 bit, and not
// below 1 - 16 (8 + 255 / 16) = -382: the least y, and 256 logits at their largest.
static_assert(kMaxTokensPerUpdate * int64_t{382} <= std::numeric_limits<int32_t>::max());
// The evidence for one weight, sum over pairs of d A B with |d| <= 2, at noise_rank terms a pair,
// fits the 64 bits of a wide update.
static_assert(static_cast<__int128>(kMaxPopulation / 2) * 2 * kMaxNoiseRank * kNoiseMax *
                  kNoiseMax <=
              std::numeric_limits<int64_t>::max());
// Each generation can have a noise epoch of its own, none of them that of the initial parameters.
constexpr uint64_t kMaxGenerations = kInitialisationEpoch - uint64_t{1};

template <typename T>
constexpr T kMost = std::numeric_limits<T>::max();

// Names of the choices, in the order of their enums.
template <typename Enum>
constexpr std::array<std::string_view, 0> kNames = {};
template <>
constexpr std::array<std::string_view, 2> kNames<Rounding> = {"nearest", "floor"};
template <>
constexpr std::array<std::string_view, 3> kNames<Carry> = {"own", "pair", "reset"};
template <>
constexpr std::array<std::string_view, 2> kNames<FitnessRule> = {"sign", "levels"};
template <>
constexpr std::array<std::string_view, 2> kNames<FitnessEncoding> = {"int32", "ternary"};
template <>
constexpr std::array<std::string_view, 2> kNames<UpdateRule> = {"threshold", "sigma-delta"};
template <>
constexpr std::array<std::string_view, 3> kNames<TileSchedule> = {"auto", "static", "dynamic"};
template <>
constexpr std::array<std::string_view, 3> kNames<DeviceChoice> = {"auto", "cpu", "cuda"};
template <>
constexpr std::array<std::string_view, 3> kNames<AllReduce> = {"auto", "mpi", "nccl"};
template <>
constexpr std::array<std::string_view, 2> kNames<StepMode> = {"replicated", "sharded"};
template <>
constexpr std::array<std::string_view, 2> kNames<OnStorageFailure> = {"continue", "stop"};

template <typename Number>
bool parse_number(std::string_view text, Number& value) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  return error == std::errc{} && rest == end;
}

template <typename Value>
bool parse_value(std::string_view text, Value& value) {
  if constexpr (std::is_enum_v<Value>) {
    const auto& names = kNames<Value>;
    const auto found = std::find(names.begin(), names.end(), text);
    if (found == names.end()) return false;
    value = static_cast<Value>(found - names.begin());
    return true;
  } else if constexpr (std::is_same_v<Value, bool>) {
    value = text == "true";
    return value || text == "false";
  } else if constexpr (std::is_same_v<Value, std::string>) {
    value = text;
    const auto is_control = [](unsigned char c) { return c < 32 || c == 127; };
    return !text.empty() && std::none_of(text.begin(), text.end(), is_control);
  } else if constexpr (std::is_same_v<Value, Schedule>) {
    value.is_percent = text.ends_with('%');
    if (value.is_percent) text.remove_suffix(1);
    return parse_number(text, value.value);
  } else {
    return parse_number(text, value);
  }
}

template <typename Value>
std::string value_text(const Value& value) {
  if constexpr (std::is_enum_v<Value>)
    return std::string(kNames<Value>[static_cast<size_t>(value)]);
  else if constexpr (std::is_same_v<Value, Schedule>)
    return fmt::format("{}{}", value.value, value.is_percent ? "%" : "");
  else
    return fmt::format("{}", value);
}

bool always(const RunConfig&) { return true; }

template <auto field, auto low, auto high>
bool is_between(const RunConfig& config) {
  return config.*field >= low && config.*field <= high;
}

// Rows of the table, by the kind of value they hold.

template <auto field, auto low, auto high>
RunOption number(const char* name, OptionGroup group, const char* help) {
  static_assert(std::is_integral_v<decltype(low)>, "fractions have a row of their own");
  return {name,
          group,
          field,
          "N",
          help,
          fmt::format("allowed are whole numbers from {} to {}", low, high),
          is_between<field, low, high>};
}

// clang takes no double as a template argument before version 18, so the bounds are types.
template <auto field, typename Range>
RunOption fraction(const char* name, OptionGroup group, const char* help) {
  return {name,
          group,
          field,
          "X",
          help,
          fmt::format("allowed are numbers from {} to {}", Range::low, Range::high),
          [](const RunConfig& config) {
            return config.*field >= Range::low && config.*field <= Range::high;
          }};
}

struct HeldOutRange {
  static constexpr double low = 0, high = 0.5;
};
struct ThresholdFactorRange {
  static constexpr double low = 0.01, high = 64;
};
struct SilenceRange {
  static constexpr double low = 2, high = 3600;
};
struct StragglerRange {
  static constexpr double low = 1.1, high = 1000;
};
struct AlphaRange {
  static constexpr double low = 1e-6, high = 16;
};

template <typename Enum>
RunOption choice(const char* name, OptionGroup group, Enum RunConfig::*field, const char* help) {
  return {name,  group,
          field, fmt::format("{}", fmt::join(kNames<Enum>, "|")),
          help,  fmt::format("allowed are {}", fmt::join(kNames<Enum>, ", ")),
          always};
}

RunOption path(const char* name, OptionGroup group, std::string RunConfig::*field,
               const char* value_name, const char* help) {
  return {name, group, field, value_name, help, "allowed is a path", always};
}

RunOption changeable(RunOption option) {
  option.may_change_on_resume = true;
  return option;
}

RunOption of_invocation(RunOption option) {
  option.is_of_run = false;
  return option;
}

std::vector<RunOption> make_table() {
  using enum OptionGroup;
  using C = RunConfig;
  return {
      {"task", data, &C::task, "lm", "what is learnt: lm, an int8 language model of bytes",
       "allowed is lm", [](const C& c) { return c.task == "lm"; }},
      changeable(path("data", data, &C::data, "PATH", "text: a file, or a folder of files")),
      fraction<&C::held_out, HeldOutRange>(
          "held-out", data, "share of the text, at its end, kept for validation and never trained"),
      path("init", data, &C::init, "PATH",
           "start from the parameters in this checkpoint, or in a folder's newest"),

      number<&C::layers, 1u, 64u>("layers", model, "layers of the network"),
      {"width", model, &C::width, "64|256|1024|4096", "width of the network",
       "allowed are 64, 256, 1024, 4096: powers of 4, whose scale 1/(16 sqrt(width)) is exact",
       [](const C& c) {
         return c.width == 64 || c.width == 256 || c.width == 1024 || c.width == 4096;
       }},

      {"population", population, &C::population, "N", "members of a generation, two to a pair",
       fmt::format("allowed are even numbers from 2 to {}", kMaxPopulation),
       [](const C& c) {
         return c.population % 2 == 0 && c.population >= 2 && c.population <= kMaxPopulation;
       }},
      {"group-size", population, &C::group_size, "N", "members that read the same text",
       "allowed are even numbers from 2 that divide the population",
       [](const C& c) { return c.group_size % 2 == 0 && c.group_size >= 2; }},
      number<&C::tokens_per_update, 1u, kMaxTokensPerUpdate>(
          "tokens-per-update", population, "bytes a member reads in a generation"),
      changeable(number<&C::generations, uint64_t{1}, kMaxGenerations>("generations", population,
                                                                       "generations to train")),
      choice("carry", population, &C::carry,
             "what a member's state starts a generation from: its own, one shared by its pair, or "
             "zero"),
      number<&C::seed, uint64_t{0}, kMost<uint64_t>>("seed", population,
                                                     "seed of start values and noise"),

      {"noise-rank", learning, &C::noise_rank, "1|4|16", "rank of a matrix's perturbation",
       "allowed are 1, 4, 16: powers of 4, whose scale 1/sqrt(rank) is exact",
       [](const C& c) {
         return c.noise_rank == 1 || c.noise_rank == 4 || c.noise_rank == kMaxNoiseRank;
       }},
      number<&C::noise_reuse, 0u, kMost<uint32_t>>(
          "noise-reuse", learning, "generations that share their noise; 0: it is never renewed"),
      number<&C::sigma_shift, 1, 8>("sigma-shift", learning,
                                    "size of a perturbation, 2^-N of the scale of a weight"),
      choice("perturbation-rounding", learning, &C::perturbation_rounding,
             "how a perturbation falls on the grid of the weights: nearest makes the members of a "
             "pair exact opposites, floor is the reference program's way"),
      choice("fitness", learning, &C::fitness,
             "what a pair's scores say: the sign of their difference, or the sign in levels 0, 1, "
             "2 by its size"),
      changeable(choice("fitness-encoding", learning, &C::fitness_encoding,
                        "how fitness travels: 4 bytes a member, or 5 pairs in a byte")),
      choice("update", learning, &C::update,
             "how evidence moves a weight: by one step where a generation's sum passes a "
             "threshold, or by thresholds of a sum kept over generations"),
      fraction<&C::threshold_factor, ThresholdFactorRange>(
          "threshold-factor", learning,
          "sigma-delta: the first threshold, in standard deviations of the evidence"),
      fraction<&C::alpha, AlphaRange>(
          "alpha", learning,
          "share of weights that move by chance: up to 1 a constant, above it the exponent of a "
          "share that falls from 1"),
      {"alpha-decay", learning, &C::alpha_decay, "N|P%",
       "pace at which alpha falls, in generations or in percent of the planned ones",
       "allowed are numbers from 0.001 to 1e12, or percentages of the generations such as 42%",
       [](const C& c) { return c.alpha_decay.value >= 0.001 && c.alpha_decay.value <= 1e12; }},

      of_invocation(path("resume", machine, &C::resume, "PATH",
                         "go on with the run in this folder, or from this checkpoint")),
      of_invocation({"auto-resume", machine, &C::auto_resume, "",
                     "go on with the run in --run where it holds a checkpoint, else start it: one "
                     "command for the first start and every restart",
                     "allowed are true, false", always}),
      changeable(choice("device", machine, &C::device,
                        "what computes: the CPU, or a GPU for each rank; auto: cuda where this "
                        "program has it and every rank sees a GPU, cpu where none does")),
      changeable(choice("all-reduce", machine, &C::all_reduce,
                        "what adds up evidence over ranks: MPI in the host's memory, or NCCL in "
                        "that of the GPUs; auto: nccl with device cuda where this program has it")),
      changeable(choice("step", machine, &C::step,
                        "who moves the parameters by the evidence: every rank all of them, or each "
                        "its shard, which it then sends to the others: fewer bytes travel")),
      changeable(number<&C::threads, 0, 1024>(
          "threads", machine, "threads of a rank; 0: its share of the machine's cores")),
      changeable(choice("schedule", machine, &C::schedule,
                        "who evaluates what: each rank a slice of its own (static), or tiles taken "
                        "one by one (dynamic, with carry = reset); auto: dynamic where it can be")),
      changeable(fraction<&C::straggler_limit, StragglerRange>(
          "straggler-limit", machine,
          "times the usual time of a tile after which a rank counts as slow: it is reported, and "
          "with dynamic tiles others do its work as well")),
      of_invocation({"survive", machine, &C::survive, "",
                     "go on inside the job when a rank is lost, on the ranks that are left",
                     "allowed are true, false", always}),
      changeable(fraction<&C::silence_limit, SilenceRange>(
          "silence-limit", machine,
          "survive: seconds without a sign after which a rank counts as lost; a process that ends "
          "is noticed at once")),
      of_invocation({"dry-run", machine, &C::dry_run, "",
                     "check everything, print the complete config and what it costs, and stop",
                     "allowed are true, false", always}),

      changeable(path("run", records, &C::run, "DIR",
                      "folder of the run: config.ini, metrics.jsonl, checkpoints")),
      changeable(number<&C::validate_every, uint64_t{0}, kMost<uint64_t>>(
          "validate-every", records, "generations between validations; 0: only at the end")),
      number<&C::validate_streams, uint64_t{1}, uint64_t{kMost<uint32_t>}>(
          "validate-streams", records, "parts of the held-out text that are read side by side"),
      changeable(number<&C::checkpoint_every, uint64_t{0}, kMost<uint64_t>>(
          "checkpoint-every", records, "generations between checkpoints; 0: only at the end")),
      changeable(number<&C::checkpoint_seconds, uint64_t{0}, uint64_t{kMost<uint32_t>}>(
          "checkpoint-seconds", records,
          "seconds after which another checkpoint is due as well; 0: only by generations")),
      changeable(number<&C::keep_checkpoints, uint64_t{1}, kMost<uint64_t>>(
          "keep-checkpoints", records, "newest checkpoints to keep")),
      changeable(choice("on-storage-failure", records, &C::on_storage_failure,
                        "when a checkpoint or metrics cannot be written: go on and try again when "
                        "the next is due, or stop")),
      changeable(number<&C::digest_every, uint64_t{0}, kMost<uint64_t>>(
          "digest-every", records,
          "generations between comparisons of the ranks' parameters; 0: only at the end")),
  };
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j + 1] + 1, row[j] + 1});
    }
  }
  return row.back();
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

const std::vector<RunOption>& run_options() {
  static const std::vector<RunOption> table = make_table();
  return table;
}

const RunOption* find_option(std::string_view name) {
  for (const RunOption& option : run_options())
    if (option.name == name) return &option;
  return nullptr;
}

std::optional<std::string> similar_option(std::string_view name) {
  if (name.empty() || name.size() > 40) return std::nullopt;
  // A third of its letters may be wrong; the beginning of a name counts as nearly right.
  size_t best = name.size() / 3 + 1;
  std::optional<std::string> nearest;
  const auto consider = [&](const std::string& known) {
    size_t distance = edit_distance(name, known);
    if (name.size() >= 3 && known.starts_with(name)) distance = std::min(distance, size_t{1});
    if (distance < best || (distance == best && !nearest)) {
      best = distance;
      nearest = known;
    }
  };
  for (const RunOption& option : run_options()) consider(option.name);
  consider("config");
  consider("help");
  return nearest;
}

bool set_option(RunConfig& config, const RunOption& option, std::string_view text) {
  return std::visit([&](auto field) { return parse_value(text, config.*field); }, option.field);
}

std::string option_text(const RunConfig& config, const RunOption& option) {
  return std::visit([&](auto field) { return value_text(config.*field); }, option.field);
}

bool same_value(const RunConfig& a, const RunConfig& b, const RunOption& option) {
  return std::visit([&](auto field) { return a.*field == b.*field; }, option.field);
}

void copy_value(RunConfig& to, const RunConfig& from, const RunOption& option) {
  std::visit([&](auto field) { to.*field = from.*field; }, option.field);
}

}  // namespace eggroll
