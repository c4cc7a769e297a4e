// The archive of a bundle: POSIX ustar, regular files only (IEEE 1003.1-2017, pax, "ustar Interchange Format").
//
//   archive := member* zero[1024]          member := header[512] content zero*          padded to 512
//   header  := name[100] mode[8] uid[8] gid[8] size[12] mtime[12] checksum[8] type=0 link[100] "ustar\0" "00" uname[32] gname[32]
//              major[8] minor[8] prefix[155] zero[12]
//
// The reader takes hostile bytes in pieces of any size and holds at most one member, and never more of it than has come.
// It refuses links, directories, extensions, prefixes, a wrong checksum, and whatever its caller does not expect.
// Pure. Thread safety: none needed.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "appliance/base/bytes.h"

namespace stele::evidence {

inline constexpr std::size_t kUstarBlockBytes = 512;
inline constexpr std::size_t kUstarNameBytesMax = 100;

// The header of a member; its content and PaddingOf(size) zeros follow. The name has at most kUstarNameBytesMax bytes.
[[nodiscard]] Bytes UstarHeader(std::string_view name, std::uint64_t size_bytes, std::int64_t time_s);
[[nodiscard]] std::size_t PaddingOf(std::uint64_t size_bytes);
[[nodiscard]] Bytes UstarEnd();

class UstarReader {
 public:
  // Whether a member of this name may come now, and how large it may be. An error ends the reading.
  using Admit = std::function<Result<std::uint64_t>(std::string_view name)>;
  using Take = std::function<void(std::string_view name, Bytes content)>;
  UstarReader(Admit admit, Take take) : admit_(std::move(admit)), take_(std::move(take)) {}

  // kInvalid: not such an archive; every later call says the same.
  [[nodiscard]] Result<void> Feed(ByteView bytes);
  // kInvalid unless the archive has ended, with nothing behind its end.
  [[nodiscard]] Result<void> Finish();

 private:
  enum class State { kHeader, kContent, kPadding, kEnd };
  Result<void> TakeHeader();
  void MemberDone();
  Result<void> Advance(ByteView& bytes);

  Admit admit_;
  Take take_;
  State state_ = State::kHeader;
  Bytes header_;            // up to one block
  std::string name_;
  Bytes content_;
  std::uint64_t left_bytes_ = 0;  // of the content, of the padding, of the end
  std::optional<Error> failed_;
};

}  // namespace stele::evidence
