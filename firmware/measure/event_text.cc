#include "firmware/measure/event_text.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "appliance/base/hash.h"
#include "appliance/base/text.h"
#include "firmware/measure/secure_boot.h"

namespace stele::measure {
namespace {

using nlohmann::json;

struct TypeName {
  std::uint32_t type;
  std::string_view name;
};
constexpr std::array kTypeNames = {
    TypeName{0x0, "EV_PREBOOT_CERT"},
    TypeName{0x1, "EV_POST_CODE"},
    TypeName{0x2, "EV_UNUSED"},
    TypeName{kNoAction, "EV_NO_ACTION"},
    TypeName{kSeparator, "EV_SEPARATOR"},
    TypeName{kAction, "EV_ACTION"},
    TypeName{kEventTag, "EV_EVENT_TAG"},
    TypeName{0x7, "EV_S_CRTM_CONTENTS"},
    TypeName{kCrtmVersion, "EV_S_CRTM_VERSION"},
    TypeName{0x9, "EV_CPU_MICROCODE"},
    TypeName{0xa, "EV_PLATFORM_CONFIG_FLAGS"},
    TypeName{0xb, "EV_TABLE_OF_DEVICES"},
    TypeName{0xc, "EV_COMPACT_HASH"},
    TypeName{kIpl, "EV_IPL"},
    TypeName{0xe, "EV_IPL_PARTITION_DATA"},
    TypeName{0xf, "EV_NONHOST_CODE"},
    TypeName{0x10, "EV_NONHOST_CONFIG"},
    TypeName{0x11, "EV_NONHOST_INFO"},
    TypeName{0x12, "EV_OMIT_BOOT_DEVICE_EVENTS"},
    TypeName{0x13, "EV_POST_CODE2"},
    TypeName{kEfiVariableDriverConfig, "EV_EFI_VARIABLE_DRIVER_CONFIG"},
    TypeName{kEfiVariableBoot, "EV_EFI_VARIABLE_BOOT"},
    TypeName{kEfiBootServicesApplication, "EV_EFI_BOOT_SERVICES_APPLICATION"},
    TypeName{0x80000004, "EV_EFI_BOOT_SERVICES_DRIVER"},
    TypeName{0x80000005, "EV_EFI_RUNTIME_SERVICES_DRIVER"},
    TypeName{kEfiGptEvent, "EV_EFI_GPT_EVENT"},
    TypeName{kEfiAction, "EV_EFI_ACTION"},
    TypeName{0x80000008, "EV_EFI_PLATFORM_FIRMWARE_BLOB"},
    TypeName{0x80000009, "EV_EFI_HANDOFF_TABLES"},
    TypeName{0x8000000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2"},
    TypeName{0x8000000b, "EV_EFI_HANDOFF_TABLES2"},
    TypeName{kEfiVariableBoot2, "EV_EFI_VARIABLE_BOOT2"},
    TypeName{0x8000000d, "EV_EFI_GPT_EVENT2"},
    TypeName{0x80000010, "EV_EFI_HCRTM_EVENT"},
    TypeName{kEfiVariableAuthority, "EV_EFI_VARIABLE_AUTHORITY"},
    TypeName{0x800000e1, "EV_EFI_SPDM_FIRMWARE_BLOB"},
    TypeName{0x800000e2, "EV_EFI_SPDM_FIRMWARE_CONFIG"},
    TypeName{0x800000e3, "EV_EFI_SPDM_DEVICE_POLICY"},
    TypeName{0x800000e4, "EV_EFI_SPDM_DEVICE_AUTHORITY"},
};

constexpr std::size_t kTextBytesMax = 4'096;

std::string HexNumber(std::uint32_t value, std::size_t digits) {
  std::array<std::byte, 4> big{};
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<std::byte>(value >> (8 * (3 - i)));
  return "0x" + HexOf(big).substr(8 - digits);
}

bool IsPrintable(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7f; });
}

// Printable ASCII, with or without NULs at the end; empty where it is anything else.
std::string AsciiText(ByteView data) {
  std::string_view text = AsText(data).substr(0, kTextBytesMax);
  text = text.substr(0, text.find_last_not_of('\0') + 1);
  return IsPrintable(text) ? std::string(text) : std::string();
}

// The same of UTF-16.
std::string WideText(ByteView data) {
  if (data.size() % 2 != 0) return {};
  std::string text;
  for (std::size_t at = 0; at < std::min(data.size(), kTextBytesMax); at += 2) {
    const auto character = LoadLittle<std::uint16_t>(data.data() + at);
    if (character >= 0x7f) return {};
    text.push_back(static_cast<char>(character));
  }
  return AsciiText(AsBytes(text));
}

std::string EitherText(ByteView data) {
  std::string text = AsciiText(data);
  return text.empty() ? WideText(data) : text;
}

std::string VariableText(ByteView data) {
  Reader in(data);
  const ByteView name_space = in.Raw(sizeof(Guid));
  const auto characters = in.Int<std::uint64_t>();
  const auto data_bytes = in.Int<std::uint64_t>();
  if (!in.ok() || characters > kTextBytesMax) return {};
  const std::string name = WideText(in.Raw(2 * characters));
  (void)in.Raw(data_bytes);
  if (!in.AtEnd() || name.empty()) return {};
  Guid guid{};
  std::copy_n(name_space.begin(), guid.size(), guid.begin());
  return name + " of " + TextOf(guid) + ", " + std::to_string(data_bytes) + " bytes";
}

// TCG_PCClientTaggedEvent: id u32, size u32, data.
std::string TagText(ByteView data) {
  Reader in(data);
  const auto id = in.Int<std::uint32_t>();
  const ByteView content = in.Raw(in.Int<std::uint32_t>());
  const std::string text = in.AtEnd() ? EitherText(content) : std::string();
  return text.empty() ? text : text + " (tag " + HexNumber(id, 8) + ")";
}

json DigestsJson(const Event& event) {
  json digests = json::object();
  for (const EventDigest& digest : event.digests) digests[AlgorithmText(digest.algorithm)] = HexOf(digest.value);
  return digests;
}

json EventJson(const Event& event) {
  json out = {{"pcr", event.pcr},
              {"type", EventTypeText(event.type)},
              {"digests", DigestsJson(event)},
              {"data_bytes", event.data.size()},
              {"data_sha256", HexOf(Sha256Of(event.data))}};
  const std::string text = DataText(event);
  if (!text.empty()) out["text"] = text;
  const DataDigest compared = CompareDataDigest(event);
  if (compared != DataDigest::kNotOverData) out["digest_is_of_data"] = compared == DataDigest::kSame;
  return out;
}

// Registers that were extended, by bank.
json RegistersJson(ByteView log, const SpecId& spec_id) {
  json banks = json::object();
  for (const DigestSize& size : spec_id.digests) {
    const auto replay = ReplayLog(log, size.algorithm);
    if (!replay) continue;
    json registers = json::object();
    for (std::uint32_t pcr = 0; pcr < kRegisters; ++pcr) {
      if ((*replay)[pcr].events != 0) registers[std::to_string(pcr)] = HexOf((*replay)[pcr].value);
    }
    banks[AlgorithmText(size.algorithm)] = std::move(registers);
  }
  return banks;
}

}  // namespace

std::string_view EventTypeName(std::uint32_t type) {
  const auto* const found =
      std::find_if(kTypeNames.begin(), kTypeNames.end(), [type](const TypeName& one) { return one.type == type; });
  return found == kTypeNames.end() ? std::string_view() : found->name;
}

std::string EventTypeText(std::uint32_t type) {
  const std::string_view name = EventTypeName(type);
  return name.empty() ? HexNumber(type, 8) : std::string(name);
}

std::string AlgorithmText(std::uint16_t algorithm) {
  switch (algorithm) {
    case kAlgSha1:
      return "sha1";
    case kAlgSha256:
      return "sha256";
    case kAlgSha384:
      return "sha384";
    case kAlgSha512:
      return "sha512";
    case kAlgSm3:
      return "sm3_256";
    default:
      return HexNumber(algorithm, 4);
  }
}

std::string DataText(const Event& event) {
  switch (event.type) {
    case kAction:
    case kEfiAction:
    case kCrtmVersion:
    case kIpl:
    case 0x1:  // EV_POST_CODE
      return EitherText(event.data);
    case kEfiVariableDriverConfig:
    case kEfiVariableBoot:
    case kEfiVariableBoot2:
    case kEfiVariableAuthority:
      return VariableText(event.data);
    case kEventTag:
      return TagText(event.data);
    default:
      return {};
  }
}

DataDigest CompareDataDigest(const Event& event) {
  switch (event.type) {
    case kSeparator:
    case kAction:
    case kEfiAction:
    case kCrtmVersion:
    case kEfiVariableDriverConfig:
    case kEfiVariableBoot2:
    case kEfiVariableAuthority:
    case kEfiGptEvent:
      break;
    default:
      return DataDigest::kNotOverData;
  }
  const auto digest = event.Of(kAlgSha256);
  if (!digest) return DataDigest::kNotOverData;
  return SameBytes(*digest, Sha256Of(event.data)) ? DataDigest::kSame : DataDigest::kDiffers;
}

Result<std::string> EventLogJson(ByteView log) {
  STELE_TRY(EventLogReader reader, EventLogReader::Open(log));
  json events = json::array();
  for (;;) {
    STELE_TRY(const std::optional<Event> event, reader.Next());
    if (!event) break;
    events.push_back(EventJson(*event));
  }
  const json out = {{"events", std::move(events)}, {"pcrs", RegistersJson(log, reader.spec_id())}};
  return out.dump(2) + "\n";
}

Result<std::string> EventLogText(ByteView log) {
  STELE_TRY(EventLogReader reader, EventLogReader::Open(log));
  std::string out;
  for (;;) {
    STELE_TRY(const std::optional<Event> event, reader.Next());
    if (!event) break;
    const auto digest = event->Of(kAlgSha256);
    out += "PCR " + std::to_string(event->pcr) + "  " + (digest ? HexOf(*digest) : std::string("no sha256 digest")) +
           "  " + EventTypeText(event->type);
    const std::string text = DataText(*event);
    if (!text.empty()) out += "  " + text;
    if (CompareDataDigest(*event) == DataDigest::kDiffers) out += "  DIGEST IS NOT THAT OF THE DATA";
    out += "\n";
  }
  const auto replayed = ReplayLog(log, kAlgSha256);
  out += "\nsha256, replayed:\n";
  if (!replayed) return out + replayed.error().context + "\n";
  const Replay& replay = *replayed;
  for (std::uint32_t pcr = 0; pcr < kRegisters; ++pcr) {
    if (replay[pcr].events != 0) out += "PCR " + std::to_string(pcr) + "  " + HexOf(replay[pcr].value) + "\n";
  }
  return out;
}

}  // namespace stele::measure
