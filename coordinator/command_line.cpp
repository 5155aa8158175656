#include "coordinator/command_line.hpp"

#include <fmt/format.h>

#include "common/check.hpp"

namespace eggroll {
namespace po = boost::program_options;

po::variables_map parse_command(const std::string& command, po::options_description& options,
                                const std::vector<std::string>& arguments) {
  options.add_options()("help", "this text");
  po::variables_map values;
  try {
    const po::parsed_options parsed =
        po::command_line_parser(arguments)
            .options(options)
            .positional({})
            .style(po::command_line_style::allow_long | po::command_line_style::long_allow_next |
                   po::command_line_style::long_allow_adjacent)
            .run();
    po::store(parsed, values);
    if (values.count("help") == 0) po::notify(values);
  } catch (const po::too_many_positional_options_error&) {
    throw ConfigError(
        fmt::format("{}: only options of the form --name value are allowed", command));
  } catch (const po::error& e) {
    throw ConfigError(fmt::format("{}: {}; see eggroll {} --help", command, e.what(), command));
  }
  return values;
}

}  // namespace eggroll
