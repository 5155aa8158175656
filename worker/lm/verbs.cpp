// What can be done with a trained language model: evaluate, sample.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "common/check.hpp"
#include "common/command_line.hpp"
#include "common/json_text.hpp"
#include "common/output.hpp"
#include "common/stopwatch.hpp"
#include "worker/lm/corpus.hpp"
#include "worker/lm/lm_settings.hpp"
#include "worker/lm/lm_task_type.hpp"
#include "worker/lm/text_statistics.hpp"

namespace eggroll {
namespace {

// ---- evaluate ----

struct EvaluateSettings {
  std::string data;
  bool held_out = false;
  uint64_t streams = 64;
  bool json = false;
};

// What training held out is known of its own text alone: of another one, or of one that has grown
// since, the last part may have been trained.
void check_is_held_out(const EvaluateSettings& settings, const Corpus& corpus,
                       const Trained& trained) {
  const std::string digest = fmt::format("{:016x}", corpus.digest());
  if (trained.data_digest.empty())
    complain(
        fmt::format("the checkpoint does not say on which text it was trained: the last part of {} "
                    "is taken for "
                    "the one that it held out",
                    shown(settings.data)));
  else if (trained.data_digest != digest)
    throw ConfigError(fmt::format(
        "data = {}: not the text that the model was trained on (digest {}, there {}), so "
        "no part of it is known to be held out; without --held-out all of it is scored",
        shown(settings.data), digest, trained.data_digest));
}

int evaluate(const EvaluateSettings& settings, Trained& trained) {
  const LmSettings model = lm_settings(trained.config);
  if (settings.held_out && model.held_out == 0)
    throw OptionError(
        "held-out", "true",
        "training held nothing out (held-out = 0); without it all of the text is scored",
        kCommandLine);
  const Corpus corpus(settings.data, settings.held_out ? model.held_out : 0.0);
  if (settings.held_out) check_is_held_out(settings, corpus, trained);
  const auto text = settings.held_out ? corpus.held_out() : corpus.all();
  if (text.size() < 2)
    throw ConfigError(
        fmt::format("data = {}: {} is {} byte{}; needed are 2, of which one is predicted",
                    shown(settings.data), settings.held_out ? "what was held out" : "the text",
                    text.size(), text.size() == 1 ? "" : "s"));
  if (text.size() / settings.streams < 2)
    throw OptionError(
        "streams", std::to_string(settings.streams),
        fmt::format("allowed are 1 to {} for {} bytes of text", text.size() / 2, text.size()));
  for (const std::string& line : corpus.remarks())
    settings.json ? complain(line) : print_result("{}\n", line);
  const auto engine =
      trained.device.make_int_rnn(int_rnn_settings(trained.config), trained.learner);

  Stopwatch watch;
  const StreamScores scores = engine->score_streams(text, settings.streams, 0, settings.streams);
  const double seconds = watch.elapsed_s();
  const auto tokens = static_cast<double>(scores.tokens);
  const double bits_per_byte = static_cast<double>(scores.loss_2e24) / 16777216.0 / tokens;
  const double integer_bits_per_byte = static_cast<double>(-scores.score_sum) / 16.0 / tokens;
  const double unigram =
      settings.held_out ? unigram_cross_entropy(text, corpus.train()) : unigram_entropy(text);
  const double bigram =
      settings.held_out ? bigram_cross_entropy(text, corpus.train()) : bigram_entropy(text);
  const double gzip = gzip_bits_per_byte(text);
  if (settings.json) {
    print_result("{}\n",
                 json_text(nlohmann::ordered_json{{"generation", trained.generation},
                                                  {"text_bytes", text.size()},
                                                  {"streams", settings.streams},
                                                  {"tokens", scores.tokens},
                                                  {"bits_per_byte", bits_per_byte},
                                                  {"score_sum", scores.score_sum},
                                                  {"integer_bits_per_byte", integer_bits_per_byte},
                                                  {"unigram_bits_per_byte", unigram},
                                                  {"bigram_bits_per_byte", bigram},
                                                  {"gzip_bits_per_byte", gzip},
                                                  {"evaluate_s", seconds}}));
    return 0;
  }
  const char* counts = settings.held_out ? "counts of the training text" : "the text's own counts";
  print_result("model        generation {}, {} layers x {}\n", trained.generation, model.layers,
               model.width);
  print_result("text         {} bytes in {} streams, {} bytes predicted in {:.2f} s\n", text.size(),
               settings.streams, scores.tokens, seconds);
  print_result("loss         {:.4f} bits/byte\n", bits_per_byte);
  print_result("score sum    {} (1/16 bit; {:.4f} bits/byte, too low by the floored logarithm)\n",
               scores.score_sum, integer_bits_per_byte);
  print_result("unigram      {:.4f} bits/byte ({})\n", unigram, counts);
  print_result("bigram       {:.4f} bits/byte ({})\n", bigram, counts);
  print_result("gzip -9      {:.4f} bits/byte\n", gzip);
  return 0;
}

std::function<int(Trained&)> prepare_evaluate(Options& to) {
  auto settings = std::make_shared<EvaluateSettings>();
  to.path("data", settings->data, "PATH", "text: a file, or a folder of files").required();
  to.flag("held-out", settings->held_out,
          "only the part of the training's text that it held out (the share is in the checkpoint)");
  to.number("streams", settings->streams, 1, uint64_t{std::numeric_limits<int64_t>::max()},
            "parallel streams, each from a zero state");
  to.flag("json", settings->json, "one JSON object instead of text");
  return [settings](Trained& trained) { return evaluate(*settings, trained); };
}

// ---- sample ----

struct SampleSettings {
  std::string prompt = "\n";
  uint64_t length = 500;
  double temperature = 0.7;
  double top_p = 1;
  uint64_t seed = 1;
};

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

// No control codes from a young model.
void put(uint8_t byte, bool terminal) {
  const bool shows = byte >= 0x20 || byte == '\n' || byte == '\t';
  const char shown = terminal && (!shows || byte == 0x7f) ? '?' : static_cast<char>(byte);
  write_result({&shown, 1});
  if (terminal) flush_result();
}

int sample(const SampleSettings& settings, Trained& trained) {
  const LmSettings model = lm_settings(trained.config);
  const auto engine =
      trained.device.make_int_rnn(int_rnn_settings(trained.config), trained.learner);
  std::vector<int8_t> state(size_t{model.layers} * model.width, 0);
  std::array<int8_t, kVocabulary> logits{};
  std::mt19937_64 generator(settings.seed);
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  for (const char c : settings.prompt) {
    put(static_cast<uint8_t>(c), terminal);
    engine->next_logits(static_cast<uint8_t>(c), state, logits);
  }
  for (uint64_t i = 0; i < settings.length; ++i) {
    const double uniform = static_cast<double>(generator() >> 11) * 0x1p-53;
    const uint8_t byte = choose(logits, settings.temperature, settings.top_p, uniform);
    put(byte, terminal);
    engine->next_logits(byte, state, logits);
  }
  put('\n', terminal);
  return 0;
}

std::function<int(Trained&)> prepare_sample(Options& to) {
  auto settings = std::make_shared<SampleSettings>();
  to.add(
        "prompt", "TEXT", "text to go on from", "allowed is any text of at least one byte",
        [settings](std::string_view text) {
          settings->prompt = text;
          return !text.empty();
        },
        [settings] { return settings->prompt; })
      .default_is("a line break");
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  to.number("length", settings->length, 0, kMost, "bytes to write after the prompt");
  to.number("temperature", settings->temperature, 0.0, 100.0, "0: always the likeliest byte");
  to.add(
      "top-p", "P", "choose among the likeliest bytes that hold this share",
      "allowed are numbers above 0, up to 1",
      [settings](std::string_view text) {
        double value = 0;
        if (!read_number(text, value) || !(value > 0 && value <= 1)) return false;
        settings->top_p = value;
        return true;
      },
      [settings] { return number_text(settings->top_p); });
  to.number("seed", settings->seed, 0, kMost, "the same seed writes the same text");
  return [settings](Trained& trained) { return sample(*settings, trained); };
}

}  // namespace

std::vector<Verb> lm_verbs() {
  return {{.name = "evaluate",
           .help = "how good the unperturbed model is",
           .takes_threads = true,
           .prepare = prepare_evaluate},
          {.name = "sample",
           .help = "text from a trained language model",
           .takes_threads = false,
           .prepare = prepare_sample}};
}

}  // namespace eggroll
