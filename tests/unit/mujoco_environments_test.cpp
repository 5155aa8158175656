// The environments of MuJoCo against what Gymnasium gave with the same version of the library, and what
// they promise by themselves. EGGROLL_GOLDEN is tests/gymnasium/golden, EGGROLL_MODELS the folder of our
// MJCF files.
#include <gtest/gtest.h>
#include <mujoco/mujoco.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <limits>
#include <thread>

#include "tests/support/golden_episodes.hpp"
#include "tests/support/scratch_folder.hpp"
#include "worker/control/any_action.hpp"
#include "worker/control/episode_random.hpp"
#include "worker/control/mujoco/mujoco_environment.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;
using test::read_text;
using test::ScratchFolder;

std::shared_ptr<const MujocoWorld> world(const MujocoSettings& settings) {
  return std::make_shared<MujocoWorld>(settings);
}

MujocoEnvironment environment(const std::string& name) {
  return MujocoEnvironment(world({.name = name}));
}

// What a run shows of itself, bit by bit.
struct Episode {
  std::vector<float> observations;
  std::vector<double> rewards;
  bool operator==(const Episode& other) const {
    const auto bits = [](float number) { return std::bit_cast<uint32_t>(number); };
    return std::ranges::equal(observations, other.observations, {}, bits, bits) &&
           rewards == other.rewards;
  }
};

// An episode of actions at random, a step at a time.
class Player {
 public:
  Player(MujocoEnvironment& environment, uint64_t seed)
      : environment_(environment),
        random_(seed + 1000),
        observation_(environment.spec().observations) {
    environment_.reset(seed, observation_);
    keep();
  }
  // False once it is over.
  bool step() {
    const Step step = environment_.step(any_action(environment_.spec(), random_), observation_);
    EXPECT_FALSE(step.failed);
    keep();
    episode.rewards.push_back(step.reward);
    return !step.terminated;
  }

  Episode episode;

 private:
  void keep() {
    for (const float number : observation_) EXPECT_TRUE(std::isfinite(number));
    episode.observations.insert(episode.observations.end(), observation_.begin(),
                                observation_.end());
  }
  MujocoEnvironment& environment_;
  EpisodeRandom random_;
  std::vector<float> observation_;
};

Episode played(MujocoEnvironment& environment, uint64_t seed, int steps = 40) {
  Player player(environment, seed);
  for (int i = 0; i < steps && player.step();) ++i;
  return player.episode;
}

std::string refusal(const MujocoSettings& settings) {
  try {
    MujocoWorld world(settings);
  } catch (const ConfigError& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "nothing to say against it";
}

// Of what the library would do by itself nothing happens: no file, no word, no wait.
class Quiet {
 public:
  Quiet() { testing::internal::CaptureStderr(); }
  ~Quiet() {
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
    EXPECT_FALSE(fs::exists("MUJOCO_LOG.TXT"));
  }
};

// ---- Gymnasium -----------------------------------------------------------------------------------------

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, EpisodesAreThoseOfGymnasium) {
  if (physics_version() != "MuJoCo 2.2.2")
    GTEST_SKIP() << "recorded with 2.2.2, this is " << physics_version();
  std::string name = GetParam();
  const bool is_in_full = name.ends_with("-full");
  if (is_in_full) name.resize(name.size() - 5);
  MujocoEnvironment environment(world({.name = name, .is_in_full = is_in_full}));
  EnvironmentSpec spec = environment.spec();
  spec.name = GetParam();
  const auto distance = [](double a, double b) {
    return std::isnan(a - b) ? HUGE_VAL : std::fabs(a - b) / std::max(1.0, std::fabs(b));
  };
  const std::vector<GoldenEpisode> episodes = golden_episodes(spec);
  ASSERT_GE(episodes.size(), 2u);
  double of_observations = 0, of_rewards = 0;
  for (const GoldenEpisode& golden : episodes) {
    std::vector<float> observation(golden.first.size());
    environment.reset(golden.seed, observation);
    const auto compare = [&](const std::vector<float>& expected) {
      for (size_t i = 0; i < expected.size(); ++i)
        of_observations = std::max(of_observations, distance(observation[i], expected[i]));
    };
    compare(golden.first);
    for (const GoldenEpisode::Step& expected : golden.steps) {
      const Step step = environment.step(expected.action, observation);
      compare(expected.observation);
      of_rewards = std::max(of_rewards, distance(step.reward, expected.reward));
      ASSERT_EQ(step.terminated, expected.terminated);
      ASSERT_FALSE(step.failed);
    }
  }
  std::printf("  largest difference: observations %.2g, rewards %.2g\n", of_observations,
              of_rewards);
  EXPECT_LE(of_observations, 2e-6);
  EXPECT_LE(of_rewards, 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Mujoco, Golden,
                         testing::Values("InvertedPendulum-v5", "InvertedDoublePendulum-v5",
                                         "Reacher-v5", "Swimmer-v5", "Hopper-v5", "HalfCheetah-v5",
                                         "Walker2d-v5", "Ant-v5", "Ant-v5-full", "Humanoid-v5",
                                         "Humanoid-v5-full", "HumanoidStandup-v5"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase(name, '-');
                           return name;
                         });

// ---- promises ------------------------------------------------------------------------------------------

TEST(Mujoco, SpecsAreThoseOfTheTable) {
  struct Row {
    const char* name;
    uint32_t small, full, actions;
    float reach;
    uint32_t limit;
  };
  const Row rows[] = {
      {"InvertedPendulum-v5", 4, 4, 1, 3, 1000}, {"InvertedDoublePendulum-v5", 9, 9, 1, 1, 1000},
      {"Reacher-v5", 10, 10, 2, 1, 50},          {"Swimmer-v5", 8, 8, 2, 1, 1000},
      {"Hopper-v5", 11, 11, 3, 1, 1000},         {"HalfCheetah-v5", 17, 17, 6, 1, 1000},
      {"Walker2d-v5", 17, 17, 6, 1, 1000},       {"Ant-v5", 27, 105, 8, 1, 1000},
      {"Humanoid-v5", 45, 348, 17, 0.4f, 1000},  {"HumanoidStandup-v5", 45, 348, 17, 0.4f, 1000}};
  std::vector<std::string> names;
  for (const Row& row : rows) {
    names.emplace_back(row.name);
    const EnvironmentSpec spec = world({.name = row.name})->spec();
    EXPECT_EQ(spec.name, row.name);
    EXPECT_EQ(spec.observations, row.small) << row.name;
    EXPECT_EQ(world({.name = row.name, .is_in_full = true})->spec().observations, row.full);
    EXPECT_EQ(spec.choices, 0u);
    EXPECT_EQ(spec.low, std::vector<float>(row.actions, -row.reach)) << row.name;
    EXPECT_EQ(spec.high, std::vector<float>(row.actions, row.reach)) << row.name;
    EXPECT_EQ(spec.step_limit, row.limit) << row.name;
  }
  EXPECT_EQ(mujoco_environment_names(), names);
}

TEST(Mujoco, AnEpisodeIsAFunctionOfSeedAndActions) {
  for (const std::string& name : mujoco_environment_names()) {
    const auto shared = world({.name = name, .is_in_full = true});
    MujocoEnvironment fresh(shared), used(shared);
    for (uint64_t seed = 5; seed < 8; ++seed) played(used, seed, 60);
    const Episode first = played(fresh, 1);
    EXPECT_EQ(played(used, 1), first) << name;
    EXPECT_FALSE(played(used, 2) == first) << name;
  }
}

TEST(Mujoco, EnvironmentsKnowNothingOfEachOther) {
  for (const std::string& name : mujoco_environment_names()) {
    const auto shared = world({.name = name});
    MujocoEnvironment alone(shared), left(shared), right(shared);
    const Episode first = played(alone, 1), second = played(alone, 2);
    Player a(left, 1), b(right, 2);
    bool a_goes_on = true, b_goes_on = true;
    for (int i = 0; i < 40; ++i)
      a_goes_on = a_goes_on && a.step(), b_goes_on = b_goes_on && b.step();
    EXPECT_EQ(a.episode, first) << name;
    EXPECT_EQ(b.episode, second) << name;
  }
}

TEST(Mujoco, ThreadsShareAModel) {
  const auto shared = world({.name = "Ant-v5"});
  std::vector<Episode> alone(4), together(4);
  const auto play = [&](std::vector<Episode>& to, size_t i) {
    MujocoEnvironment environment(shared);
    to[i] = played(environment, i);
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 4; ++i) play(alone, i);
  for (size_t i = 0; i < 4; ++i) threads.emplace_back(play, std::ref(together), i);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST(Mujoco, SlotsOfABatchAreEnvironments) {
  const auto shared = world({.name = "Hopper-v5"});
  EachSlot<MujocoEnvironment> batch(2, [&] { return MujocoEnvironment(shared); });
  const std::vector<Command> reset(2, Command::reset), step(2, Command::step);
  const std::vector<uint64_t> seeds = {3, 4};
  const std::vector<float> actions(6, 0.5f);
  std::vector<float> observations(22), expected(11);
  std::vector<Step> steps(2);
  batch.run({reset, seeds, actions, observations, steps});
  batch.run({step, seeds, actions, observations, steps});
  MujocoEnvironment one(shared);
  one.reset(4, expected);
  const Step result = one.step(std::vector<float>(3, 0.5f), expected);
  EXPECT_EQ(std::vector<float>(observations.begin() + 11, observations.end()), expected);
  EXPECT_EQ(steps[1].reward, result.reward);
}

// ---- physics that went wrong -----------------------------------------------------------------------------

// Whatever is wrong, it is a failed step of zeros, and the next episode is as if nothing had been.
void expect_failure(const std::string& name,
                    const std::function<void(mjData&, std::vector<float>& action)>& harm) {
  const Quiet quiet;
  const auto shared = world({.name = name, .is_in_full = true});
  MujocoEnvironment broken(shared), fresh(shared);
  std::vector<float> observation(shared->spec().observations), action(shared->spec().low.size());
  broken.reset(1, observation);
  harm(*broken.state().get(), action);
  const Step step = broken.step(action, observation);
  EXPECT_TRUE(step.failed) << name;
  EXPECT_TRUE(step.terminated) << name;
  EXPECT_EQ(step.reward, 0) << name;
  EXPECT_EQ(observation, std::vector<float>(observation.size())) << name;
  EXPECT_EQ(played(broken, 9), played(fresh, 9)) << name;
}

TEST(Mujoco, PhysicsThatDivergesIsAFailedStep) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  for (const std::string& name : mujoco_environment_names()) {
    expect_failure(name, [](mjData& data, auto&) { data.qvel[1] = 1e30; });
    expect_failure(name, [](mjData& data, auto&) { data.qvel[0] = kNaN; });
    expect_failure(name, [](mjData& data, auto&) { data.qpos[1] = HUGE_VAL; });
    expect_failure(name, [](mjData&, auto& action) { action[0] = static_cast<float>(kNaN); });
  }
}

TEST(Mujoco, ActionsBeyondTheirRangeAreAsGoodAsItsEnd) {
  for (const std::string& name : mujoco_environment_names()) {
    MujocoEnvironment one = environment(name), other = environment(name);
    const EnvironmentSpec& spec = one.spec();
    std::vector<float> a(spec.observations), b(spec.observations);
    one.reset(1, a);
    other.reset(1, b);
    EXPECT_FALSE(one.step(spec.high, a).failed);
    EXPECT_FALSE(other.step(std::vector<float>(spec.high.size(), 1e9f), b).failed);
    EXPECT_EQ(a, b) << name;
  }
}

// Out of the depth of a step; the state is good for the next episode.
TEST(Mujoco, AFatalErrorOfTheLibraryIsAnError) {
  const Quiet quiet;
  for (const std::string& name : mujoco_environment_names()) {
    MujocoEnvironment broken = environment(name), fresh = environment(name);
    std::vector<float> observation(broken.spec().observations);
    broken.reset(1, observation);
    mjcb_control = [](const mjModel*, mjData* data) {
      if (data->time > 0) mju_error("nothing works");
    };
    std::string message = "none";
    try {
      for (int i = 0; i < 2; ++i)
        broken.step(std::vector<float>(broken.spec().low.size()), observation);
    } catch (const Error& error) {
      message = error.what();
    }
    mjcb_control = nullptr;
    EXPECT_EQ(message, "MuJoCo: nothing works");
    EXPECT_EQ(played(broken, 9), played(fresh, 9)) << name;
  }
}

// ---- files ---------------------------------------------------------------------------------------------

TEST(Mujoco, BuiltInModelsAreTheFiles) {
  for (const std::string& name : mujoco_environment_names()) {
    const auto inside = world({.name = name});
    const auto file = world({.name = name, .model_folder = EGGROLL_MODELS});
    EXPECT_EQ(inside->identity(), file->identity());
    EXPECT_TRUE(inside->identity().starts_with(physics_version() + ", "));
    EXPECT_EQ(inside->model().digest().size(), 16u);
    MujocoEnvironment a(inside), b(file);
    EXPECT_EQ(played(a, 1), played(b, 1)) << name;
  }
}

TEST(Mujoco, AFileThatIsNoModelIsNamedWithTheReason) {
  const Quiet quiet;
  const ScratchFolder folder;
  const fs::path file = folder.path() / "hopper.xml";
  const MujocoSettings settings{.name = "Hopper-v5", .model_folder = folder.path()};
  const std::string title = "model file " + file.string();
  EXPECT_EQ(refusal(settings), title + " cannot be read: No such file or directory");
  fs::create_directory(file);
  EXPECT_EQ(refusal(settings), title + " cannot be read: it is a folder");
  fs::remove(file);

  const std::string whole = read_text(fs::path(EGGROLL_MODELS) / "hopper.xml");
  std::string unknown_element = whole, no_reference = whole;
  unknown_element.replace(unknown_element.find("<option"), 7, "<opinion");
  no_reference.replace(no_reference.find("joint=\"hip\""), 11, "joint=\"lip\"");
  for (const std::string& text :
       {std::string(), std::string("\0\1\2", 3), whole.substr(0, whole.size() / 2),
        std::string("<model/>"), unknown_element, no_reference}) {
    folder.write("hopper.xml", text);
    EXPECT_TRUE(refusal(settings).starts_with(title + " is no model: ")) << text;
  }
  folder.write("hopper.xml", read_text(fs::path(EGGROLL_MODELS) / "swimmer.xml"));
  EXPECT_EQ(refusal(settings), title + " has 5 positions, but Hopper-v5 is of 6");
}

TEST(Mujoco, WhatIsNotThereIsNamed) {
  EXPECT_TRUE(refusal({.name = "Hopper-v3"}).starts_with("no MuJoCo environment Hopper-v3; there"));
  const ScratchFolder folder;
  std::string text = read_text(fs::path(EGGROLL_MODELS) / "reacher.xml");
  text.replace(text.find("\"fingertip\""), 11, "\"finger\"");
  folder.write("reacher.xml", text);
  const std::string file = (folder.path() / "reacher.xml").string();
  EXPECT_EQ(refusal({.name = "Reacher-v5", .model_folder = folder.path()}),
            "model file " + file + " has no body of the name fingertip");

  text = read_text(fs::path(EGGROLL_MODELS) / "inverted_double_pendulum.xml");
  text.erase(text.find("<site"), text.find("/>", text.find("<site")) + 2 - text.find("<site"));
  folder.write("inverted_double_pendulum.xml", text);
  EXPECT_TRUE(refusal({.name = "InvertedDoublePendulum-v5", .model_folder = folder.path()})
                  .ends_with("has 0 sites, but InvertedDoublePendulum-v5 is of 1"));

  // Of no effect on what moves, and on observations of that alone.
  text = read_text(fs::path(EGGROLL_MODELS) / "ant.xml");
  text.insert(text.find("</worldbody>"), "<body pos='9 9 9'><geom size='.1 .1'/></body>");
  folder.write("ant.xml", text);
  EXPECT_TRUE(refusal({.name = "Ant-v5", .is_in_full = true, .model_folder = folder.path()})
                  .ends_with("has 111 numbers to observe, but Ant-v5 is of 105"));
  MujocoEnvironment more(world({.name = "Ant-v5", .model_folder = folder.path()}));
  MujocoEnvironment plain = environment("Ant-v5");
  EXPECT_EQ(played(more, 1), played(plain, 1));
}

// ---- pictures --------------------------------------------------------------------------------------------

TEST(Mujoco, PicturesFollowWhatMoves) {
  for (const std::string& name : mujoco_environment_names()) {
    MujocoEnvironment shown = environment(name);
    played(shown, 1, 5);
    Drawing picture;
    shown.draw(picture);
    EXPECT_GE(picture.figures.size(), 3u) << name;
    size_t in_view = 0;
    for (const auto& figure : picture.figures)
      if (const auto* stroke = std::get_if<Drawing::Stroke>(&figure)) {
        EXPECT_TRUE(std::isfinite(stroke->from.x + stroke->from.y + stroke->to.x + stroke->to.y));
        in_view += stroke->width > picture.width / 100 &&
                   std::fabs(stroke->from.x - picture.centre.x) < picture.width / 2 &&
                   std::fabs(stroke->from.y - picture.centre.y) < picture.height / 2;
      }
    EXPECT_GE(in_view, 2u) << name;
  }
}

}  // namespace
}  // namespace eggroll
