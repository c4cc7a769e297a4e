// The TCG event log of a boot: what was extended into which register, in order, and what the registers must hold if it
// is true. Nobody signs a log: only values that a TPM quotes make it worth anything.
//
//   TCG PC Client Platform Firmware Profile 1.05, sections 10.2.1 (TCG_PCR_EVENT), 10.2.2 (TCG_PCR_EVENT2), 10.4.5.1
//   (Spec ID event), 10.4.5.3 (Startup Locality event): the crypto-agile form, which Linux shows as
//   /sys/kernel/security/tpm0/binary_bios_measurements; all integers little-endian:
//   log     := first event*
//   first   := pcr:u32 type:u32=3 (EV_NO_ACTION) digest[20] size:u32 spec_id
//   spec_id := "Spec ID Event03\0" platform_class:u32 minor:u8 major:u8 errata:u8 uintn_size:u8
//              count:u32 (algorithm:u16 digest_bytes:u16)[count] vendor_bytes:u8 vendor
//   event   := pcr:u32 type:u32 count:u32 (algorithm:u16 digest)[count] size:u32 data
//
// Parsers take hostile bytes, are total, and keep views into the log. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::measure {

inline constexpr std::uint32_t kRegisters = 24;

// TPM 2.0 Library, Part 2, section 6.3.
inline constexpr std::uint16_t kAlgSha1 = 0x0004;
inline constexpr std::uint16_t kAlgSha256 = 0x000b;
inline constexpr std::uint16_t kAlgSha384 = 0x000c;
inline constexpr std::uint16_t kAlgSha512 = 0x000d;
inline constexpr std::uint16_t kAlgSm3 = 0x0012;

// Event types that are given a meaning here; event_text.h names them all.
inline constexpr std::uint32_t kNoAction = 0x3;
inline constexpr std::uint32_t kSeparator = 0x4;
inline constexpr std::uint32_t kAction = 0x5;
inline constexpr std::uint32_t kEventTag = 0x6;
inline constexpr std::uint32_t kCrtmVersion = 0x8;
inline constexpr std::uint32_t kIpl = 0xd;
inline constexpr std::uint32_t kEfiVariableDriverConfig = 0x80000001;
inline constexpr std::uint32_t kEfiVariableBoot = 0x80000002;
inline constexpr std::uint32_t kEfiBootServicesApplication = 0x80000003;
inline constexpr std::uint32_t kEfiGptEvent = 0x80000006;
inline constexpr std::uint32_t kEfiAction = 0x80000007;
inline constexpr std::uint32_t kEfiVariableBoot2 = 0x8000000c;
inline constexpr std::uint32_t kEfiVariableAuthority = 0x800000e0;

struct DigestSize {
  std::uint16_t algorithm = 0;
  std::uint16_t size_bytes = 0;
};
struct SpecId {
  std::uint32_t platform_class = 0;  // client
  std::uint8_t minor = 0;
  std::uint8_t major = 2;
  std::uint8_t errata = 2;
  std::uint8_t uintn_size = 2;  // 64 bits
  std::vector<DigestSize> digests;
  ByteView vendor;
};

struct EventDigest {
  std::uint16_t algorithm = 0;
  ByteView value;
};
struct Event {
  std::uint32_t pcr = 0;
  std::uint32_t type = 0;
  std::vector<EventDigest> digests;
  ByteView data;

  [[nodiscard]] std::optional<ByteView> Of(std::uint16_t algorithm) const;
};

// Reads one event after the other. Every digest has the size that the Spec ID event gives its algorithm, and no
// algorithm comes twice in one event. Bounds: 16 algorithms, 1 MiB of data in one event.
class EventLogReader {
 public:
  [[nodiscard]] static Result<EventLogReader> Open(ByteView log);  // kInvalid: not of the crypto-agile form
  [[nodiscard]] Result<std::optional<Event>> Next();  // nothing at the end; kInvalid: cut short or malformed
  [[nodiscard]] const SpecId& spec_id() const { return spec_id_; }
  [[nodiscard]] std::optional<std::uint16_t> DigestBytes(std::uint16_t algorithm) const;

 private:
  EventLogReader(Reader in, SpecId spec_id) : in_(in), spec_id_(std::move(spec_id)) {}
  Reader in_;
  SpecId spec_id_;
};

// The same, written: the first event's register is 0 and its digest zeros.
[[nodiscard]] Bytes EncodeSpecId(const SpecId& spec_id);
void AppendEvent(Bytes& log, const Event& event);

struct RegisterReplay {
  Bytes value;               // as long as the bank's digest
  std::uint64_t events = 0;  // that were extended into it
};
using Replay = std::array<RegisterReplay, kRegisters>;

// What one bank's registers hold after the log. EV_NO_ACTION extends nothing; a StartupLocality before the first event
// of PCR 0 gives the value it begins at. Every other register begins at zero (17 to 22: a dynamic launch, without which
// the log has no event for them, resets them to that). kInvalid: malformed, a bank that the log has not or whose hash
// is unknown here, an event without a digest of this bank, a register that no TPM has.
[[nodiscard]] Result<Replay> ReplayLog(ByteView log, std::uint16_t algorithm);

// value = H(value || digest); the algorithm is one of those above but SM3.
[[nodiscard]] Bytes Extend(std::uint16_t algorithm, ByteView value, ByteView digest);
[[nodiscard]] Hash Extend(const Hash& value, const Hash& digest);

}  // namespace stele::measure
