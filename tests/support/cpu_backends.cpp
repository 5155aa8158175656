// The CPU backend with each instruction set that this machine has.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "kernels/cpu/isa.hpp"
#include "tests/support/backends.hpp"

namespace eggroll::test {

const std::vector<std::string>& backends() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> here;
    for (const cpu::Isa* isa : cpu::isas_of_this_machine()) {
      here.push_back(std::string("cpu ") + isa->name);
      std::cout << "tested: " << here.back() << std::endl;
    }
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
