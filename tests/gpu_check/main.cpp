// gpu_check: is the CUDA twin right on this machine, and how fast is it? See --help.
#include <charconv>
#include <cstdio>
#include <cstring>
#include <exception>
#include <random>
#include <stdexcept>
#include <string>

#include "kernels/cuda/devices.hpp"
#include "tests/gpu_check/benchmark.hpp"
#include "tests/gpu_check/checks.hpp"

namespace {

std::string help() {
  return std::string(
             "gpu_check: holds the CUDA kernels to the CPU's and to the oracle, with random "
             "inputs\n"
             "  --quick        few and small cases\n"
             "  --large-blocks only those whose populations a GPU runs in its largest blocks\n"
             "  --seed N       the inputs of an earlier run (default: new ones)\n") +
         (eggroll::gpu_check::has_benchmark()
              ? "  --benchmark    figures after the checks, with ceilings measured in the same "
                "run\n"
                "  --json FILE    the figures once more, a JSON object\n"
              : "") +
         "exit code: 0, 1 where a check failed, 2 where there is no GPU or an option is wrong\n";
}

int run(int argc, char** argv) {
  using namespace eggroll::gpu_check;
  Options options;
  options.seed = std::random_device{}();
  bool benchmark = false, only_large = false;
  std::string json;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (argument == "--help") {
      std::fputs(help().c_str(), stdout);
      return 0;
    } else if (argument == "--quick") {
      options.quick = true;
    } else if (argument == "--large-blocks") {
      only_large = true;
    } else if (argument == "--benchmark" && has_benchmark()) {
      benchmark = true;
    } else if (argument == "--json" && value != nullptr && has_benchmark()) {
      json = value;
      ++i;
    } else if (argument == "--seed" && value != nullptr) {
      const char* end = value + std::strlen(value);
      if (std::from_chars(value, end, options.seed).ptr != end) {
        std::fprintf(stderr, "gpu_check: --seed %s: allowed are whole numbers\n", value);
        return 2;
      }
      ++i;
    } else {
      std::fprintf(stderr, "gpu_check: %s: no such option, or it lacks a value\n%s", argv[i],
                   help().c_str());
      return 2;
    }
  }
  const eggroll::cuda::Devices devices = eggroll::cuda::visible_devices();
  if (devices.count == 0) {
    std::fprintf(stderr, "gpu_check: %s\n", devices.why_none.c_str());
    return 2;
  }
  std::printf("%s\nchecks with --seed %llu\n",
              eggroll::cuda::make_cuda_device({})->description().c_str(),
              static_cast<unsigned long long>(options.seed));
  Checks checks;
  try {
    if (!only_large) {
      check_runs(options, checks);
      check_learners(options, checks);
      check_tiles(options, checks);
      check_long_run(options, checks);
      check_linear(options, checks);
    }
    if (!options.quick) check_large_blocks(options, checks);
    if (!options.quick && !only_large) check_giving_up(options, checks);
  } catch (const std::exception& e) {
    throw std::runtime_error(std::string(e.what()) + " (" + checks.about() + ")");
  }
  std::printf("%d passed, %d failed\n", checks.done() - checks.failed(), checks.failed());
  if (benchmark) run_benchmark(json);
  return checks.failed() == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // what is said is there, whatever comes after it
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "gpu_check: %s\n", e.what());
    return 1;
  }
}
