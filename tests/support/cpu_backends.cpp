// The CPU backend with each instruction set that this machine has.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "tests/support/backends.hpp"

namespace eggroll::test {

const std::vector<std::string>& backends() {
  static const std::vector<std::string> names = [] {
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512vnni") &&
                        __builtin_cpu_supports("avx512vbmi");
    std::vector<std::string> here{"cpu scalar"};
    const auto take = [&](const char* name, bool supported) {
      if (supported)
        here.push_back(name);
      else
        std::cout << "not tested, this machine lacks it: " << name << std::endl;
    };
    take("cpu avx2", __builtin_cpu_supports("avx2"));
    take("cpu avx512", avx512);
    return here;
  }();
  return names;
}

std::unique_ptr<Backend> backend_on(const std::string& name, const BackendSettings& settings) {
  setenv("EGGROLL_ISA", name.substr(name.find(' ') + 1).c_str(), 1);
  std::unique_ptr<Backend> backend = make_backend("cpu", settings);
  unsetenv("EGGROLL_ISA");
  EXPECT_NE(backend->description().find(name), std::string::npos) << backend->description();
  return backend;
}

}  // namespace eggroll::test
