#include <fmt/format.h>
#include <fmt/ostream.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>

#include "common/check.hpp"
#include "coordinator/command_line.hpp"
#include "coordinator/commands.hpp"
#include "coordinator/devices.hpp"
#include "coordinator/records/snapshots.hpp"
#include "worker/lm/lm_task.hpp"

namespace eggroll {
namespace {

namespace po = boost::program_options;

// A byte by the probabilities 2^(logit / (16 temperature)), of the likeliest bytes that hold top_p
// of the whole. Temperature 0: the likeliest.
uint8_t choose(const std::array<int8_t, kVocabulary>& logits, double temperature, double top_p,
               double uniform) {
  std::array<uint8_t, kVocabulary> order;
  std::iota(order.begin(), order.end(), uint8_t{0});
  std::ranges::stable_sort(order, [&](uint8_t a, uint8_t b) { return logits[a] > logits[b]; });
  if (temperature == 0) return order[0];
  std::array<double, kVocabulary> weight;
  for (size_t k = 0; k < order.size(); ++k)
    weight[k] = std::exp2((logits[order[k]] - logits[order[0]]) / (16.0 * temperature));
  const double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  double kept = 0;
  size_t count = 0;
  while (count < order.size() && (count == 0 || kept < top_p * total)) kept += weight[count++];
  double left = uniform * kept;
  for (size_t k = 0; k < count; ++k)
    if ((left -= weight[k]) < 0) return order[k];
  return order[count - 1];
}

void put(uint8_t byte, bool terminal) {
  const bool shows = byte >= 0x20 || byte == '\n' || byte == '\t';
  std::fputc(terminal && (!shows || byte == 0x7f) ? '?' : byte,
             stdout);  // no control codes from a young model
  if (terminal) std::fflush(stdout);
}

}  // namespace

int sample_command(const std::vector<std::string>& arguments) {
  std::string checkpoint, prompt, device;
  int64_t length, seed;
  double temperature, top_p;
  po::options_description options("eggroll sample: text from a trained language model");
  options.add_options()("checkpoint", po::value(&checkpoint)->required()->value_name("PATH"),
                        "checkpoint, or run folder (its newest complete one)")(
      "prompt", po::value(&prompt)->default_value("\n", "a line break")->value_name("TEXT"),
      "text to go on from")("length", po::value(&length)->default_value(500)->value_name("N"),
                            "bytes to write after the prompt")(
      "temperature", po::value(&temperature)->default_value(0.7, "0.7")->value_name("T"),
      "0: always the likeliest byte")("top-p",
                                      po::value(&top_p)->default_value(1.0, "1")->value_name("P"),
                                      "choose among the likeliest bytes that hold this share")(
      "seed", po::value(&seed)->default_value(1)->value_name("N"),
      "the same seed writes the same text")(
      "device", po::value(&device)->default_value("auto")->value_name("auto|cpu|cuda"),
      "what computes");
  const po::variables_map values = parse_command("sample", options, arguments);
  if (values.count("help")) {
    fmt::print("{}", fmt::streamed(options));
    return 0;
  }
  if (!(temperature >= 0 && temperature <= 100))
    throw ConfigError(fmt::format("temperature = {}: allowed are 0 to 100", temperature));
  if (!(top_p > 0 && top_p <= 1))
    throw ConfigError(fmt::format("top-p = {}: allowed are numbers above 0, up to 1", top_p));
  if (length < 0)
    throw ConfigError(fmt::format("length = {}: allowed are whole numbers from 0", length));
  if (seed < 0) throw ConfigError(fmt::format("seed = {}: allowed are whole numbers from 0", seed));
  if (prompt.empty()) throw ConfigError("prompt: allowed is any text of at least one byte");

  const CheckpointReader reader = open_checkpoint("checkpoint", checkpoint);
  const RunConfig config = parse_config_text(reader.header().config, checkpoint);
  const auto backend = make_lm_backend(config, 1, choose_device(device));
  backend->write_parameters(parameters_for(reader, checkpoint, config.shape()));

  std::vector<int8_t> state(size_t{config.layers} * config.width, 0);
  std::array<int8_t, kVocabulary> logits{};
  std::mt19937_64 generator(static_cast<uint64_t>(seed));
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  for (const char c : prompt) {
    put(static_cast<uint8_t>(c), terminal);
    backend->next_logits(static_cast<uint8_t>(c), state, logits);
  }
  for (int64_t i = 0; i < length; ++i) {
    const double uniform = static_cast<double>(generator() >> 11) * 0x1p-53;
    const uint8_t byte = choose(logits, temperature, top_p, uniform);
    put(byte, terminal);
    backend->next_logits(byte, state, logits);
  }
  put('\n', terminal);
  return 0;
}

}  // namespace eggroll
