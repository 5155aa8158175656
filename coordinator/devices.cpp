#include "coordinator/devices.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "common/check.hpp"

namespace eggroll {
namespace {

// Text of a message between ranks, cut to fit.
template <size_t N>
struct Text {
  std::array<char, N> characters{};  // ends with zeros
  Text() = default;
  explicit Text(std::string_view text) {
    std::memcpy(characters.data(), text.data(), std::min(text.size(), N - 1));
  }
  std::string str() const { return characters.data(); }
};

// What a rank sees, for all to know.
struct VisibleDevices {
  Text<64> host;
  int32_t count = 0;
  int32_t is_in_build = 0;
  Text<256> why_none;
};

// The GPU that a rank takes.
struct TakenDevice {
  Text<64> address;
  Text<256> error;
};

template <typename T>
std::vector<T> of_all_ranks(Collectives& group, const T& mine) {
  std::vector<T> all(static_cast<size_t>(group.size()));
  group.all_gather(bytes_of(mine), bytes_of(all));
  return all;
}

VisibleDevices look(const DeviceProbe& probe) {
  const cuda::Devices devices = probe.visible();
  return {Text<64>(probe.host), devices.count, devices.is_in_build, Text<256>(devices.why_none)};
}

const char* name_of(DeviceChoice wanted) {
  return wanted == DeviceChoice::cuda ? "cuda" : wanted == DeviceChoice::cpu ? "cpu" : "auto";
}

// " (rank 2 on host n2)"; nothing where there is one rank only.
std::string rank_text(const std::vector<VisibleDevices>& ranks, size_t rank) {
  return ranks.size() == 1 ? ""
                           : fmt::format(" (rank {} on host {})", rank, ranks[rank].host.str());
}

// The same on every rank, as all of them know what each sees.
bool computes_on_gpus(DeviceChoice wanted, const std::vector<VisibleDevices>& ranks) {
  if (wanted == DeviceChoice::cpu) return false;
  const auto without = std::ranges::find(ranks, 0, &VisibleDevices::count);
  if (without == ranks.end()) return true;
  const auto place = static_cast<size_t>(without - ranks.begin());
  if (wanted == DeviceChoice::cuda)
    throw ConfigError(
        fmt::format("device = cuda: {}{}", without->why_none.str(), rank_text(ranks, place)));
  const auto with =
      std::ranges::find_if(ranks, [](const VisibleDevices& s) { return s.count > 0; });
  if (with == ranks.end()) return false;
  throw ConfigError(
      fmt::format("device = auto: rank {} on host {} sees {} GPU{}, rank {} on host {} sees none: "
                  "{}; give each "
                  "rank a GPU, or all the CPU with --device cpu",
                  with - ranks.begin(), with->host.str(), with->count, with->count == 1 ? "" : "s",
                  place, without->host.str(), without->why_none.str()));
}

// Each of the ranks on a host has a GPU of its own.
void check_taken(DeviceChoice wanted, const std::vector<VisibleDevices>& ranks,
                 const std::vector<TakenDevice>& taken) {
  for (size_t r = 0; r < ranks.size(); ++r)
    if (const std::string error = taken[r].error.str(); !error.empty())
      throw ConfigError(
          fmt::format("device = {}: {}{}", name_of(wanted), error, rank_text(ranks, r)));
  for (const VisibleDevices& rank : ranks) {
    const std::string host = rank.host.str();
    std::set<std::string> addresses;
    size_t here = 0;
    for (size_t r = 0; r < ranks.size(); ++r)
      if (ranks[r].host.str() == host) {
        ++here;
        addresses.insert(taken[r].address.str());
      }
    if (addresses.size() == here) continue;
    throw ConfigError(fmt::format(
        "device = {}: host {}: {} ranks, {} GPU{} visible: a GPU takes one rank; start "
        "{} there (mpirun --map-by ppr:{}:node), or let the launcher show each rank one "
        "of its own (srun --gpus-per-task=1)",
        name_of(wanted), host, here, addresses.size(), addresses.size() == 1 ? "" : "s",
        addresses.size(), addresses.size()));
  }
}

}  // namespace

DeviceProbe probe_of_this_process() {
  return {host_name(), cuda::visible_devices, cuda::device_address};
}

ChosenDevice choose_device(DeviceChoice wanted, Collectives& group, const DeviceProbe& probe) {
  if (wanted == DeviceChoice::cpu) return {};
  const std::vector<VisibleDevices> ranks = of_all_ranks(group, look(probe));
  const VisibleDevices& mine = ranks[static_cast<size_t>(group.rank())];
  if (!computes_on_gpus(wanted, ranks))
    return {{}, mine.is_in_build ? "device = auto: cpu, as " + mine.why_none.str() : ""};

  const auto lower_here = std::count_if(
      ranks.begin(), ranks.begin() + group.rank(),
      [&](const VisibleDevices& other) { return other.host.characters == mine.host.characters; });
  const ComputeDevice device{"cuda", static_cast<int>(lower_here) % mine.count};
  TakenDevice mine_taken;
  try {
    mine_taken.address = Text<64>(probe.address(device.index));
  } catch (const std::exception& e) {
    mine_taken.error = Text<256>(e.what());
  }
  check_taken(wanted, ranks, of_all_ranks(group, mine_taken));
  return {device, ""};
}

ComputeDevice choose_device(DeviceChoice wanted) {
  if (!computes_on_gpus(wanted, {look(probe_of_this_process())})) return {};
  return {"cuda", 0};
}

ReductionChoice choose_reduction(AllReduce wanted, const ComputeDevice& device) {
  const bool is_in_build = !device_reduction_name().empty();
  if (wanted == AllReduce::nccl && !is_in_build)
    throw ConfigError(
        "all-reduce = nccl: this program is built without NCCL; allowed are auto, mpi");
  if (wanted == AllReduce::nccl && device.name != "cuda")
    throw ConfigError(fmt::format(
        "all-reduce = nccl: adds up in the memory of GPUs, and device = {}; allowed are auto, mpi",
        device.name));
  if (device.name != "cuda") return {};
  if (wanted == AllReduce::mpi) return {false, "all-reduce = mpi"};
  if (!is_in_build) return {false, "this program is built without NCCL"};
  return {true, ""};
}

}  // namespace eggroll
