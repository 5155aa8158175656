// The CPU with each instruction set that this machine has.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "kernels/cpu/isa.hpp"
#include "tests/support/devices.hpp"

namespace eggroll::test {

const std::vector<std::string>& devices() {
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

std::unique_ptr<Device> device_on(const std::string& name, const DeviceSettings& settings) {
  setenv("EGGROLL_ISA", name.substr(name.find(' ') + 1).c_str(), 1);
  std::unique_ptr<Device> device = make_device("cpu", settings);
  unsetenv("EGGROLL_ISA");
  EXPECT_NE(device->description().find(name), std::string::npos) << device->description();
  return device;
}

}  // namespace eggroll::test
