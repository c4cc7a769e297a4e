#include "appliance/channel/long_message.h"

#include "appliance/base/limits.h"

namespace stele::channel {
namespace {

constexpr std::size_t kPartBytes = 32 * limits::kKiB;

}  // namespace

Result<void> SendLong(int fd, Type part, Type last, std::string_view text) {
  for (; text.size() > kPartBytes; text.remove_prefix(kPartBytes))
    STELE_TRY_VOID(Send(fd, part, AsBytes(text.substr(0, kPartBytes))));
  return Send(fd, last, AsBytes(text));
}

Result<bool> LongMessage::Take(const Frame& frame) {
  if (frame.type != part_ && frame.type != last_) return Fail(Code::kInvalid, "a frame of another type");
  if (frame.body.size() > bytes_max_ - text_.size()) return Fail(Code::kInvalid, "the message is too long");
  text_ += AsText(frame.body);
  return frame.type == last_;
}

}  // namespace stele::channel
