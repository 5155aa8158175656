// The options of task lm, the integer language model, and what follows from them.
#pragma once

#include <cstdint>
#include <string>

#include "common/config.hpp"
#include "common/rules.hpp"
#include "kernels/int_rnn.hpp"

namespace eggroll {

struct LmSettings {
  std::string data;
  double held_out = 0.05;
  uint32_t layers = 6;
  uint32_t width = 256;
  uint32_t tokens_per_update = 100;
  int sigma_shift = 4;
  Rounding perturbation_rounding = Rounding::nearest;
  Carry carry = Carry::pair;
  uint64_t validate_streams = 64;

  void declare(Options& to);
  IntRnnShape shape() const { return {layers, width}; }
};

// Of a run of this task.
LmSettings lm_settings(const RunConfig& config);
IntRnnSettings int_rnn_settings(const RunConfig& config);

// Throws OptionError where they and the general options do not go together.
void check_lm(const RunConfig& config);

}  // namespace eggroll
