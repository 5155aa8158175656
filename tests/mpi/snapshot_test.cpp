// A checkpoint holds the same whoever wrote it, and any number of ranks goes on from it.
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/files/hdf5_file.hpp"
#include "coordinator/records/snapshots.hpp"
#include "tests/support/mpi_world.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/solo_collectives.hpp"

namespace eggroll {
namespace {

using test::mpi_world;
using test::SmallRun;
using test::SoloCollectives;

class Snapshot : public testing::Test {
 protected:
  Snapshot() : config_(test::small_config(folder_.write("text", test::generated_text(6000)))) {
    config_.run = folder_.path();
  }

  bool is_rank_0() const { return mpi_world().rank() == 0; }
  std::filesystem::path written(uint64_t generation) const {
    return checkpoint_path(folder_.path(), generation);
  }
  static std::string content_hash(const std::filesystem::path& path) {
    return hdf5::File::open(path).text("content_xxh3").value_or("none");
  }
  // The reader is rank 0's alone.
  void load(SmallRun& run, const std::filesystem::path& path) const {
    std::optional<CheckpointReader> reader;
    if (is_rank_0()) reader.emplace(path);
    run.load(reader ? &*reader : nullptr);
  }

  test::ScratchFolder folder_;  // of this rank; the run writes to rank 0's
  RunConfig config_;
};

TEST_F(Snapshot, HoldsTheSameFromAnyNumberOfRanks) {
  for (Carry carry : {Carry::own, Carry::pair, Carry::reset})
    for (UpdateRule update : {UpdateRule::threshold, UpdateRule::sigma_delta}) {
      config_.carry = carry;
      config_.update = update;
      SmallRun together(config_, mpi_world());
      together.steps(3);
      together.write();
      if (!is_rank_0()) continue;
      const std::string hash = content_hash(written(3));
      CheckpointReader(written(3)).verify();
      EXPECT_EQ(CheckpointReader(written(3)).header().parameters_digest, together.digest());
      std::filesystem::remove(written(3));
      SoloCollectives solo;
      SmallRun alone(config_, solo);
      alone.steps(3);
      alone.write();
      EXPECT_EQ(hash, content_hash(written(3)));
      EXPECT_EQ(hash.size(), 16u);
    }
}

TEST_F(Snapshot, AnyNumberOfRanksGoesOnFromAFileOfOneRankAndBack) {
  for (Carry carry : {Carry::own, Carry::pair, Carry::reset})
    for (UpdateRule update : {UpdateRule::threshold, UpdateRule::sigma_delta}) {
      config_.carry = carry;
      config_.update = update;
      SoloCollectives solo;
      SmallRun undisturbed(config_, solo), first_part(config_, solo);
      undisturbed.steps(7);
      first_part.steps(3);
      first_part.write();  // on each rank, into its own folder

      SmallRun second_part(config_, mpi_world());  // into rank 0's
      load(second_part, written(3));
      EXPECT_EQ(second_part.position().generation, 3u);
      second_part.steps(2);
      second_part.write();

      if (!is_rank_0()) {
        second_part.steps(2);
        EXPECT_EQ(second_part.digest(), undisturbed.digest());
        continue;
      }
      SmallRun third_part(config_, solo);
      const CheckpointReader reader(written(5));
      reader.verify();
      third_part.load(&reader);
      EXPECT_EQ(third_part.position().generation, 5u);
      EXPECT_EQ(third_part.position().data_position, second_part.position().data_position);
      third_part.steps(2);
      second_part.steps(2);
      EXPECT_EQ(third_part.digest(), undisturbed.digest());
      EXPECT_EQ(second_part.digest(), undisturbed.digest());
    }
}

// More than the slices in which states travel: several of one rank, and ends that do not fall
// together.
TEST_F(Snapshot, StatesOfAHugePopulationComeBackToTheirMembers) {
  config_.population = 2 * 302345;
  config_.group_size = 2 * 302345;
  config_.tokens_per_update = 1;
  config_.carry = Carry::own;
  config_.update = UpdateRule::threshold;
  constexpr size_t kBytes = 64;
  const PairRange mine = pairs_of_rank(config_.pairs(), mpi_world().rank(), mpi_world().size());
  const auto value = [](uint64_t member, size_t i) {
    return static_cast<int8_t>(static_cast<int>((member * 2654435761u + 7 * i) % 255) - 127);
  };
  const auto states_of = [&](uint64_t first, uint64_t members) {
    std::vector<int8_t> states(members * kBytes);
    for (uint64_t m = 0; m < members; ++m)
      for (size_t i = 0; i < kBytes; ++i) states[m * kBytes + i] = value(first + m, i);
    return states;
  };
  const std::vector<int8_t> expected = states_of(2 * mine.first, 2 * mine.count);
  SmallRun written_run(config_, mpi_world());
  written_run.task().backend().write_states(0, expected);
  written_run.write();
  if (is_rank_0()) {
    const CheckpointReader reader(written(0));
    reader.verify();
    EXPECT_EQ(reader.header().state_slots, config_.population);
    std::vector<int8_t> states(config_.population * kBytes);
    reader.read_states(0, states, config_.shape());
    EXPECT_TRUE(states == states_of(0, config_.population));
  }
  SmallRun loaded(config_, mpi_world());
  load(loaded, written(0));
  std::vector<int8_t> states(expected.size());
  loaded.task().backend().read_states(0, states);
  EXPECT_TRUE(states == expected);
}

// The generations that run while the disk is at work change nothing of what it gets.
TEST_F(Snapshot, HoldsTheRunAsItWasWhenItBegan) {
  config_.keep_checkpoints = 100;
  SmallRun run(config_, mpi_world());
  std::optional<SnapshotWriter> writer;
  if (is_rank_0()) writer.emplace(snapshot_settings(config_));
  std::vector<std::string> digests;
  for (int i = 0; i < 5; ++i) {
    run.steps(2);
    digests.push_back(run.digest());
    start_snapshot(config_, mpi_world(), run.task(), run.position(), writer ? &*writer : nullptr);
  }
  run.steps(2);
  if (!writer) return;
  writer->wait();
  EXPECT_EQ(writer->take_outcomes().size(), 5u);
  for (uint64_t i = 0; i < 5; ++i) {
    const CheckpointReader reader(written(2 * i + 2));
    reader.verify();
    EXPECT_EQ(reader.header().parameters_digest, digests[i]);
  }
}

// Rank 0 of two, of which the other is lost when its states should come.
class LosesTheOther : public SoloCollectives {
 public:
  int size() const override { return 2; }
  void gather(std::span<const std::byte>, std::span<const size_t>, std::span<std::byte>) override {
    throw Error("rank 1 is lost");
  }
};

TEST_F(Snapshot, ARankLostOnTheWayLeavesNoFileAndAWriterOfUse) {
  LosesTheOther two;
  SoloCollectives solo;
  SmallRun broken(config_, two), run(config_, solo);
  SnapshotWriter writer(snapshot_settings(config_));
  EXPECT_THROW(start_snapshot(config_, two, broken.task(), {1, 0}, &writer), Error);
  start_snapshot(config_, solo, run.task(), {2, 0}, &writer);
  writer.wait();
  EXPECT_EQ(writer.take_outcomes().size(), 1u);
  EXPECT_EQ(list_checkpoints(folder_.path()), std::vector<std::filesystem::path>{written(2)});
  EXPECT_FALSE(std::filesystem::exists(written(1).string() + ".partial"));
}

TEST_F(Snapshot, OnlyTheNewestAreKept) {
  config_.keep_checkpoints = 2;
  SmallRun run(config_, mpi_world());
  for (int g = 0; g < 4; ++g) {
    run.step();
    run.write();
  }
  if (!is_rank_0()) return;
  EXPECT_EQ(list_checkpoints(folder_.path()),
            (std::vector<std::filesystem::path>{written(4), written(3)}));
}

}  // namespace
}  // namespace eggroll
