// A text that may be longer than one frame: parts, then the last one.
//
//   message := part* last                     each at most 32 KiB of the text; `part` and `last` are two types of
//   frames
#pragma once

#include <string>

#include "appliance/channel/channel.h"

namespace stele::channel {

// On a blocking descriptor.
[[nodiscard]] Result<void> SendLong(int fd, Type part, Type last, std::string_view text);

// Puts one together as its frames come.
class LongMessage {
 public:
  LongMessage(Type part, Type last, std::size_t bytes_max) : part_(part), last_(last), bytes_max_(bytes_max) {}
  // True when it is complete: then text() is it. kInvalid: another frame, or too long.
  [[nodiscard]] Result<bool> Take(const Frame& frame);
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  Type part_, last_;
  std::size_t bytes_max_;
  std::string text_;
};

}  // namespace stele::channel
