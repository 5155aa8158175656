#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "common/command_line.hpp"
#include "common/config.hpp"
#include "common/json_text.hpp"
#include "common/output.hpp"
#include "coordinator/commands.hpp"
#include "coordinator/records/open_checkpoint.hpp"

namespace eggroll {
namespace {

// Computed anew, so it stands for what is in the file, also where the file does not state it.
std::string digest_of(const CheckpointReader& reader, const ParameterLayout& layout) {
  RunArenas state;
  state.arenas.push_back(reader.read_parameters(layout));
  for (const SlotInfo& slot : reader.header().slots)
    state.arenas.push_back(reader.read_slot(layout, slot.name, slot.element));
  return arenas_digest(state.spans());
}

}  // namespace

int inspect_command(const std::vector<std::string>& arguments) {
  std::string checkpoint;
  bool json = false;
  Options options;
  options
      .path("checkpoint", checkpoint, "PATH", "checkpoint, or run folder (its newest complete one)")
      .required();
  options.flag("json", json, "one JSON object instead of text");
  if (!parse_command("inspect", "eggroll inspect: what is in a checkpoint", options, arguments))
    return 0;
  const CheckpointReader reader = open_checkpoint("checkpoint", checkpoint);
  const CheckpointHeader& header = reader.header();
  const ParameterLayout layout = layout_in(reader, checkpoint);
  const std::string digest = digest_of(reader, layout);
  if (json) {
    nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
    for (const TensorSpec& t : layout.tensors()) {
      nlohmann::ordered_json shape = {t.rows};
      if (t.role != Role::vector) shape.push_back(t.cols);
      tensors.push_back({{"name", t.name}, {"shape", shape}});
    }
    print_result("{}\n", json_text(nlohmann::ordered_json{{"generation", header.generation},
                                                          {"seed", header.seed},
                                                          {"version", header.version},
                                                          {"noise_law", header.noise_law},
                                                          {"parameters_digest", digest},
                                                          {"parameters", layout.size()},
                                                          {"state_slots", header.state_slots},
                                                          {"complete", reader.is_complete()},
                                                          {"config", header.config},
                                                          {"tensors", tensors}}));
    return 0;
  }
  print_result("generation         {}\nseed               {}\nnoise_law          {}\n",
               header.generation, header.seed, header.noise_law);
  print_result("parameters_digest  {}\nparameters         {}\nstate_slots        {}\n", digest,
               layout.size(), header.state_slots);
  if (!header.version.empty()) print_result("version            {}\n", header.version);
  if (!reader.is_complete())
    print_result("holds              parameters only: for commands of its task and --init\n");
  print_result("\n");
  for (const TensorSpec& t : layout.tensors())
    print_result("{:20} {}\n", t.name,
                 t.role == Role::vector ? fmt::format("{}", t.rows)
                                        : fmt::format("{} x {}", t.rows, t.cols));
  print_result("\n{}", header.config);
  return 0;
}

}  // namespace eggroll
