// Device: what a rank computes on. It makes the engines that compute there, each of them a CPU and a
// CUDA twin that give the same bits: the Learner, and what models are made of. A missing twin does not
// compile. Engines share the device's threads, or streams: one call at a time, and none outlives it.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace eggroll {

class FloatLayers;
class IntRnn;
class Learner;
struct FloatLayersSettings;
struct IntRnnSettings;
struct LearnerSettings;

struct DeviceSettings {
  int threads = 1;  // cpu
  int index = 0;    // cuda: which of the devices that this process sees
};

class Device {
 public:
  virtual ~Device() = default;

  virtual std::string description() const = 0;  // "cpu avx512, 2 threads"
  // Whether one tile takes as long as a great many, as on a GPU.
  virtual bool works_in_bulk() const = 0;

  // Threads for what a task does beside the engines. run: work(thread) on every one of them, 0 to
  // threads() - 1; returns when all have returned, and throws the first exception.
  virtual int threads() const = 0;
  virtual void run(const std::function<void(int thread)>& work) = 0;

  virtual std::unique_ptr<Learner> make_learner(const LearnerSettings& settings) = 0;
  // Both read the parameters of a learner of this device, which outlives them. Float layers belong to
  // the thread that calls them.
  virtual std::unique_ptr<IntRnn> make_int_rnn(const IntRnnSettings& settings,
                                               const Learner& learner) = 0;
  // Throws ConfigError on a device that has no float layers.
  virtual std::unique_ptr<FloatLayers> make_float_layers(const FloatLayersSettings& settings,
                                                         const Learner& learner) = 0;
};

// name: "cpu" or "cuda". On the CPU the instruction set is the widest this machine has, or the one
// EGGROLL_ISA names (scalar, avx2, avxvnni, avx512, amx). Throws ConfigError for a device or
// instruction set that is not here.
std::unique_ptr<Device> make_device(const std::string& name, const DeviceSettings& settings = {});

}  // namespace eggroll
