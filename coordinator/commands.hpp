// The commands beside `train`: one process, no messages. Each returns its exit code.
#pragma once

#include <string>
#include <vector>

namespace eggroll {

int evaluate_command(
    const std::vector<std::string>& arguments);  // loss of the unperturbed model on a text
int sample_command(const std::vector<std::string>& arguments);   // text from a trained model
int inspect_command(const std::vector<std::string>& arguments);  // what is in a checkpoint
int bench_command(
    const std::vector<std::string>& arguments);  // what the kernels do on this machine

int supervise_command(const std::vector<std::string>& arguments);  // keeps a training job going

}  // namespace eggroll
