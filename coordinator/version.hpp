// Which release of the program this is. What it says goes into checkpoints, metrics and summaries, and
// no result depends on it; whether ranks run the same program build_id.hpp says.
#pragma once

#include <string>

namespace eggroll {

// "0.1.0", and with the revision where it was built from a git checkout: "0.1.0+1a2b3c4d5e".
std::string version();

// That of the program and of the libraries that it runs with, in a line:
// "eggroll 0.1.0: Open MPI v4.1.4, HDF5 1.10.8, Box2D 2.4.1, MuJoCo 2.2.2".
std::string version_line();

}  // namespace eggroll
