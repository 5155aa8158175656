#include "worker/control/animation.hpp"

#include <gif_lib.h>
#include <gtest/gtest.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/check.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

constexpr Colour kWhite = {255, 255, 255}, kRed = {200, 0, 0}, kBlue = {0, 0, 100};

bool is_same(const Picture& a, const Picture& b) {
  return std::ranges::equal(a.pixels, b.pixels, [](const Colour& one, const Colour& other) {
    return one.red == other.red && one.green == other.green && one.blue == other.blue;
  });
}
void expect_colour(const Colour& found, const Colour& expected, int tolerance = 0) {
  EXPECT_NEAR(found.red, expected.red, tolerance);
  EXPECT_NEAR(found.green, expected.green, tolerance);
  EXPECT_NEAR(found.blue, expected.blue, tolerance);
}

// How many pixels' worth of red is on white.
double area(const Picture& picture) {
  double sum = 0;
  for (const Colour& pixel : picture.pixels) sum += (255 - pixel.green) / 255.0;
  return sum;
}

TEST(Picture, ShowsWhatIsWantedInTheMiddleAndKeepsLengths) {
  Drawing drawing{.centre = {5, 1}, .width = 4, .height = 2};
  drawing.polygon({{3, 0}, {7, 0}, {7, 2}, {3, 2}}, kRed);  // all that is wanted
  const Picture wide = picture_of(drawing, 80, 20);         // ten pixels a unit
  for (uint32_t x = 0; x < 80; ++x)
    expect_colour(wide.at(x, 10), x < 20 || x >= 60 ? kWhite : kRed);
  const Picture high = picture_of(drawing, 40, 60);
  for (uint32_t y = 0; y < 60; ++y)
    expect_colour(high.at(20, y), y < 20 || y >= 40 ? kWhite : kRed);
}

TEST(Picture, HasUpAtTheTopAndLaterFiguresOverEarlierOnes) {
  Drawing drawing{.width = 10, .height = 10, .background = kBlue};
  drawing.polygon({{-5, 0}, {5, 0}, {5, 5}, {-5, 5}}, kWhite);
  drawing.disc({3, 3}, 1, kRed);
  const Picture picture = picture_of(drawing, 100, 100);
  expect_colour(picture.at(50, 25), kWhite);
  expect_colour(picture.at(50, 75), kBlue);
  expect_colour(picture.at(80, 20), kRed);
  expect_colour(picture.at(20, 20), kWhite);
}

TEST(Picture, CoversEdgesInPart) {
  Drawing drawing{.width = 10, .height = 10};
  drawing.polygon({{-2.25, -2.5}, {1.5, -2.5}, {1.5, 3}, {-2.25, 3}}, kRed);
  const Picture picture = picture_of(drawing, 10, 10);
  expect_colour(picture.at(2, 4), {241, 191, 191}, 1);  // a quarter
  expect_colour(picture.at(6, 4), {227, 127, 127}, 1);  // a half
  expect_colour(picture.at(4, 7), {227, 127, 127}, 1);
  expect_colour(picture.at(4, 4), kRed);
  EXPECT_NEAR(area(picture), 3.75 * 5.5, 0.1);
}

TEST(Picture, GivesFiguresTheirArea) {
  for (const double turned : {0.0, 0.3, 1.0, 2.5}) {
    const double c = std::cos(turned), s = std::sin(turned);
    Drawing box{.width = 100, .height = 100}, line = box, disc = box;
    box.polygon({{30 * c - 10 * s, 30 * s + 10 * c},
                 {-30 * c - 10 * s, -30 * s + 10 * c},
                 {-30 * c + 10 * s, -30 * s - 10 * c},
                 {30 * c + 10 * s, 30 * s - 10 * c}},
                kRed);
    EXPECT_NEAR(area(picture_of(box, 100, 100)), 60 * 20, 8);
    line.stroke({30 * c, 30 * s}, {-30 * c, -30 * s}, 8, kRed);
    EXPECT_NEAR(area(picture_of(line, 100, 100)), 60 * 8 + 16 * 3.1416, 5);
    disc.disc({c, s}, 20, kRed);
    EXPECT_NEAR(area(picture_of(disc, 100, 100)), 400 * 3.1416, 8);
  }
  Drawing thin{.width = 100, .height = 100};  // lines below a pixel fade and do not vanish
  thin.stroke({-40, 0.5}, {40, 0.5}, 0.25, kRed);
  EXPECT_NEAR(area(picture_of(thin, 100, 100)), 80 * 0.25, 6);
}

TEST(Picture, LeavesOutWhatIsNotFiniteOrOutside) {
  Drawing drawing{.width = 2, .height = 2};
  for (const double odd : {std::numeric_limits<double>::quiet_NaN(), HUGE_VAL, -HUGE_VAL}) {
    drawing.polygon({{0, 0}, {odd, 0}, {0, 1}}, kRed);
    drawing.stroke({0, odd}, {0, 0}, 1, kRed);
    drawing.stroke({0, 0}, {0, 0}, odd, kRed);
  }
  drawing.polygon({{0, 0}, {1, 0}}, kRed);
  drawing.polygon({{5, 5}, {6, 5}, {6, 6}}, kRed);
  drawing.disc({-1e200, 3}, 1, kRed);
  EXPECT_EQ(area(picture_of(drawing, 30, 30)), 0);
  drawing.polygon({{-1e300, -1e300}, {1e300, -1e300}, {1e300, 1e300}, {-1e300, 1e300}}, kBlue);
  expect_colour(picture_of(drawing, 30, 30).at(15, 15), kBlue);
}

// A disc that goes from the left to the right, over a background of many colours if asked for.
Picture frame(int number, bool is_colourful = false) {
  Drawing drawing{.width = 60, .height = 40};
  drawing.disc({-20 + 10.0 * number, 0}, 6, kRed);
  Picture picture = picture_of(drawing, 60, 40);
  if (is_colourful)
    for (uint32_t i = 0; i < 60 * 10; ++i)
      picture.pixels[i] = {static_cast<uint8_t>(i / 60 * 25), static_cast<uint8_t>(i % 60 * 4), 9};
  return picture;
}

struct Gif {
  int width = 0, height = 0;
  std::vector<Picture> frames;  // as they are seen
  std::vector<int> delays;
};

Gif read_gif(const std::string& path) {
  int error = 0;
  GifFileType* file = DGifOpenFileName(path.c_str(), &error);
  if (file == nullptr || DGifSlurp(file) == GIF_ERROR) throw Error("cannot read " + path);
  Gif gif{file->SWidth, file->SHeight, {}, {}};
  Picture seen = {static_cast<uint32_t>(gif.width), static_cast<uint32_t>(gif.height), {}};
  seen.pixels.resize(size_t{seen.width} * seen.height);
  for (int i = 0; i < file->ImageCount; ++i) {
    const SavedImage& image = file->SavedImages[i];
    const GifImageDesc& place = image.ImageDesc;
    for (int y = 0; y < place.Height; ++y)
      for (int x = 0; x < place.Width; ++x) {
        const auto [red, green, blue] =
            place.ColorMap->Colors[image.RasterBits[y * place.Width + x]];
        seen.pixels[static_cast<size_t>((place.Top + y) * gif.width + place.Left + x)] = {
            red, green, blue};
      }
    gif.frames.push_back(seen);
    GraphicsControlBlock control;
    if (DGifSavedExtensionToGCB(file, i, &control) == GIF_OK)
      gif.delays.push_back(control.DelayTime);
  }
  DGifCloseFile(file, &error);
  return gif;
}

Picture read_png(const std::string& path) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_file(&image, path.c_str()) == 0) throw Error("cannot read " + path);
  image.format = PNG_FORMAT_RGB;
  Picture picture = {image.width, image.height, std::vector<Colour>(image.width * image.height)};
  png_image_finish_read(&image, nullptr, picture.pixels.data(), 0, nullptr);
  return picture;
}

TEST(Animation, OfFewColoursIsExactInAGif) {
  const test::ScratchFolder folder;
  const std::string path = (folder / "moves.gif").string();
  Animation animation(path, 60, 40, 30);
  for (int i = 0; i < 5; ++i) animation.add(frame(i));
  animation.add(frame(4));  // nothing moves
  animation.finish();
  const Gif gif = read_gif(path);
  EXPECT_EQ(gif.width, 60);
  EXPECT_EQ(gif.height, 40);
  ASSERT_EQ(gif.frames.size(), 6u);
  for (int i = 0; i < 6; ++i)
    EXPECT_TRUE(is_same(gif.frames[static_cast<size_t>(i)], frame(std::min(i, 4)))) << i;
  EXPECT_EQ(gif.delays, (std::vector<int>{3, 4, 3, 3, 4, 3}));  // 20 hundredths in all
  EXPECT_GT(std::filesystem::status(path).permissions() & std::filesystem::perms::owner_read,
            std::filesystem::perms::none);
}

TEST(Animation, OfManyColoursIsCloseInAGifAndExactWhereMostPixelsAre) {
  const test::ScratchFolder folder;
  const std::string path = (folder / "colours.gif").string();
  Animation animation(path, 60, 40, 50);
  for (int i = 0; i < 3; ++i) animation.add(frame(i, true));
  animation.finish();
  const Gif gif = read_gif(path);
  ASSERT_EQ(gif.frames.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    const Picture expected = frame(i, true);
    const Picture& found = gif.frames[static_cast<size_t>(i)];
    expect_colour(found.at(10 + 10 * static_cast<uint32_t>(i), 20), kRed);
    expect_colour(found.at(3, 35), kWhite);
    for (uint32_t y = 0; y < 40; ++y)
      for (uint32_t x = 0; x < 60; ++x) expect_colour(found.at(x, y), expected.at(x, y), 55);
  }
  EXPECT_EQ(gif.delays, (std::vector<int>{2, 2, 2}));
}

TEST(Animation, IsAPngForEachFrame) {
  const test::ScratchFolder folder;
  Animation animation((folder / "a.b.png").string(), 60, 40, 1000);
  for (int i = 0; i < 3; ++i) animation.add(frame(i, true));
  animation.finish();
  for (int i = 0; i < 3; ++i) {
    const Picture picture = read_png((folder / ("a.b-0000" + std::to_string(i) + ".png")).string());
    EXPECT_EQ(picture.width, 60u);
    EXPECT_EQ(picture.height, 40u);
    EXPECT_TRUE(is_same(picture, frame(i, true)));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "a.b-00003.png"));
}

std::string error_of(const std::string& path, uint32_t frames_per_second = 10) {
  try {
    Animation(path, 60, 40, frames_per_second);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "none";
}

TEST(Animation, SaysWhatIsAllowed) {
  const test::ScratchFolder folder;
  for (const std::string name : {"a.mp4", "a", "a.GIF", ".gif", ""}) {
    const std::string error = error_of(name);
    EXPECT_NE(error.find("FILE.gif"), std::string::npos) << error;
    EXPECT_NE(error.find("FILE.png"), std::string::npos) << error;
  }
  for (const std::string name : {"none/a.gif", "none/a.png"})
    EXPECT_NE(error_of((folder / name).string()).find("no such folder"), std::string::npos);
  EXPECT_NE(error_of((folder / "a.gif").string(), 51).find("1 to 50"), std::string::npos);
  EXPECT_NE(error_of((folder / "a.gif").string(), 0).find("1 to 50"), std::string::npos);
  std::filesystem::create_directory(folder / "folder.gif");
  EXPECT_NE(error_of((folder / "folder.gif").string()).find("directory"), std::string::npos);
}

TEST(Animation, RefusesPicturesOfAnotherSizeAndASecondEnd) {
  const test::ScratchFolder folder;
  Animation animation((folder / "a.gif").string(), 60, 40, 10);
  EXPECT_THROW(animation.add(picture_of({}, 40, 60)), Error);
  animation.add(frame(0));
  animation.finish();
  EXPECT_THROW(animation.add(frame(1)), Error);
  EXPECT_THROW(animation.finish(), Error);
}

TEST(Animation, SaysThatADiskIsFull) {
  const test::ScratchFolder folder;
  std::filesystem::create_symlink("/dev/full", folder / "a.gif");
  std::filesystem::create_symlink("/dev/full", folder / "a-00000.png");
  const auto write = [&](const std::string& name) {
    Animation animation((folder / name).string(), 60, 40, 10);
    for (int i = 0; i < 200; ++i) animation.add(frame(i % 5, true));
    animation.finish();
  };
  EXPECT_THROW(write("a.gif"), Error);
  EXPECT_THROW(write("a.png"), Error);
}

}  // namespace
}  // namespace eggroll
