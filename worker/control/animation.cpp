#include "worker/control/animation.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gif_lib.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <unordered_map>
#include <vector>

#include "common/check.hpp"
#include "common/options.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;

uint32_t number_of(Colour colour) {
  return uint32_t{colour.red} << 16 | uint32_t{colour.green} << 8 | colour.blue;
}

// The part of a picture that is not as it was.
struct Rectangle {
  uint32_t left, top, width, height;
};

Rectangle changed(const Picture& from, const Picture& to) {
  uint32_t left = to.width, top = to.height, right = 0, bottom = 0;
  for (uint32_t y = 0; y < to.height; ++y)
    for (uint32_t x = 0; x < to.width; ++x)
      if (number_of(from.at(x, y)) != number_of(to.at(x, y))) {
        left = std::min(left, x), right = std::max(right, x + 1);
        top = std::min(top, y), bottom = std::max(bottom, y + 1);
      }
  if (right == 0) return {0, 0, 1, 1};  // a frame has a pixel at least
  return {left, top, right - left, bottom - top};
}

// A picture's part in 256 colours: all it has, or else those that most of its pixels have, which are the
// figures', and of the others, of edges, the nearest: of these or of a grid of five steps a side.
struct Indexed {
  std::vector<Colour> colours;
  std::vector<GifByteType> pixels;  // [height, width]

  Indexed(const Picture& picture, const Rectangle& part) {
    std::vector<uint32_t> numbers;
    std::unordered_map<uint32_t, uint32_t> count;
    for (uint32_t y = part.top; y < part.top + part.height; ++y)
      for (uint32_t x = part.left; x < part.left + part.width; ++x)
        ++count[numbers.emplace_back(number_of(picture.at(x, y)))];
    struct Counted {
      uint32_t count, number;
    };
    std::vector<Counted> order;
    for (const auto& [number, times] : count) order.push_back({times, number});
    std::ranges::sort(order, [](const Counted& a, const Counted& b) {
      return a.count != b.count ? a.count > b.count : a.number < b.number;
    });
    const size_t exact = order.size() <= 256 ? order.size() : 256 - 5 * 5 * 5;
    for (size_t i = 0; i < exact; ++i) {
      const uint32_t number = order[i].number;
      colours.push_back({static_cast<uint8_t>(number >> 16), static_cast<uint8_t>(number >> 8),
                         static_cast<uint8_t>(number)});
    }
    constexpr std::array<uint8_t, 5> kSteps = {0, 64, 128, 191, 255};
    if (exact < order.size())
      for (const uint8_t red : kSteps)
        for (const uint8_t green : kSteps)
          for (const uint8_t blue : kSteps) colours.push_back({red, green, blue});
    std::unordered_map<uint32_t, GifByteType> index;
    for (size_t i = 0; i < order.size(); ++i)
      index[order[i].number] = static_cast<GifByteType>(i < exact ? i : nearest(order[i].number));
    for (const uint32_t number : numbers) pixels.push_back(index[number]);
  }

 private:
  size_t nearest(uint32_t number) const {
    const auto distance = [number](const Colour& colour) {
      const int red = static_cast<int>(number >> 16) - colour.red;
      const int green = static_cast<int>(number >> 8 & 255) - colour.green;
      const int blue = static_cast<int>(number & 255) - colour.blue;
      return red * red + green * green + blue * blue;
    };
    return static_cast<size_t>(std::ranges::min_element(colours, {}, distance) - colours.begin());
  }
};

class GifWriter final : public Animation::Writer {
 public:
  GifWriter(std::string path, uint32_t width, uint32_t height, uint32_t frames_per_second)
      : path_(std::move(path)), frames_per_second_(frames_per_second) {
    // The library itself would let nobody else read it.
    const int descriptor = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor < 0)
      throw ConfigError(
          fmt::format("{}: cannot be written: {}", shown(path_), std::strerror(errno)));
    int error = 0;
    opened_.reset(EGifOpenFileHandle(descriptor, &error));  // and closes it, if it fails too
    if (!opened_) throw Error(fmt::format("cannot write {}: {}", shown(path_), text_of(error)));
    EGifSetGifVersion(opened_.get(), true);
    check(EGifPutScreenDesc(opened_.get(), static_cast<int>(width), static_cast<int>(height), 8, 0,
                            nullptr));
    // For ever: the extension of a browser that all others took over.
    constexpr std::array<GifByteType, 3> kForEver = {1, 0, 0};
    check(EGifPutExtensionLeader(opened_.get(), APPLICATION_EXT_FUNC_CODE));
    check(EGifPutExtensionBlock(opened_.get(), 11, "NETSCAPE2.0"));
    check(EGifPutExtensionBlock(opened_.get(), kForEver.size(), kForEver.data()));
    check(EGifPutExtensionTrailer(opened_.get()));
  }

  void add(const Picture& picture) override {
    const Rectangle part =
        last_ ? changed(*last_, picture) : Rectangle{0, 0, picture.width, picture.height};
    Indexed indexed(picture, part);
    GraphicsControlBlock control = {DISPOSE_DO_NOT, false, next_delay(), NO_TRANSPARENT_COLOR};
    std::array<GifByteType, 4> bytes;
    check(EGifPutExtension(opened_.get(), GRAPHICS_EXT_FUNC_CODE,
                           static_cast<int>(EGifGCBToExtension(&control, bytes.data())),
                           bytes.data()));
    int size = 2;  // a power of two
    while (size < static_cast<int>(indexed.colours.size())) size *= 2;
    std::vector<GifColorType> colours(static_cast<size_t>(size));
    for (size_t i = 0; i < indexed.colours.size(); ++i)
      colours[i] = {indexed.colours[i].red, indexed.colours[i].green, indexed.colours[i].blue};
    const std::unique_ptr<ColorMapObject, decltype(&GifFreeMapObject)> map(
        GifMakeMapObject(size, colours.data()), GifFreeMapObject);
    if (!map) throw Error("no memory for a palette");
    check(EGifPutImageDesc(opened_.get(), static_cast<int>(part.left), static_cast<int>(part.top),
                           static_cast<int>(part.width), static_cast<int>(part.height), false,
                           map.get()));
    for (uint32_t y = 0; y < part.height; ++y)
      check(EGifPutLine(opened_.get(), indexed.pixels.data() + size_t{y} * part.width,
                        static_cast<int>(part.width)));
    last_ = picture;
  }

  void finish() override {
    int error = 0;
    if (EGifCloseFile(opened_.release(), &error) == GIF_ERROR)
      throw Error(fmt::format("cannot write {}: {}", shown(path_), text_of(error)));
  }

 private:
  static std::string text_of(int error) {
    const char* text = GifErrorString(error);
    return text != nullptr ? text : "an error of the GIF library";
  }
  void check(int result) const {
    if (result == GIF_ERROR)
      throw Error(fmt::format("cannot write {}: {}", shown(path_), text_of(opened_->Error)));
  }
  // Hundredths of a second, so that frame n starts where it should, rounded.
  int next_delay() {
    const auto start = [this](uint64_t frame) {
      return (frame * 100 + frames_per_second_ / 2) / frames_per_second_;
    };
    const uint64_t frame = frames_++;
    return static_cast<int>(start(frame + 1) - start(frame));
  }

  const std::string path_;
  const uint32_t frames_per_second_;
  struct Close {
    void operator()(GifFileType* file) const { EGifCloseFile(file, nullptr); }
  };
  std::unique_ptr<GifFileType, Close> opened_;
  uint64_t frames_ = 0;
  std::optional<Picture> last_;
};

class PngWriter final : public Animation::Writer {
 public:
  explicit PngWriter(const fs::path& path) : stem_(fs::path(path).replace_extension()) {}

  void add(const Picture& picture) override {
    static_assert(sizeof(Colour) == 3);
    const std::string path = fmt::format("{}-{:05}.png", stem_.string(), frames_++);
    png_image image = {};
    image.version = PNG_IMAGE_VERSION;
    image.width = picture.width;
    image.height = picture.height;
    image.format = PNG_FORMAT_RGB;
    if (png_image_write_to_file(&image, path.c_str(), 0, picture.pixels.data(), 0, nullptr) == 0)
      throw Error(fmt::format("cannot write {}: {}", shown(path), image.message));
  }
  void finish() override {}

 private:
  const fs::path stem_;
  uint32_t frames_ = 0;
};

std::unique_ptr<Animation::Writer> writer_of(const std::string& path, uint32_t width,
                                             uint32_t height, uint32_t frames_per_second) {
  const std::string kind = fs::path(path).extension().string();
  if (kind != ".gif" && kind != ".png")
    throw ConfigError(
        fmt::format("{}: allowed are FILE.gif, an animation, and FILE.png, a file a frame",
                    shown_or_quotes(path)));
  const fs::path folder = fs::path(path).parent_path();
  std::error_code error;
  if (!folder.empty() && !fs::is_directory(folder, error))
    throw ConfigError(fmt::format("{}: there is no such folder", shown(path)));
  if (kind == ".png") return std::make_unique<PngWriter>(path);
  if (frames_per_second < 1 || frames_per_second > 50)
    throw ConfigError(fmt::format("{}: {} frames a second; allowed are 1 to 50 of a GIF",
                                  shown(path), frames_per_second));
  return std::make_unique<GifWriter>(path, width, height, frames_per_second);
}

}  // namespace

Animation::Animation(const std::string& path, uint32_t width, uint32_t height,
                     uint32_t frames_per_second)
    : width_(width), height_(height) {
  require(width > 0 && height > 0 && width < 65536 && height < 65536,
          "a frame has 1 to 65535 pixels a side");
  writer_ = writer_of(path, width, height, frames_per_second);
}

Animation::~Animation() = default;

void Animation::add(const Picture& picture) {
  require(writer_ && picture.width == width_ && picture.height == height_,
          "all frames have the size of the animation, and come before its end");
  writer_->add(picture);
}

void Animation::finish() {
  require(writer_ != nullptr, "an animation ends once");
  writer_->finish();
  writer_.reset();
}

}  // namespace eggroll
