// The catalogue of the program with one more task, "toy", of other options and defaults: for tests
// of what happens between tasks.
#pragma once

#include <memory>

#include "worker/float_settings.hpp"
#include "worker/tasks.hpp"

namespace eggroll::test {

// "lm, quadratic, ...", as errors list them.
inline std::string names_of(const std::vector<OptionChapter>& chapters) {
  std::string names;
  for (const OptionChapter& chapter : chapters)
    (names += names.empty() ? "" : ", ") += chapter.name;
  return names;
}

struct ToySettings {
  uint32_t dimension = 8;
  bool noisy = false;
  FloatSettings of_floats;

  void declare(Options& to) {
    to.begin(OptionGroup::model);
    to.number("dimension", dimension, 1, 1000, "numbers of the toy");
    to.flag("noisy", noisy, "whether it is hard to see");
    of_floats.declare(to);
  }
};

inline const OptionCatalogue& toy_catalogue() {
  static const OptionCatalogue catalogue = [] {
    OptionCatalogue made = option_catalogue();
    made.tasks.push_back({.name = "toy",
                          .help = "numbers that grow",
                          .defaults = {{"update", "adam"},
                                       {"population", "64"},
                                       {"fitness", "centred-rank"},
                                       {"fitness-encoding", "float32"},
                                       {"learning-rate", "0.05"}},
                          .declare = [](Options& to) -> std::shared_ptr<void> {
                            auto settings = std::make_shared<ToySettings>();
                            settings->declare(to);
                            return settings;
                          },
                          .check = check_float_run});
    return made;
  }();
  return catalogue;
}

}  // namespace eggroll::test
