// The rules of the rooms: who may include whom. common <- kernels <- worker <- coordinator, no two
// rooms that need each other, and no file that is too long to hold in mind without saying why.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kFloors = {"common", "kernels", "worker", "coordinator"};

struct Source {
  std::string path;  // from the root
  std::vector<std::string> includes;
  size_t lines = 0;
};

// A header and what implements it are one room: their path without an extension.
std::string room_of(const std::string& path) { return fs::path(path).replace_extension().string(); }

size_t floor_of(const std::string& path) {
  for (size_t i = 0; i < kFloors.size(); ++i)
    if (path.starts_with(kFloors[i] + "/")) return i;
  return kFloors.size();
}

std::vector<Source> sources() {
  std::vector<Source> found;
  for (const std::string& floor : kFloors)
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(EGGROLL_ROOT) / floor)) {
      if (!entry.is_regular_file()) continue;
      Source source{fs::relative(entry.path(), EGGROLL_ROOT).string(), {}};
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line); ++source.lines)
        if (line.starts_with("#include \""))
          source.includes.push_back(line.substr(10, line.find('"', 10) - 10));
      found.push_back(std::move(source));
    }
  return found;
}

TEST(Rooms, AreThere) {
  std::set<size_t> floors;
  for (const Source& source : sources()) floors.insert(floor_of(source.path));
  EXPECT_EQ(floors, (std::set<size_t>{0, 1, 2, 3}));
}

TEST(Rooms, IncludeWhatIsThereByItsPathFromTheRoot) {
  for (const Source& source : sources())
    for (const std::string& include : source.includes)
      EXPECT_TRUE(fs::exists(fs::path(EGGROLL_ROOT) / include)) << source.path << ": " << include;
}

TEST(Rooms, LookDownOnly) {
  for (const Source& source : sources())
    for (const std::string& include : source.includes)
      EXPECT_LE(floor_of(include), floor_of(source.path)) << source.path << " includes " << include;
}

TEST(Rooms, WhatKernelsUseOfCommonNeedsTheStandardLibraryAlone) {
  for (const Source& source : sources()) {
    if (!source.path.starts_with("kernels/")) continue;
    for (const std::string& include : source.includes)
      EXPECT_FALSE(include.starts_with("common/messages/") || include.starts_with("common/files/"))
          << source.path << " includes " << include;
  }
}

// So that what cannot be written there is an error of a result, and none of a run (common/output.hpp).
TEST(Rooms, PrintInOnePlace) {
  for (const Source& source : sources()) {
    if (source.path == "common/output.cpp") continue;
    std::ifstream file(fs::path(EGGROLL_ROOT) / source.path);
    for (std::string line; std::getline(file, line);)
      for (const char* way :
           {"fmt::print", "std::printf", "std::fprintf", "std::puts", "std::fputs", "std::fputc",
            "std::fwrite", "std::cout", "std::cerr", "std::clog"})
        EXPECT_EQ(line.find(way), std::string::npos) << source.path << ": " << line;
  }
}

TEST(Rooms, DoNotGoInCircles) {
  std::map<std::string, std::set<std::string>> needs;
  for (const Source& source : sources())
    for (const std::string& include : source.includes)
      if (room_of(include) != room_of(source.path))
        needs[room_of(source.path)].insert(room_of(include));
  enum class Mark { none, open, closed };
  std::map<std::string, Mark> marks;
  std::vector<std::string> way;
  const std::function<void(const std::string&)> visit = [&](const std::string& room) {
    if (marks[room] == Mark::closed) return;
    way.push_back(room);
    if (marks[room] == Mark::open) {
      std::string circle;
      for (const std::string& each : way) circle += each + " -> ";
      ADD_FAILURE() << circle;
    } else {
      marks[room] = Mark::open;
      for (const std::string& next : needs[room]) visit(next);
      marks[room] = Mark::closed;
    }
    way.pop_back();
  };
  for (const Source& source : sources()) visit(room_of(source.path));
}

TEST(Rooms, AreSmall) {
  for (const Source& source : sources()) {
    if (source.path.ends_with(".hpp")) {
      EXPECT_LE(source.lines, 420u) << source.path;
    }
    EXPECT_LE(source.lines, 520u) << source.path;
  }
}

}  // namespace
