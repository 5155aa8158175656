// A checkpoint holds the same whoever wrote it, and any number of ranks goes on from it.
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/files/checkpoint_folder.hpp"
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
  Snapshot()
      : values_(test::small_values(folder_.write("text", test::generated_text(6000)).string())) {
    values_["run"] = folder_.path().string();
  }
  RunConfig config() const { return test::config_of(values_); }

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
  test::ConfigValues values_;
};

TEST_F(Snapshot, HoldsTheSameFromAnyNumberOfRanks) {
  for (const char* carry : {"own", "pair", "reset"})
    for (const char* update : {"threshold", "sigma-delta"}) {
      values_["carry"] = carry;
      values_["update"] = update;
      SmallRun together(config(), mpi_world());
      together.steps(3);
      together.write();
      if (!is_rank_0()) continue;
      const std::string hash = content_hash(written(3));
      CheckpointReader(written(3)).verify();
      EXPECT_EQ(CheckpointReader(written(3)).header().parameters_digest, together.digest());
      std::filesystem::remove(written(3));
      SoloCollectives solo;
      SmallRun alone(config(), solo);
      alone.steps(3);
      alone.write();
      EXPECT_EQ(hash, content_hash(written(3)));
      EXPECT_EQ(hash.size(), 16u);
    }
}

TEST_F(Snapshot, AnyNumberOfRanksGoesOnFromAFileOfOneRankAndBack) {
  for (const char* carry : {"own", "pair", "reset"})
    for (const char* update : {"threshold", "sigma-delta"}) {
      values_["carry"] = carry;
      values_["update"] = update;
      SoloCollectives solo;
      SmallRun undisturbed(config(), solo), first_part(config(), solo);
      undisturbed.steps(7);
      first_part.steps(3);
      first_part.write();  // on each rank, into its own folder

      SmallRun second_part(config(), mpi_world());  // into rank 0's
      load(second_part, written(3));
      EXPECT_EQ(second_part.generation(), 3u);
      second_part.steps(2);
      second_part.write();

      if (!is_rank_0()) {
        second_part.steps(2);
        EXPECT_EQ(second_part.digest(), undisturbed.digest());
        continue;
      }
      SmallRun third_part(config(), solo);
      const CheckpointReader reader(written(5));
      reader.verify();
      third_part.load(&reader);
      EXPECT_EQ(third_part.generation(), 5u);
      third_part.steps(2);
      second_part.steps(2);
      EXPECT_EQ(third_part.digest(), undisturbed.digest());
      EXPECT_EQ(second_part.digest(), undisturbed.digest());
    }
}

// More than the slices in which states travel: several of one rank, and ends that do not fall together.
TEST_F(Snapshot, StatesOfAHugePopulationComeBackToTheirMembers) {
  values_["population"] = values_["group-size"] = std::to_string(2 * 302345);
  values_["tokens-per-update"] = "1";
  values_["carry"] = "own";
  values_["update"] = "threshold";
  constexpr size_t kBytes = 64;
  const uint64_t population = config().population;
  const PairRange mine = pairs_of_rank(population / 2, mpi_world().rank(), mpi_world().size());
  const auto value = [](uint64_t member, size_t i) {
    return static_cast<std::byte>(static_cast<int>((member * 2654435761u + 7 * i) % 255) - 127);
  };
  const auto states_of = [&](uint64_t first, uint64_t members) {
    std::vector<std::byte> states(members * kBytes);
    for (uint64_t m = 0; m < members; ++m)
      for (size_t i = 0; i < kBytes; ++i) states[m * kBytes + i] = value(first + m, i);
    return states;
  };
  const std::vector<std::byte> expected = states_of(2 * mine.first, 2 * mine.count);
  SmallRun written_run(config(), mpi_world());
  written_run.task().carried()->write(0, expected);
  written_run.write();
  if (is_rank_0()) {
    const CheckpointReader reader(written(0));
    reader.verify();
    EXPECT_EQ(reader.header().state_slots, population);
    std::vector<std::byte> states(population * kBytes);
    reader.read_states(0, states);
    EXPECT_TRUE(states == states_of(0, population));
  }
  SmallRun loaded(config(), mpi_world());
  load(loaded, written(0));
  std::vector<std::byte> states(expected.size());
  loaded.task().carried()->read(0, states);
  EXPECT_TRUE(states == expected);
}

// The generations that run while the disk is at work change nothing of what it gets.
TEST_F(Snapshot, HoldsTheRunAsItWasWhenItBegan) {
  values_["keep-checkpoints"] = "100";
  SmallRun run(config(), mpi_world());
  std::optional<SnapshotWriter> writer;
  if (is_rank_0())
    writer.emplace(SnapshotWriterSettings{.run = folder_.path(), .keep_checkpoints = 100});
  std::vector<std::string> digests;
  for (int i = 0; i < 5; ++i) {
    run.steps(2);
    digests.push_back(run.digest());
    run.start_write(writer ? &*writer : nullptr);
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
  SmallRun broken(config(), two), run(config(), solo);
  run.steps(2);
  SnapshotWriter writer({.run = folder_.path(), .keep_checkpoints = 3});
  EXPECT_THROW(broken.start_write(&writer), Error);
  run.start_write(&writer);
  writer.wait();
  EXPECT_EQ(writer.take_outcomes().size(), 1u);
  EXPECT_EQ(list_checkpoints(folder_.path()), std::vector<std::filesystem::path>{written(2)});
  EXPECT_FALSE(std::filesystem::exists(written(0).string() + ".partial"));
}

TEST_F(Snapshot, OnlyTheNewestAreKept) {
  values_["keep-checkpoints"] = "2";
  SmallRun run(config(), mpi_world());
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
