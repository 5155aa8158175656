// MuJoCo as a simulator of one model: the model, which any number of threads read, and a state of it, which
// one thread at a time simulates. Its headers are included by the .cpp files of this folder alone.
//
// The library says what is wrong through these only: a file that is no model is a ConfigError, a fatal error
// of the library is an Error out of the call that met it, and a warning is counted in the state. It writes no
// MUJOCO_LOG.TXT and nothing to stderr, and waits for no key.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

struct mjModel_;
struct mjData_;

namespace eggroll {

// "MuJoCo 2.2.2": the library that this process has loaded. Results are equal for equal versions only.
std::string physics_version();

class PhysicsModel {
 public:
  // Of a file in a folder, or of what is embedded under that name where the folder is empty.
  PhysicsModel(const std::string& file_name, const std::filesystem::path& folder);

  const mjModel_* get() const { return model_.get(); }
  // XXH3-64 over the file, 16 hex digits.
  const std::string& digest() const { return digest_; }
  // "model file DIR/hopper.xml", or "built-in model hopper.xml": how messages begin.
  const std::string& title() const { return title_; }
  // The number of a body; throws ConfigError where there is none of that name.
  int body(const char* name) const;

 private:
  struct Free {
    void operator()(mjModel_* model) const;
  };
  std::string title_, digest_;
  std::unique_ptr<mjModel_, Free> model_;
};

class PhysicsState {
 public:
  explicit PhysicsState(const PhysicsModel& model);

  mjData_* get() { return data_.get(); }
  const mjData_* get() const { return data_.get(); }
  // Since it was reset: that numbers ceased to be finite or grew beyond measure (upon which the library
  // starts the model anew by itself), that a matrix was singular, or that there was no room for a contact.
  bool has_warned() const;
  // All but the library's stack, of which hardly anything is ever touched.
  size_t bytes() const;

 private:
  struct Free {
    void operator()(mjData_* data) const;
  };
  std::unique_ptr<mjData_, Free> data_;
};

}  // namespace eggroll
