// The table of environments: what a name, a build or a setting that does not fit is told.
#include "worker/control/environment_types.hpp"

#include <gtest/gtest.h>

#include <string>

#include "common/options.hpp"

namespace eggroll {
namespace {

template <typename Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const OptionError& error) {
    return error.what();
  }
  return "none";
}

// A build that has found the library of the first alone.
std::vector<EnvironmentType> partial() {
  static constexpr const char* kAbsent[] = {"Far-v1", "Further-v1"};
  std::vector<EnvironmentType> types = {environment_type("CartPole-v1")};
  for (const EnvironmentType& type : absent_environments(kAbsent, "libfar-dev"))
    types.push_back(type);
  return types;
}

TEST(EnvironmentTypes, AnotherNameIsToldWhichThereAre) {
  const auto ask = [](const char* name) {
    return refusal([&] { environment_type(name, partial()); });
  };
  const std::string text =
      "CartPole-v1; not in this build: Far-v1 (libfar-dev), Further-v1 (libfar-dev)";
  EXPECT_EQ(environments_text(partial()), text);
  EXPECT_EQ(ask("cartpole-v1"), "env = cartpole-v1: allowed are " + text);
  EXPECT_EQ(ask("Far-v1"),
            "env = Far-v1: this build has it not; it needs the package libfar-dev when eggroll is "
            "built; allowed are " +
                text);
}

TEST(EnvironmentTypes, EachIsThereUnderItsName) {
  for (const EnvironmentType& type : environment_types()) {
    if (!type.make) continue;
    EXPECT_EQ(environment_type(type.name).make({}, 1)->spec().name, type.name);
  }
}

// A state of MuJoCo's is megabytes: a dry run must know.
TEST(EnvironmentTypes, SlotsSayWhatTheyHold) {
  for (const EnvironmentType& type : environment_types()) {
    if (!type.make) continue;
    const size_t one = type.make({}, 1)->bytes();
    EXPECT_EQ(one > 100000, type.takes_models) << type.name;
    EXPECT_EQ(type.make({}, 3)->bytes(), 3 * one);
  }
}

TEST(EnvironmentTypes, ASettingOfNoUseIsRefused) {
  const EnvironmentSettings models{.model_dir = "here"}, full{.full_observations = true};
  for (const EnvironmentType& type : environment_types()) {
    const auto told = [&](const EnvironmentSettings& settings) {
      return refusal([&] { check_settings(type, settings); });
    };
    EXPECT_EQ(told({}), "none");
    EXPECT_EQ(told(models) == "none", type.takes_models) << told(models);
    EXPECT_EQ(told(full) == "none", type.has_full_observations) << told(full);
    if (!type.make || !type.has_full_observations) continue;
    EXPECT_GT(type.make(full, 1)->spec().observations, type.make({}, 1)->spec().observations);
  }
}

}  // namespace
}  // namespace eggroll
