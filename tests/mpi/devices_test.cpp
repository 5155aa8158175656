// What ranks compute on, on 1 to 4 ranks that see devices as the test says.
#include "coordinator/devices.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "common/messages/agreement.hpp"
#include "tests/support/mpi_world.hpp"

namespace eggroll {
namespace {

using test::mpi_world;

// On a host whose GPUs have these numbers, of which this rank sees `count` from `first` on.
DeviceProbe sees(const std::string& host, int first, int count, bool is_in_build = true) {
  return {host,
          [=] {
            return count > 0 ? cuda::Devices{count, "", is_in_build}
                             : cuda::Devices{0, "no GPU can be used: no driver", is_in_build};
          },
          [=](int index) { return fmt::format("0000:{:02x}:00.0", first + index); }};
}

std::string refusal(DeviceChoice wanted, const DeviceProbe& probe) {
  std::string words = "no error";
  try {
    choose_device(wanted, mpi_world(), probe);
  } catch (const ConfigError& e) {
    words = e.what();
  }
  agree(mpi_world(), {{"the words of the refusal", words}});  // the same on every rank
  return words;
}

int rank() { return mpi_world().rank(); }
int ranks() { return mpi_world().size(); }

TEST(Devices, TheRanksOfAHostTakeItsGpusOneByOne) {
  for (DeviceChoice wanted : {DeviceChoice::automatic, DeviceChoice::cuda}) {
    const ChosenDevice chosen = choose_device(wanted, mpi_world(), sees("n1", 0, 4));
    EXPECT_EQ(chosen.device.name, "cuda");
    EXPECT_EQ(chosen.device.index, rank());
    EXPECT_EQ(chosen.remark, "");
  }
}

TEST(Devices, OnSeveralHostsEachBeginsWithItsFirstGpu) {
  const std::string host = rank() % 2 == 0 ? "even" : "odd";
  EXPECT_EQ(choose_device(DeviceChoice::cuda, mpi_world(), sees(host, 0, 2)).device.index,
            rank() / 2);
}

TEST(Devices, ALauncherMayShowEachRankItsOwnGpu) {
  const ChosenDevice chosen = choose_device(DeviceChoice::cuda, mpi_world(), sees("n1", rank(), 1));
  EXPECT_EQ(chosen.device.index, 0);
}

TEST(Devices, TwoRanksOnOneGpuAreRefused) {
  if (ranks() == 1) return;
  for (DeviceChoice wanted : {DeviceChoice::automatic, DeviceChoice::cuda})
    for (int count = 1; count < ranks(); ++count) {
      const std::string words = refusal(wanted, sees("n1", 0, count));
      EXPECT_EQ(
          words.find(fmt::format("device = {}: host n1: {} ranks, {} GPU{} visible: a GPU "
                                 "takes one rank; start {} there (mpirun --map-by ppr:{}:node)",
                                 wanted == DeviceChoice::cuda ? "cuda" : "auto", ranks(), count,
                                 count == 1 ? "" : "s", count, count)),
          0u)
          << words;
    }
}

TEST(Devices, WithoutAnyGpuAutoIsTheCpuAndSaysWhyWhereTheBuildCouldDoMore) {
  const ChosenDevice chosen = choose_device(DeviceChoice::automatic, mpi_world(), sees("n1", 0, 0));
  EXPECT_EQ(chosen.device.name, "cpu");
  EXPECT_EQ(chosen.remark, "device = auto: cpu, as no GPU can be used: no driver");
  EXPECT_EQ(choose_device(DeviceChoice::automatic, mpi_world(), sees("n1", 0, 0, false)).remark,
            "");
}

TEST(Devices, WithoutAnyGpuCudaIsRefusedWithTheReason) {
  const std::string where = ranks() == 1 ? "" : " (rank 0 on host n1)";
  EXPECT_EQ(refusal(DeviceChoice::cuda, sees("n1", 0, 0)),
            "device = cuda: no GPU can be used: no driver" + where);
}

TEST(Devices, HostsThatAreNotAlikeAreRefused) {
  if (ranks() == 1) return;
  const bool is_last = rank() == ranks() - 1;
  const DeviceProbe mixed = sees(is_last ? "n2" : "n1", 0, is_last ? 0 : 4);
  EXPECT_EQ(
      refusal(DeviceChoice::automatic, mixed),
      fmt::format("device = auto: rank 0 on host n1 sees 4 GPUs, rank {} on host n2 sees none: "
                  "no GPU can be used: no driver; give each rank a GPU, or all the CPU with "
                  "--device cpu",
                  ranks() - 1));
  EXPECT_EQ(refusal(DeviceChoice::cuda, mixed),
            fmt::format("device = cuda: no GPU can be used: no driver (rank {} on host n2)",
                        ranks() - 1));
  EXPECT_EQ(choose_device(DeviceChoice::cpu, mpi_world(), mixed).device.name, "cpu");
}

TEST(Devices, AnAddressThatOneRankCannotLearnEndsAll) {
  DeviceProbe probe = sees("n1", 0, 4);
  if (rank() == ranks() - 1) probe.address = [](int) -> std::string { throw Error("who knows"); };
  const std::string where = ranks() == 1 ? "" : fmt::format(" (rank {} on host n1)", ranks() - 1);
  EXPECT_EQ(refusal(DeviceChoice::cuda, probe), "device = cuda: who knows" + where);
}

TEST(Devices, SumsOfTheCpuMeetInItsMemory) {
  EXPECT_FALSE(choose_reduction(AllReduce::automatic, {"cpu", 0}).is_on_device);
  EXPECT_EQ(choose_reduction(AllReduce::mpi, {"cpu", 0}).remark, "");
  EXPECT_THROW(choose_reduction(AllReduce::nccl, {"cpu", 0}), ConfigError);
}

TEST(Devices, SumsOfGpusMeetInTheirMemoryWhereTheBuildCan) {
  const bool can = !device_reduction_name().empty();
  EXPECT_EQ(choose_reduction(AllReduce::automatic, {"cuda", 0}).is_on_device, can);
  EXPECT_EQ(choose_reduction(AllReduce::automatic, {"cuda", 0}).remark.empty(), can);
  const ReductionChoice forced = choose_reduction(AllReduce::mpi, {"cuda", 0});
  EXPECT_FALSE(forced.is_on_device);
  EXPECT_EQ(forced.remark, "all-reduce = mpi");
  if (can)
    EXPECT_TRUE(choose_reduction(AllReduce::nccl, {"cuda", 0}).is_on_device);
  else
    EXPECT_THROW(choose_reduction(AllReduce::nccl, {"cuda", 0}), ConfigError);
}

}  // namespace
}  // namespace eggroll
