#include <fmt/format.h>
#include <fmt/ostream.h>

#include <nlohmann/json.hpp>

#include "common/check.hpp"
#include "common/config.hpp"
#include "coordinator/command_line.hpp"
#include "coordinator/commands.hpp"
#include "coordinator/records/snapshots.hpp"

namespace eggroll {
namespace po = boost::program_options;

int inspect_command(const std::vector<std::string>& arguments) {
  std::string checkpoint;
  po::options_description options("eggroll inspect: what is in a checkpoint");
  options.add_options()("checkpoint", po::value(&checkpoint)->required()->value_name("PATH"),
                        "checkpoint, or run folder (its newest complete one)")(
      "json", "one JSON object instead of text");
  const po::variables_map values = parse_command("inspect", options, arguments);
  if (values.count("help")) {
    fmt::print("{}", fmt::streamed(options));
    return 0;
  }
  const CheckpointReader reader = open_checkpoint("checkpoint", checkpoint);
  const CheckpointHeader& header = reader.header();
  const RunConfig config = parse_config_text(header.config, checkpoint);
  const ParameterLayout layout = int_rnn_layout(config.shape());
  // Computed anew, so it stands for what is in the file, also where the file does not state it.
  const std::string digest =
      parameters_digest(reader.read_parameters(layout), reader.read_accumulators(layout));
  if (values.count("json")) {
    nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
    for (const TensorSpec& t : layout.tensors()) {
      nlohmann::ordered_json shape = {t.rows};
      if (t.kind != TensorKind::vector) shape.push_back(t.cols);
      tensors.push_back({{"name", t.name}, {"shape", shape}});
    }
    fmt::print("{}\n", nlohmann::ordered_json{{"generation", header.generation},
                                              {"seed", header.seed},
                                              {"data_position", header.data_position},
                                              {"noise_law", header.noise_law},
                                              {"parameters_digest", digest},
                                              {"parameters", layout.size()},
                                              {"state_slots", header.state_slots},
                                              {"complete", reader.is_complete()},
                                              {"config", header.config},
                                              {"tensors", tensors}}
                           .dump());
    return 0;
  }
  fmt::print(
      "generation         {}\nseed               {}\ndata_position      {}\nnoise_law          "
      "{}\n",
      header.generation, header.seed, header.data_position, header.noise_law);
  fmt::print("parameters_digest  {}\nparameters         {}\nstate_slots        {}\n", digest,
             layout.size(), header.state_slots);
  if (!reader.is_complete())
    fmt::print("holds              parameters only: for evaluate, sample and --init\n");
  fmt::print("\n");
  for (const TensorSpec& t : layout.tensors())
    fmt::print("{:20} {}\n", t.name,
               t.kind == TensorKind::vector ? fmt::format("{}", t.rows)
                                            : fmt::format("{} x {}", t.rows, t.cols));
  fmt::print("\n{}", header.config);
  return 0;
}

}  // namespace eggroll
