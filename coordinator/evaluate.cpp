#include <fmt/format.h>
#include <fmt/ostream.h>

#include <nlohmann/json.hpp>

#include "common/check.hpp"
#include "coordinator/command_line.hpp"
#include "coordinator/commands.hpp"
#include "coordinator/devices.hpp"
#include "coordinator/records/run_log.hpp"
#include "coordinator/records/snapshots.hpp"
#include "coordinator/thread_count.hpp"
#include "worker/lm/lm_task.hpp"
#include "worker/lm/text_statistics.hpp"

namespace eggroll {
namespace po = boost::program_options;

int evaluate_command(const std::vector<std::string>& arguments) {
  std::string checkpoint, data, device;
  int64_t streams;
  int threads;
  po::options_description options(
      "eggroll evaluate: bits per byte of the unperturbed model on a text");
  options.add_options()("checkpoint", po::value(&checkpoint)->required()->value_name("PATH"),
                        "checkpoint, or run folder (its newest complete one)")(
      "data", po::value(&data)->required()->value_name("PATH"),
      "text: a file, or a folder of files")(
      "held-out", "only the part that training held out (the share is in the checkpoint)")(
      "streams", po::value(&streams)->default_value(64)->value_name("N"),
      "parallel streams, each from a zero state")(
      "threads",
      po::value(&threads)->default_value(usable_cores(), "usable cores")->value_name("N"),
      "threads")("device", po::value(&device)->default_value("auto")->value_name("auto|cpu|cuda"),
                 "what computes")("json", "one JSON object instead of text");
  const po::variables_map values = parse_command("evaluate", options, arguments);
  if (values.count("help")) {
    fmt::print("{}", fmt::streamed(options));
    return 0;
  }
  if (threads < 1 || threads > 1024)
    throw ConfigError(fmt::format("threads = {}: allowed are 1 to 1024", threads));

  const CheckpointReader reader = open_checkpoint("checkpoint", checkpoint);
  RunConfig config = parse_config_text(reader.header().config, checkpoint);
  config.data = data;
  const bool held_out = values.count("held-out") != 0;
  const Corpus corpus(data, held_out ? config.held_out : 0.0);
  const auto text = held_out ? corpus.held_out() : corpus.all();
  if (streams < 1 || text.size() / static_cast<uint64_t>(streams) < 2)
    throw ConfigError(fmt::format("streams = {}: allowed are 1 to {} for {} bytes of text", streams,
                                  text.size() / 2, text.size()));
  const auto backend = make_lm_backend(config, threads, choose_device(device));
  backend->write_parameters(parameters_for(reader, checkpoint, config.shape()));

  Stopwatch watch;
  const StreamScores scores = backend->score_streams(text, static_cast<uint64_t>(streams), 0,
                                                     static_cast<uint64_t>(streams));
  const Validation loss = validation_of(scores, reader.header().generation, watch.elapsed_s());
  const double unigram =
      held_out ? unigram_cross_entropy(text, corpus.train()) : unigram_entropy(text);
  const double bigram =
      held_out ? bigram_cross_entropy(text, corpus.train()) : bigram_entropy(text);
  const double gzip = gzip_bits_per_byte(text);
  if (values.count("json")) {
    fmt::print("{}\n", nlohmann::ordered_json{{"generation", reader.header().generation},
                                              {"text_bytes", text.size()},
                                              {"streams", streams},
                                              {"tokens", scores.tokens},
                                              {"bits_per_byte", loss.bits_per_byte},
                                              {"score_sum", scores.score_sum},
                                              {"integer_bits_per_byte", loss.integer_bits_per_byte},
                                              {"unigram_bits_per_byte", unigram},
                                              {"bigram_bits_per_byte", bigram},
                                              {"gzip_bits_per_byte", gzip},
                                              {"evaluate_s", loss.seconds}}
                           .dump());
    return 0;
  }
  const char* counts = held_out ? "counts of the training text" : "the text's own counts";
  fmt::print("model        generation {}, {} layers x {}\n", reader.header().generation,
             config.layers, config.width);
  fmt::print("text         {} bytes in {} streams, {} bytes predicted in {:.2f} s\n", text.size(),
             streams, scores.tokens, loss.seconds);
  fmt::print("loss         {:.4f} bits/byte\n", loss.bits_per_byte);
  fmt::print("score sum    {} (1/16 bit; {:.4f} bits/byte, too low by the floored logarithm)\n",
             scores.score_sum, loss.integer_bits_per_byte);
  fmt::print("unigram      {:.4f} bits/byte ({})\n", unigram, counts);
  fmt::print("bigram       {:.4f} bits/byte ({})\n", bigram, counts);
  fmt::print("gzip -9      {:.4f} bits/byte\n", gzip);
  return 0;
}

}  // namespace eggroll
