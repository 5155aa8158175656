// What a run has learnt, as bytes (RunArenas): parameters and the optimiser's slots. What snapshots,
// copies on other ranks and digests are made of; what carried states there are, is beside it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/files/checkpoint.hpp"
#include "common/layout.hpp"
#include "kernels/learner.hpp"

namespace eggroll {

// update: the name of the optimiser.
RunArenas read_state(Learner& learner, std::string_view update);
// Into memory that is there.
void read_state(Learner& learner, std::string_view update, RunArenas& to);
void write_state(Learner& learner, const RunArenas& state);
// These parameters, and slots of zeros: the start of a run.
RunArenas start_state(const ParameterLayout& layout, std::string_view update,
                      std::vector<std::byte> parameters);
std::string current_digest(Learner& learner, std::string_view update);
// Each tensor by itself, with its slots: 16 hex digits each, one after another.
std::string tensor_digests(Learner& learner, std::string_view update);

// The slots of an optimiser as a checkpoint names them.
std::vector<SlotInfo> slots_of(std::string_view update);

}  // namespace eggroll
