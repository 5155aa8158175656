// Pictures one after another as a file to look at. The extension of the path says of which kind:
//   FILE.gif    one animation, which starts again at its end; every frame with the colours that it has most
//   FILE.png    FILE-00000.png, FILE-00001.png, ...: a picture each, exact
// What is there of the same name is overwritten. The file is whole after finish().
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "worker/control/picture.hpp"

namespace eggroll {

class Animation {
 public:
  // ConfigError, which begins with the path, where it has no extension of these, or where nothing can be
  // written there. A GIF has at most 50 frames a second: viewers take shorter times of a frame for much
  // longer ones.
  Animation(const std::string& path, uint32_t width, uint32_t height, uint32_t frames_per_second);
  ~Animation();

  void add(const Picture& picture);  // of the width and height
  void finish();                     // once, after the last

  class Writer {
   public:
    virtual ~Writer() = default;
    virtual void add(const Picture& picture) = 0;
    virtual void finish() = 0;
  };

 private:
  uint32_t width_, height_;
  std::unique_ptr<Writer> writer_;
};

}  // namespace eggroll
