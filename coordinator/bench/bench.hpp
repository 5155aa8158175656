// `eggroll bench`: what the kernels do on this machine, each figure with its definition, its spread
// and the bound it is held against, measured in the same process. Nothing here is asserted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/bench/measure.hpp"
#include "coordinator/devices.hpp"
#include "kernels/int_rnn.hpp"

namespace eggroll::bench {

struct Settings {
  int repetitions = 15;
  double slice_s = 0.02;  // of one case in one repetition
  IntRnnShape shape;
  uint64_t population = 1056;
  uint32_t tokens = 100;
  std::vector<std::string> environments = {"CartPole-v1", "Pendulum-v1", "Acrobot-v1",
                                           "MountainCar-v0"};
  int threads = 1;
  ComputeDevice device;
};

// A figure of a series over something, and what theory says of it.
struct Point {
  std::string series;
  double x = 0;
  double y = 0;
  double error = 0;  // standard deviation by chance; 0: there is none
  std::optional<double> theory = std::nullopt;
  bool is_for_plots = false;  // one of many, not printed as text
};

// Collects rows and prints them as they come, as text or at the end as one JSON object.
class Report {
 public:
  Report(std::string command, bool json);
  void note(const std::string& line);
  void row(const std::string& name, const std::string& unit, const Rate& rate, double scale,
           const std::string& against, double ratio);
  void point(const Point& point);
  void finish() const;

 private:
  struct Row {
    std::string name, unit, against;
    double value, spread, ratio;
  };
  std::string command_;
  bool json_;
  std::vector<std::string> notes_;
  std::vector<Row> rows_;
  std::vector<Point> points_;
};

void bench_control(const Settings& settings, Report& report);
void bench_kernels(const Settings& settings, Report& report);
void bench_float_layers(const Settings& settings, Report& report);  // the last part of it
void bench_noise(const Settings& settings, Report& report);
void bench_model(const Settings& settings, Report& report);
void bench_shaping(const Settings& settings, Report& report);
void bench_theory(const Settings& settings, Report& report);
void bench_update(const Settings& settings, Report& report);

}  // namespace eggroll::bench
