#include "appliance/evidence/boot_log.h"

#include <map>
#include <optional>

#include "appliance/anchor/entries.h"

namespace stele::evidence {
namespace {

constexpr std::uint32_t kNoAction = 3;
constexpr std::uint16_t kAlgSha256 = 0x000b;
constexpr std::uint32_t kAlgorithmsMax = 16;
constexpr std::size_t kSha1Bytes = 20;
constexpr std::uint32_t kRegisters = 24;
constexpr std::size_t kDataBytesMax = std::size_t{1} << 20U;
constexpr std::string_view kSpecId("Spec ID Event03\0", 16);
constexpr std::string_view kStartupLocality("StartupLocality\0", 16);

using DigestSizes = std::map<std::uint16_t, std::uint16_t>;  // by algorithm

tl::unexpected<Error> Bad(const std::string& why) { return Fail(Code::kInvalid, "boot event log: " + why); }

// TCG_EfiSpecIdEvent: signature, class u32, three version bytes, uintnSize u8, count u32, (algorithm u16, size u16)*,
// vendor.
Result<DigestSizes> ParseSpecId(ByteView data) {
  Reader in(data);
  DigestSizes sizes;
  if (AsText(in.Raw(kSpecId.size())) != kSpecId) return Bad("not of the crypto-agile form");
  (void)in.Raw(4 + 3 + 1);  // class, version, uintnSize: nothing here depends on them
  const auto count = in.Int<std::uint32_t>();
  if (count > kAlgorithmsMax) return Bad("too many algorithms");
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto algorithm = in.Int<std::uint16_t>();
    const auto size = in.Int<std::uint16_t>();
    if (!sizes.emplace(algorithm, size).second) return Bad("an algorithm twice");
  }
  (void)in.Raw(in.Int<std::uint8_t>());
  if (!in.AtEnd()) return Bad("its first event is malformed");
  const auto ours = sizes.find(kAlgSha256);
  if (ours == sizes.end() || ours->second != kHashBytes) return Bad("no sha256 digests");
  return sizes;
}

// The sha256 digest among those of one event; nothing where it has none.
Result<std::optional<Hash>> ReadDigests(Reader& in, const DigestSizes& sizes) {
  const auto count = in.Int<std::uint32_t>();
  if (count > sizes.size()) return Bad("more digests than algorithms");
  std::optional<Hash> ours;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto algorithm = in.Int<std::uint16_t>();
    const auto size = sizes.find(algorithm);
    if (!in.ok() || size == sizes.end()) return Bad("a digest of an unknown algorithm");
    if (algorithm != kAlgSha256) {
      (void)in.Raw(size->second);
    } else if (ours) {
      return Bad("two sha256 digests in one event");
    } else {
      ours = in.ReadHash();
    }
  }
  return ours;
}

}  // namespace

Result<BootReplay> ReplayBootLog(ByteView log) {
  Reader in(log);
  (void)in.Int<std::uint32_t>();
  const auto first_type = in.Int<std::uint32_t>();
  (void)in.Raw(kSha1Bytes);
  const ByteView first = in.Sized(kDataBytesMax);
  if (!in.ok() || first_type != kNoAction) return Bad("not of the crypto-agile form");
  STELE_TRY(const DigestSizes sizes, ParseSpecId(first));

  BootReplay replay;
  while (in.left_bytes() > 0) {
    const auto pcr = in.Int<std::uint32_t>();
    const auto type = in.Int<std::uint32_t>();
    STELE_TRY(const std::optional<Hash> digest, ReadDigests(in, sizes));
    const ByteView data = in.Sized(kDataBytesMax);
    if (!in.ok()) return Bad("it ends early");
    if (type == kNoAction) {
      const bool locality =
          data.size() == kStartupLocality.size() + 1 && AsText(data.first(kStartupLocality.size())) == kStartupLocality;
      if (locality && pcr == 0 && replay[0].events == 0) replay[0].value.back() = data.back();
      continue;
    }
    if (pcr >= kRegisters) return Bad("a register that no TPM has");
    if (!digest) return Bad("an event without a sha256 digest");
    if (pcr >= kBootRegisters) continue;
    replay[pcr].value = anchor::Extended(replay[pcr].value, *digest);
    ++replay[pcr].events;
  }
  return replay;
}

}  // namespace stele::evidence
