// The MPI session of a test program that has tests/support/mpi_main.cpp as its main. It runs under
// mpirun on any number of ranks: each rank runs every test, so between two collectives no ASSERT_
// and no early return may leave the others waiting.
#pragma once

#include "common/messages/collectives.hpp"

namespace eggroll::test {

MpiSession& mpi_session();
Collectives& mpi_world();  // all ranks; a test that counts bytes makes a group of its own

}  // namespace eggroll::test
