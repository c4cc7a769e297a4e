#include "firmware/measure/event_log.h"

#include <openssl/evp.h>

#include <algorithm>

#include "appliance/base/hash.h"

namespace stele::measure {
namespace {

constexpr std::uint32_t kAlgorithmsMax = 16;
constexpr std::size_t kFirstDigestBytes = 20;
constexpr std::size_t kDataBytesMax = std::size_t{1} << 20U;
constexpr std::string_view kSignature("Spec ID Event03\0", 16);
constexpr std::string_view kStartupLocality("StartupLocality\0", 16);

tl::unexpected<Error> Bad(const std::string& why) { return Fail(Code::kInvalid, "boot event log: " + why); }

Result<SpecId> ParseSpecId(ByteView data) {
  Reader in(data);
  SpecId spec_id;
  if (AsText(in.Raw(kSignature.size())) != kSignature) return Bad("not of the crypto-agile form");
  spec_id.platform_class = in.Int<std::uint32_t>();
  spec_id.minor = in.Int<std::uint8_t>();
  spec_id.major = in.Int<std::uint8_t>();
  spec_id.errata = in.Int<std::uint8_t>();
  spec_id.uintn_size = in.Int<std::uint8_t>();
  const auto count = in.Int<std::uint32_t>();
  if (count > kAlgorithmsMax) return Bad("too many algorithms");
  for (std::uint32_t i = 0; i < count; ++i) {
    DigestSize one;
    one.algorithm = in.Int<std::uint16_t>();
    one.size_bytes = in.Int<std::uint16_t>();
    for (const DigestSize& other : spec_id.digests) {
      if (other.algorithm == one.algorithm) return Bad("an algorithm twice");
    }
    spec_id.digests.push_back(one);
  }
  spec_id.vendor = in.Raw(in.Int<std::uint8_t>());
  if (!in.AtEnd()) return Bad("its first event is malformed");
  return spec_id;
}

const EVP_MD* HashOf(std::uint16_t algorithm) {
  switch (algorithm) {
    case kAlgSha1:
      return EVP_sha1();
    case kAlgSha256:
      return EVP_sha256();
    case kAlgSha384:
      return EVP_sha384();
    case kAlgSha512:
      return EVP_sha512();
    default:
      return nullptr;
  }
}

std::optional<std::byte> StartupLocality(const Event& event) {
  if (event.type != kNoAction || event.pcr != 0 || event.data.size() != kStartupLocality.size() + 1)
    return std::nullopt;
  if (AsText(event.data.first(kStartupLocality.size())) != kStartupLocality) return std::nullopt;
  return event.data.back();
}

}  // namespace

std::optional<ByteView> Event::Of(std::uint16_t algorithm) const {
  for (const EventDigest& digest : digests) {
    if (digest.algorithm == algorithm) return digest.value;
  }
  return std::nullopt;
}

Result<EventLogReader> EventLogReader::Open(ByteView log) {
  Reader in(log);
  (void)in.Int<std::uint32_t>();  // its register: nothing is extended
  const auto type = in.Int<std::uint32_t>();
  (void)in.Raw(kFirstDigestBytes);
  const ByteView data = in.Sized(kDataBytesMax);
  if (!in.ok() || type != kNoAction) return Bad("not of the crypto-agile form");
  STELE_TRY(SpecId spec_id, ParseSpecId(data));
  return EventLogReader(in, std::move(spec_id));
}

std::optional<std::uint16_t> EventLogReader::DigestBytes(std::uint16_t algorithm) const {
  for (const DigestSize& size : spec_id_.digests) {
    if (size.algorithm == algorithm) return size.size_bytes;
  }
  return std::nullopt;
}

Result<std::optional<Event>> EventLogReader::Next() {
  if (in_.ok() && in_.left_bytes() == 0) return std::optional<Event>();
  Event event;
  event.pcr = in_.Int<std::uint32_t>();
  event.type = in_.Int<std::uint32_t>();
  const auto count = in_.Int<std::uint32_t>();
  if (count > spec_id_.digests.size()) return Bad("more digests than algorithms");
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto algorithm = in_.Int<std::uint16_t>();
    const auto size_bytes = DigestBytes(algorithm);
    if (!in_.ok() || !size_bytes) return Bad("a digest of an unknown algorithm");
    if (event.Of(algorithm)) return Bad("two digests of one algorithm in one event");
    event.digests.push_back({algorithm, in_.Raw(*size_bytes)});
  }
  event.data = in_.Sized(kDataBytesMax);
  if (!in_.ok()) return Bad("it ends early");
  return std::optional<Event>(std::move(event));
}

Bytes EncodeSpecId(const SpecId& spec_id) {
  Bytes data;
  Writer in(data);
  in.Raw(AsBytes(kSignature));
  in.Int(spec_id.platform_class);
  in.Int(spec_id.minor);
  in.Int(spec_id.major);
  in.Int(spec_id.errata);
  in.Int(spec_id.uintn_size);
  in.Int(static_cast<std::uint32_t>(spec_id.digests.size()));
  for (const DigestSize& size : spec_id.digests) {
    in.Int(size.algorithm);
    in.Int(size.size_bytes);
  }
  in.Int(static_cast<std::uint8_t>(spec_id.vendor.size()));
  in.Raw(spec_id.vendor);
  Bytes log;
  Writer out(log);
  out.Int(std::uint32_t{0});
  out.Int(kNoAction);
  out.Raw(Bytes(kFirstDigestBytes));
  out.Sized(data);
  return log;
}

void AppendEvent(Bytes& log, const Event& event) {
  Writer out(log);
  out.Int(event.pcr);
  out.Int(event.type);
  out.Int(static_cast<std::uint32_t>(event.digests.size()));
  for (const EventDigest& digest : event.digests) {
    out.Int(digest.algorithm);
    out.Raw(digest.value);
  }
  out.Sized(event.data);
}

Bytes Extend(std::uint16_t algorithm, ByteView value, ByteView digest) {
  const EVP_MD* hash = HashOf(algorithm);
  STELE_CHECK(hash != nullptr);
  Bytes both = ToBytes(value);
  Append(both, digest);
  Bytes out(static_cast<std::size_t>(EVP_MD_get_size(hash)));
  STELE_CHECK(
      EVP_Digest(both.data(), both.size(), reinterpret_cast<unsigned char*>(out.data()), nullptr, hash, nullptr) == 1);
  return out;
}

Hash Extend(const Hash& value, const Hash& digest) { return Sha256Of({value, digest}); }

Result<Replay> ReplayLog(ByteView log, std::uint16_t algorithm) {
  STELE_TRY(EventLogReader reader, EventLogReader::Open(log));
  const EVP_MD* hash = HashOf(algorithm);
  const auto size_bytes = reader.DigestBytes(algorithm);
  if (hash == nullptr || !size_bytes || *size_bytes != EVP_MD_get_size(hash)) return Bad("no digests of this bank");
  Replay replay;
  for (RegisterReplay& one : replay) one.value.resize(*size_bytes);
  for (;;) {
    STELE_TRY(const std::optional<Event> event, reader.Next());
    if (!event) return replay;
    if (event->type == kNoAction) {
      const auto locality = StartupLocality(*event);
      if (locality && replay[0].events == 0) replay[0].value.back() = *locality;
      continue;
    }
    if (event->pcr >= kRegisters) return Bad("a register that no TPM has");
    const auto digest = event->Of(algorithm);
    if (!digest) return Bad("an event without a digest of this bank");
    RegisterReplay& one = replay[event->pcr];
    one.value = Extend(algorithm, one.value, *digest);
    ++one.events;
  }
}

}  // namespace stele::measure
