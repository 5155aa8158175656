// Strict command lines for the commands that have a few options and no config file.
#pragma once

#include <boost/program_options.hpp>
#include <string>
#include <vector>

namespace eggroll {

// Long options only, no guessing, nothing left over; --help is added. A problem is a ConfigError of
// one line. The result may lack required options when it holds "help".
boost::program_options::variables_map parse_command(
    const std::string& command, boost::program_options::options_description& options,
    const std::vector<std::string>& arguments);

}  // namespace eggroll
