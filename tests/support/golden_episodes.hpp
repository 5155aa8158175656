// Episodes that Gymnasium gave, of tests/gymnasium/golden (record.py there says how they are written),
// and how far an environment of ours is from them. EGGROLL_GOLDEN is the folder.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "worker/control/environment.hpp"

namespace eggroll {

struct GoldenEpisode {
  struct Step {
    std::vector<float> action;
    double reward = 0;
    bool terminated = false;
    std::vector<float> observation;  // of no number: not recorded
  };
  uint64_t seed = 0;
  std::vector<float> first;  // observation
  std::vector<Step> steps;
};

inline std::vector<GoldenEpisode> golden_episodes(const EnvironmentSpec& spec) {
  const std::string path = std::string(EGGROLL_GOLDEN) + "/" + spec.name + ".txt";
  std::ifstream file(path);
  if (!file) throw Error("cannot read " + path + ", which tests/gymnasium/record.py writes");
  std::vector<GoldenEpisode> episodes;
  for (std::string line, word; std::getline(file, line);) {
    std::istringstream words(line);
    if (line.starts_with("episode ")) {
      words >> word;
      words >> episodes.emplace_back().seed;
      while (words >> word) episodes.back().first.push_back(std::strtof(word.c_str(), nullptr));
      continue;
    }
    GoldenEpisode::Step& step = episodes.back().steps.emplace_back();
    for (uint32_t i = 0; i < spec.actions() && words >> word; ++i)
      step.action.push_back(std::strtof(word.c_str(), nullptr));
    if (words >> word) step.reward = std::strtod(word.c_str(), nullptr);
    words >> step.terminated;
    while (words >> word) step.observation.push_back(std::strtof(word.c_str(), nullptr));
  }
  return episodes;
}

struct GoldenDifference {
  double observation = 0, reward = 0;  // the largest; NaN counts as infinite
  uint32_t observations = 0;           // numbers that are not the same bits
  uint32_t terminations = 0;           // steps that terminated in one alone
};

// Resets the environment and steps it with the actions of the episode, up to so many.
template <typename Environment>
GoldenDifference replay(Environment& environment, const GoldenEpisode& episode,
                        size_t most_steps = SIZE_MAX) {
  GoldenDifference result;
  std::vector<float> observation(episode.first.size());
  const auto distance = [](double a, double b) {
    return std::isnan(a - b) ? HUGE_VAL : std::fabs(a - b);
  };
  const auto compare = [&](const std::vector<float>& golden) {
    for (size_t i = 0; i < golden.size(); ++i) {
      result.observation = std::max(result.observation, distance(observation[i], golden[i]));
      result.observations += observation[i] != golden[i];
    }
  };
  environment.reset(episode.seed, observation);
  compare(episode.first);
  for (size_t i = 0; i < std::min(most_steps, episode.steps.size()); ++i) {
    const GoldenEpisode::Step& golden = episode.steps[i];
    const Step step = environment.step(golden.action, observation);
    compare(golden.observation);
    result.reward = std::max(result.reward, distance(step.reward, golden.reward));
    result.terminations += step.terminated != golden.terminated;
  }
  return result;
}

}  // namespace eggroll
