// Disks that are full, read-only, gone or damaged in the middle of a run: it goes on and comes to
// the parameters it would have had, or stops with exit code 1 and a checkpoint that is intact.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "common/files/checkpoint.hpp"
#include "common/files/checkpoint_folder.hpp"
#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

namespace fs = std::filesystem;

// Gives this process, and what it starts, mounts of its own that nobody else sees and that end with it.
bool has_own_mounts() {
  static const bool worked =
      unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  return worked;
}

#define NEEDS_MOUNTS()                                                                           \
  if (!has_own_mounts()) {                                                                       \
    std::cerr << "NOT TESTED: mounts of its own, as root or with CAP_SYS_ADMIN, are needed for " \
                 "disks that fail\n";                                                            \
    GTEST_SKIP() << "needs to mount: root, or CAP_SYS_ADMIN";                                    \
  }

class Storage : public testing::Test {
 protected:
  Storage() : data_(folder_.write("text", generated_text(30000)).string()) {
    fs::create_directory(folder_ / "store");
    fs::create_directory(disk());
  }
  ~Storage() override {
    while (umount2(disk().c_str(), MNT_DETACH) == 0) {
    }
    umount2((folder_ / "store").c_str(), MNT_DETACH);
  }

  fs::path disk() const { return folder_ / "disk"; }
  fs::path run() const { return disk() / "run"; }

  // A disk of its own, to be seen at disk().
  void attach() const {
    EXPECT_EQ(mount("tmpfs", (folder_ / "store").c_str(), "tmpfs", 0, "size=256m"), 0);
    bind();
  }
  void bind() const {
    EXPECT_EQ(mount((folder_ / "store").c_str(), disk().c_str(), nullptr, MS_BIND, nullptr), 0);
  }
  void fill() const {
    const int ballast =
        open((folder_ / "store/ballast").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    off_t size = 0;
    for (off_t piece : {off_t{1} << 24, off_t{1} << 20, off_t{1} << 12})
      while (fallocate(ballast, 0, size, piece) == 0) size += piece;
    close(ballast);
    EXPECT_GT(size, 0);
  }
  void make_room() const { fs::remove(folder_ / "store/ballast"); }

  std::string train(const std::string& more, size_t generations = 100000000,
                    const std::string& where = "disk/run") const {
    return "train --data " + data_ + " --run " + (folder_ / where).string() +
           " --layers 1 --width 64 --population 32 --tokens-per-update 4 --validate-every 0"
           " --digest-every 0 --threads 1 --generations " +
           std::to_string(generations) + " " + more +
           (more.find("--checkpoint-every") == std::string::npos ? " --checkpoint-every 50" : "");
  }
  size_t generation_of_newest() const { return inspect(run()).value("generation", size_t{0}); }
  bool has_partial_files() const {
    for (const std::string& name : listed(run()))
      if (name.ends_with(".partial")) return true;
    return false;
  }
  // A run that was never disturbed has the same parameters after as many generations.
  void expect_undisturbed_parameters() const {
    const size_t generation = generation_of_newest();
    fs::remove_all(folder_ / "undisturbed");
    expect_success(eggroll(train("--checkpoint-every 0", generation, "undisturbed")), 120);
    EXPECT_EQ(digest_of(run()), digest_of(folder_ / "undisturbed")) << generation;
    EXPECT_FALSE(has_partial_files());
  }
  void expect_undisturbed() const {
    expect_undisturbed_parameters();
    expect_records(run(), generation_of_newest());
  }
  // By a signal, with all on the disk.
  void expect_stops_well(RunningCommand& running) const {
    running.signal(SIGTERM);
    const CommandResult result = running.wait(60);
    EXPECT_FALSE(result.timed_out);
    EXPECT_TRUE(result.exit_code == 0 || result.exit_code == 75) << result.output;
    expect_undisturbed();
  }
  // The intact checkpoint that a failed run has left; it goes on from there. Records that could not
  // be written to the end are missing.
  void expect_goes_on_from(size_t at_least) const {
    const size_t kept = generation_of_newest();
    EXPECT_GE(kept, at_least);
    expect_success(eggroll("train --resume " + run().string() + " --generations " +
                           std::to_string(kept + 70)));
    EXPECT_EQ(generation_of_newest(), kept + 70);
    expect_undisturbed_parameters();
    uint64_t last = 0;
    for (const nlohmann::json& record : metrics_of(run())) {
      const uint64_t generation = record.value("generation", uint64_t{0});
      EXPECT_TRUE(generation == last + 1 || (generation > last && last <= kept)) << generation;
      last = generation;
    }
    EXPECT_EQ(last, kept + 70);
  }

  ScratchFolder folder_;
  std::string data_;
};

TEST_F(Storage, AFullDiskThatGetsRoomAgain) {
  NEEDS_MOUNTS();
  attach();
  RunningCommand running(eggroll(train("")));
  ASSERT_TRUE(reaches(run(), 60)) << running.wait(0).output;
  fill();
  EXPECT_TRUE(running.prints("No space left on device (failed once); the newest complete one is " +
                             run().string() + "/checkpoint-"));
  EXPECT_TRUE(running.prints("(failed 3 times in a row)"));
  EXPECT_TRUE(running.prints("metrics.jsonl: cannot write: No space left on device"));
  make_room();
  EXPECT_TRUE(running.prints(" is written, after checkpoints had failed "));
  EXPECT_TRUE(running.prints("metrics.jsonl: written again, with the "));
  expect_stops_well(running);
}

TEST_F(Storage, AFullDiskStopsARunThatIsToStopOnAllRanks) {
  NEEDS_MOUNTS();
  attach();
  RunningCommand running(mpirun(3, train("--on-storage-failure stop")));
  ASSERT_TRUE(reaches(run(), 60)) << running.wait(0).output;
  fill();
  const CommandResult result = running.wait(60);
  EXPECT_FALSE(result.timed_out) << result.output;
  EXPECT_EQ(result.exit_code, 1) << result.output;
  const std::vector<std::string> lines = lines_with(result.output, "eggroll: ");
  ASSERT_GE(lines.size(), 2u) << result.output;
  EXPECT_NE(lines.front().find("No space left on device"), std::string::npos) << lines.front();
  EXPECT_TRUE(lines.front().ends_with("; the run stops")) << lines.front();
  // An old checkpoint that was removed since may have left room for the last one.
  const bool found_room = lines.back().find(", as the disk had failed; ") != std::string::npos;
  EXPECT_TRUE(found_room ||
              lines.back().find("the last checkpoint cannot be written: ") != std::string::npos)
      << lines.back();
  EXPECT_FALSE(has_partial_files());
  make_room();
  expect_goes_on_from(50);
}

TEST_F(Storage, ALastCheckpointThatDoesNotFitIsAFailure) {
  NEEDS_MOUNTS();
  attach();
  RunningCommand running(mpirun(2, train("")));
  ASSERT_TRUE(reaches(run(), 60)) << running.wait(0).output;
  fill();
  EXPECT_TRUE(running.prints("No space left on device (failed once)"));
  const pid_t process = process_of(run(), 1);
  ASSERT_GT(process, 0);
  kill(process, SIGTERM);
  const CommandResult result = running.wait(60);
  EXPECT_EQ(result.exit_code, 1) << result.output;
  const size_t kept = generation_of_newest();
  const std::vector<std::string> lines = lines_with(result.output, "eggroll: ");
  EXPECT_NE(lines.back().find("; lost are generations " + std::to_string(kept + 1) + " to "),
            std::string::npos)
      << lines.back();
  EXPECT_NE(lines.back().find("the newest complete one is " + run().string() + "/checkpoint-"),
            std::string::npos);
  EXPECT_FALSE(has_partial_files());
  make_room();
  expect_goes_on_from(50);
}

// As an administrator or a worried kernel does it.
TEST_F(Storage, AFolderThatIsReadOnlyForAWhile) {
  NEEDS_MOUNTS();
  attach();
  RunningCommand running(eggroll(train("")));
  ASSERT_TRUE(reaches(run(), 60)) << running.wait(0).output;
  bind();  // over the first, as that one has files open for writing and stays as it is
  ASSERT_EQ(mount(nullptr, disk().c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr), 0);
  EXPECT_TRUE(running.prints("Read-only file system (failed 2 times in a row)"));
  EXPECT_EQ(umount2(disk().c_str(), MNT_DETACH), 0);
  EXPECT_TRUE(running.prints(" is written, after checkpoints had failed "));
  expect_stops_well(running);
}

TEST_F(Storage, AFileSystemThatGoesAwayAndComesBack) {
  NEEDS_MOUNTS();
  attach();
  RunningCommand running(eggroll(train("")));
  ASSERT_TRUE(reaches(run(), 60)) << running.wait(0).output;
  EXPECT_EQ(umount2(disk().c_str(), MNT_DETACH), 0);
  EXPECT_TRUE(running.prints(run().string() + ": the folder of the run is gone"));
  EXPECT_TRUE(running.prints("metrics.jsonl: cannot open: No such file or directory"));
  EXPECT_TRUE(fs::is_empty(disk()));  // nothing is written below it
  bind();
  EXPECT_TRUE(running.prints(" is written, after checkpoints had failed "));
  EXPECT_TRUE(running.prints("metrics.jsonl: written again"));
  expect_stops_well(running);
}

TEST_F(Storage, AFileSystemThatGoesAwayStopsARunThatIsToStop) {
  NEEDS_MOUNTS();
  attach();
  RunningCommand running(mpirun(2, train("--on-storage-failure stop")));
  ASSERT_TRUE(reaches(run(), 60)) << running.wait(0).output;
  EXPECT_EQ(umount2(disk().c_str(), MNT_DETACH), 0);
  const CommandResult result = running.wait(60);
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_EQ(lines_with(result.output, "eggroll: ").size(), 2u) << result.output;
  bind();
  // A file that was being written then is out of the run's reach, until it goes on.
  expect_goes_on_from(50);
}

TEST_F(Storage, AnOldCheckpointThatCannotBeRemovedIsSaidAndNoMore) {
  NEEDS_MOUNTS();
  attach();
  RunningCommand running(eggroll(train("")));
  ASSERT_TRUE(reaches(run(), 60)) << running.wait(0).output;
  // A name that something is mounted on stays. The newest may be gone before it is, and the first
  // may be late.
  fs::path held;
  for (int attempt = 0; attempt < 10000 && held.empty(); ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const std::vector<fs::path> files = list_checkpoints(run());
    if (!files.empty() &&
        mount(files.front().c_str(), files.front().c_str(), nullptr, MS_BIND, nullptr) == 0)
      held = files.front();
  }
  ASSERT_FALSE(held.empty());
  EXPECT_TRUE(running.prints(held.string() + ": cannot remove: Device or resource busy"));
  EXPECT_EQ(umount2(held.c_str(), MNT_DETACH), 0);
  expect_stops_well(running);
  EXPECT_EQ(list_checkpoints(run()).size(), 3u);
}

TEST_F(Storage, ALimitOnTheSizeOfFilesIsADiskThatIsFull) {
  RunningCommand running(eggroll(train("")));
  ASSERT_TRUE(reaches(run(), 60)) << running.wait(0).output;
  rlimit before;
  ASSERT_EQ(prlimit(running.pid(), RLIMIT_FSIZE, nullptr, &before), 0);
  const rlimit limit{10000, before.rlim_max};
  ASSERT_EQ(prlimit(running.pid(), RLIMIT_FSIZE, &limit, nullptr), 0);
  EXPECT_TRUE(running.prints("File too large (failed 2 times in a row)"));
  EXPECT_TRUE(running.prints("metrics.jsonl: cannot write: File too large"));
  ASSERT_EQ(prlimit(running.pid(), RLIMIT_FSIZE, &before, nullptr), 0);
  EXPECT_TRUE(running.prints(" is written, after checkpoints had failed "));
  expect_stops_well(running);
}

// What is said to people is lost then; the run does not depend on it.
TEST_F(Storage, ALogThatCannotBeWrittenEndsNoRun) {
  const std::string limit = "ulimit -f 14000; ";  // 7 MB: metrics fit, checkpoints do not
  const std::string big = "train --data " + data_ + " --run " + (folder_ / "log").string() +
                          " --layers 2 --width 256 --population 32 --tokens-per-update 4"
                          " --validate-every 0 --threads 1 --checkpoint-every 10 --generations 200";
  for (const std::string log : {" 2>&1", " 2>/dev/full", " >/dev/full 2>&1"}) {
    fs::remove_all(folder_ / "log");
    const CommandResult result = run_command(limit + eggroll(big) + log);
    EXPECT_EQ(result.exit_code, 1) << result.output;  // the last checkpoint is missing
    expect_records(folder_ / "log", 200);
    EXPECT_EQ(listed(folder_ / "log"),
              (std::vector<std::string>{"config.ini", "metrics.jsonl", "status.json", "summary"}));
  }
}

// A remark on what a run is resumed from.
TEST_F(Storage, ALogThatCannotBeWrittenKeepsNoRunFromGoingOn) {
  expect_success(eggroll(train("", 20, "log")));
  expect_success(eggroll("train --resume " + (folder_ / "log").string() + " --generations 30"));
  fs::resize_file(checkpoint_path(folder_ / "log", 30), 1000);
  expect_success(
      eggroll("train --resume " + (folder_ / "log").string() + " --generations 40 2>/dev/full"));
  expect_records(folder_ / "log", 40);
}

TEST_F(Storage, TheClockBringsCheckpointsAndTheMetricsSayWhatTheyCost) {
  RunningCommand running(eggroll(train("--checkpoint-every 0 --checkpoint-seconds 1")));
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (list_checkpoints(run()).size() < 2 && std::chrono::steady_clock::now() < limit)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  expect_stops_well(running);
  std::vector<size_t> begun, written;
  for (const nlohmann::json& record : metrics_of(run())) {
    const size_t generation = record.value("generation", size_t{0});
    if (record.value("checkpoint_s", 0.0) > 0) begun.push_back(generation);
    for (const nlohmann::json& checkpoint :
         record.value("checkpoints_written", nlohmann::json::array())) {
      written.push_back(checkpoint.value("generation", size_t{0}));
      EXPECT_LE(written.back(), generation);
      EXPECT_GT(checkpoint.value("write_s", 0.0), 0);
      EXPECT_GT(checkpoint.value("bytes", size_t{0}), 82240u);
    }
  }
  EXPECT_GE(begun.size(), 3u);
  EXPECT_EQ(begun, written);
}

// The newest is of a format to come, the one before has a wrong bit, the one before that an end
// too soon. They are passed over, do not count among those to keep, and are written anew.
TEST_F(Storage, CheckpointsThatAreDamagedOrTooNewArePassedOver) {
  // Each the last one of a run, so that none is late.
  expect_success(eggroll(train("--keep-checkpoints 4", 50)));
  for (int generations : {100, 150, 200})
    expect_success(eggroll("train --resume " + run().string() + " --generations " +
                           std::to_string(generations)));
  const fs::path newer = checkpoint_path(run(), 200), flipped = checkpoint_path(run(), 150),
                 cut = checkpoint_path(run(), 100);
  const hid_t file = H5Fopen(newer.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const hid_t version = H5Aopen(file, "format_version", H5P_DEFAULT);
  const uint64_t to_come = kCheckpointFormatVersion + 1;
  EXPECT_GE(H5Awrite(version, H5T_NATIVE_UINT64, &to_come), 0);
  H5Aclose(version);
  H5Fclose(file);
  std::string bytes = read_text(flipped);
  bytes[bytes.size() / 2] ^= 4;
  std::ofstream(flipped, std::ios::binary) << bytes;
  fs::resize_file(cut, fs::file_size(cut) / 2);

  const std::string output = expect_success(
      eggroll("train --keep-checkpoints 2 --generations 200 --resume " + run().string()));
  expect_success(
      eggroll("train --keep-checkpoints 2 --generations 230 --resume " + run().string()));
  const std::vector<std::string> lines = lines_with(output, "eggroll: passing over ");
  ASSERT_EQ(lines.size(), 3u) << output;
  EXPECT_EQ(lines[0], "eggroll: passing over " + newer.string() +
                          ": format_version 3, written by a newer eggroll; this one reads up to 2");
  EXPECT_NE(lines[1].find(flipped.string() + ": damaged"), std::string::npos) << lines[1];
  EXPECT_NE(lines[2].find(cut.string() + ": cannot read: truncated file"), std::string::npos);
  EXPECT_NE(output.find("resumed after generation 50"), std::string::npos) << output;
  EXPECT_EQ(list_checkpoints(run()), (std::vector<fs::path>{checkpoint_path(run(), 230), newer}));
  EXPECT_EQ(inspect(newer).value("generation", size_t{0}), 200u);  // written anew
  expect_undisturbed();

  // One that the user names is refused and not passed over.
  const hid_t again = H5Fopen(newer.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const hid_t attribute = H5Aopen(again, "format_version", H5P_DEFAULT);
  EXPECT_GE(H5Awrite(attribute, H5T_NATIVE_UINT64, &to_come), 0);
  H5Aclose(attribute);
  H5Fclose(again);
  const CommandResult refused = run_command(eggroll("train --resume " + newer.string()));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.output.find("written by a newer eggroll"), std::string::npos) << refused.output;
}

}  // namespace
}  // namespace eggroll::test
