#include "appliance/evidence/ustar.h"

#include <algorithm>

namespace stele::evidence {
namespace {

// Offsets of the fields.
constexpr std::size_t kMode = 100;
constexpr std::size_t kUid = 108;
constexpr std::size_t kGid = 116;
constexpr std::size_t kSize = 124;
constexpr std::size_t kTime = 136;
constexpr std::size_t kChecksum = 148;
constexpr std::size_t kType = 156;
constexpr std::size_t kMagic = 257;
constexpr std::size_t kPrefix = 345;
constexpr std::string_view kMagicAndVersion("ustar\0" "00", 8);
constexpr std::uint64_t kSizeMax = 0777'7777'7777;  // eleven octal digits

void PutText(Bytes& header, std::size_t at, std::string_view text) {
  std::copy_n(AsBytes(text).begin(), text.size(), header.begin() + static_cast<std::ptrdiff_t>(at));
}

void PutOctal(Bytes& header, std::size_t at, std::size_t digits, std::uint64_t value) {
  for (std::size_t i = digits; i-- > 0; value >>= 3U) header[at + i] = static_cast<std::byte>('0' + (value & 7U));
}

std::uint64_t ChecksumOf(ByteView header) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < header.size(); ++i) {
    sum += i >= kChecksum && i < kChecksum + 8 ? std::uint64_t{' '} : std::to_integer<std::uint64_t>(header[i]);
  }
  return sum;
}

// Digits up to the first NUL or space, then only those.
std::optional<std::uint64_t> OctalAt(ByteView header, std::size_t at, std::size_t width) {
  const std::string_view text = AsText(header.subspan(at, width));
  const std::size_t end = std::min(text.find_first_not_of("01234567"), width);
  if (end == 0 || end > 11 || text.substr(end).find_first_not_of(std::string_view("\0 ", 2)) != std::string_view::npos) {
    return std::nullopt;
  }
  std::uint64_t value = 0;
  for (const char digit : text.substr(0, end)) value = value * 8 + static_cast<std::uint64_t>(digit - '0');
  return value;
}

bool AllZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

tl::unexpected<Error> Refuse(std::string why) { return Fail(Code::kInvalid, "archive: " + std::move(why)); }

}  // namespace

Bytes UstarHeader(std::string_view name, std::uint64_t size_bytes, std::int64_t time_s) {
  STELE_CHECK(name.size() <= kUstarNameBytesMax);
  STELE_CHECK(size_bytes <= kSizeMax);
  Bytes header(kUstarBlockBytes);
  PutText(header, 0, name);
  PutText(header, kMode, "0000644");
  PutText(header, kUid, "0000000");
  PutText(header, kGid, "0000000");
  PutOctal(header, kSize, 11, size_bytes);
  PutOctal(header, kTime, 11, static_cast<std::uint64_t>(std::max<std::int64_t>(0, time_s)) & kSizeMax);
  PutText(header, kType, "0");
  PutText(header, kMagic, kMagicAndVersion);
  PutOctal(header, kChecksum, 6, ChecksumOf(header));
  header[kChecksum + 6] = std::byte{0};
  header[kChecksum + 7] = std::byte{' '};
  return header;
}

std::size_t PaddingOf(std::uint64_t size_bytes) {
  return static_cast<std::size_t>((kUstarBlockBytes - size_bytes % kUstarBlockBytes) % kUstarBlockBytes);
}

Bytes UstarEnd() { return Bytes(2 * kUstarBlockBytes); }

Result<void> UstarReader::TakeHeader() {
  if (AllZero(header_)) {
    state_ = State::kEnd;
    left_bytes_ = kUstarBlockBytes;  // the second block of zeros
    return {};
  }
  if (AsText(ByteView(header_).subspan(kMagic, kMagicAndVersion.size())) != kMagicAndVersion) return Refuse("not ustar");
  const auto checksum = OctalAt(header_, kChecksum, 8);
  if (!checksum || *checksum != ChecksumOf(header_)) return Refuse("the checksum of a header is wrong");
  const auto type = static_cast<char>(header_[kType]);
  if (type != '0') {
    return Refuse(type == '1' || type == '2' ? "a link" : type == '5' ? "a directory" : "a member that is no regular file");
  }
  const std::string_view field = AsText(ByteView(header_).first(kUstarNameBytesMax));
  name_ = std::string(field.substr(0, field.find('\0')));
  if (!AllZero(ByteView(header_).subspan(name_.size(), kUstarNameBytesMax - name_.size())) ||
      !AllZero(ByteView(header_).subspan(kPrefix))) {
    return Refuse("a name with a prefix, or bytes behind the name");
  }
  const auto size_bytes = OctalAt(header_, kSize, 12);
  if (!size_bytes) return Refuse("the size of a member is no octal number");
  STELE_TRY(const std::uint64_t size_bytes_max, admit_(name_));
  if (*size_bytes > size_bytes_max) return Refuse("a member is larger than it may be");
  content_.clear();
  left_bytes_ = *size_bytes;
  state_ = State::kContent;
  return {};
}

void UstarReader::MemberDone() {
  left_bytes_ = PaddingOf(content_.size());
  take_(name_, std::move(content_));
  content_ = {};
  state_ = State::kPadding;
}

// Consumes from `bytes` what the present state can take.
Result<void> UstarReader::Advance(ByteView& bytes) {
  switch (state_) {
    case State::kHeader: {
      const std::size_t part = std::min(bytes.size(), kUstarBlockBytes - header_.size());
      Append(header_, bytes.first(part));
      bytes = bytes.subspan(part);
      if (header_.size() < kUstarBlockBytes) return {};
      STELE_TRY_VOID(TakeHeader());
      header_.clear();
      if (state_ == State::kContent && left_bytes_ == 0) MemberDone();
      return {};
    }
    case State::kContent: {
      const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_bytes_));
      Append(content_, bytes.first(part));
      bytes = bytes.subspan(part);
      left_bytes_ -= part;
      if (left_bytes_ == 0) MemberDone();
      return {};
    }
    case State::kPadding:
    case State::kEnd: {
      const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_bytes_));
      if (!AllZero(bytes.first(part))) return Refuse("the padding is not zero");
      bytes = bytes.subspan(part);
      left_bytes_ -= part;
      if (state_ == State::kEnd && left_bytes_ == 0 && !bytes.empty()) return Refuse("bytes behind its end");
      if (state_ == State::kPadding && left_bytes_ == 0) state_ = State::kHeader;
      return {};
    }
  }
  return {};
}

Result<void> UstarReader::Feed(ByteView bytes) {
  while (!failed_ && !bytes.empty()) {
    if (const auto advanced = Advance(bytes); !advanced) failed_ = advanced.error();
  }
  if (failed_) return tl::unexpected(*failed_);
  return {};
}

Result<void> UstarReader::Finish() {
  if (failed_) return tl::unexpected(*failed_);
  if (state_ != State::kEnd || left_bytes_ != 0) return Refuse("it ends early");
  return {};
}

}  // namespace stele::evidence
