// A group of one rank beside MPI: what a run on many ranks is compared with, in the same process.
#pragma once

#include <algorithm>
#include <memory>

#include "common/check.hpp"
#include "common/messages/collectives.hpp"

namespace eggroll::test {

class SoloCollectives : public Collectives {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int ranks_on_this_node() const override { return 1; }
  void broadcast(std::span<std::byte>) override {}
  void gather(std::span<const std::byte> mine, std::span<const size_t> counts,
              std::span<std::byte> all) override {
    copy(mine, counts, all);
  }
  void scatter(std::span<const std::byte> all, std::span<const size_t> counts,
               std::span<std::byte> mine) override {
    copy(all, counts, mine);
  }
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    require(mine.size() == all.size(), "one rank's bytes");
    std::ranges::copy(mine, all.begin());
  }
  void shift(std::span<const std::byte> mine, int, std::span<std::byte> arrived) override {
    require(mine.size() == arrived.size(), "one rank's bytes");
    std::ranges::copy(mine, arrived.begin());
  }
  void barrier() override {}
  void post(int, std::span<const std::byte>) override { require(false, "another rank"); }
  std::optional<Mail> collect() override { return std::nullopt; }
  std::unique_ptr<Pending> start_all_reduce_sum(std::span<int32_t>) override { return done(); }
  std::unique_ptr<Pending> start_all_reduce_sum(std::span<int64_t>) override { return done(); }
  std::unique_ptr<Pending> start_reduce_scatter_sum(std::span<int32_t>) override { return done(); }
  std::unique_ptr<Pending> start_reduce_scatter_sum(std::span<int64_t>) override { return done(); }
  std::unique_ptr<Pending> start_all_gather(std::span<int8_t>) override { return done(); }
  std::unique_ptr<Pending> start_all_gather(std::span<int32_t>) override { return done(); }

 private:
  struct Done final : Pending {
    bool test() override { return true; }
  };
  static std::unique_ptr<Pending> done() { return std::make_unique<Done>(); }
  static void copy(std::span<const std::byte> from, std::span<const size_t> counts,
                   std::span<std::byte> to) {
    require(counts.size() == 1 && counts[0] == from.size() && from.size() == to.size(),
            "one rank's bytes");
    std::ranges::copy(from, to.begin());
  }
};

}  // namespace eggroll::test
