#include "appliance/anchor/provisioning_record.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/anchor/members.h"
#include "appliance/ledger/merkle.h"
#include "tpm/signing.h"

namespace stele::anchor {
namespace {

using nlohmann::json;

constexpr std::size_t kWordBytesMax = 32;
constexpr std::size_t kTreeLevels = 64;

bool IsWord(const std::string& text) {
  return !text.empty() && text.size() <= kWordBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '_'; });
}

// The base64 of a PEM's DER: its body without line breaks (RFC 7468).
std::string BodyOf(std::string_view pem) {
  std::string body;
  while (!pem.empty()) {
    const std::size_t end = std::min(pem.find('\n'), pem.size());
    const std::string_view line = pem.substr(0, end);
    if (line.substr(0, 5) != "-----") body += line;
    pem.remove_prefix(std::min(end + 1, pem.size()));
  }
  return body;
}

bool AllZero(const Hash& hash) {
  return std::all_of(hash.begin(), hash.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

json EpochJson(const EpochClaim& epoch) {
  json frontier = json::array();
  for (const Hash& hash : epoch.log_frontier) frontier.push_back(HexOf(hash));
  return {{"number", epoch.number},
          {"log_id", HexOf(epoch.log_id)},
          {"reason", epoch.reason},
          {"log_size", epoch.log_size},
          {"log_root", HexOf(epoch.log_root)},
          {"log_frontier", std::move(frontier)},
          {"verdicts", epoch.verdicts},
          {"detail", epoch.detail},
          {"anchor", epoch.anchor},
          {"anchored_size", epoch.anchored_size},
          {"checkpoint_size", epoch.checkpoint_size}};
}

std::optional<EpochClaim> EpochOf(const json& object) {
  Members members(object);
  EpochClaim epoch;
  members.Number("number", epoch.number);
  members.Digest("log_id", true, epoch.log_id);
  members.Text("reason", true, epoch.reason);
  members.Number("log_size", epoch.log_size);
  members.Digest("log_root", true, epoch.log_root);
  members.Text("detail", true, epoch.detail);
  members.Number("anchor", epoch.anchor);
  members.Number("anchored_size", epoch.anchored_size);
  members.Number("checkpoint_size", epoch.checkpoint_size);
  const json* hashes = members.Find("log_frontier", true);
  const json* words = members.Find("verdicts", true);
  if (!members.fault().empty() || !hashes->is_array() || hashes->size() > kTreeLevels || !words->is_array() ||
      words->size() > kEpochsMax) {
    return std::nullopt;
  }
  for (const json& one : *hashes) {
    const auto hash = one.is_string() ? ParseHash(one.get_ref<const std::string&>()) : std::nullopt;
    if (!hash) return std::nullopt;
    epoch.log_frontier.push_back(*hash);
  }
  for (const json& one : *words) {
    if (!one.is_string() || !IsWord(one.get_ref<const std::string&>())) return std::nullopt;
    epoch.verdicts.push_back(one.get<std::string>());
  }
  const auto edge = ledger::Frontier::FromHashes(0, epoch.log_size, epoch.log_frontier);
  const bool consistent = edge && edge->Root() == epoch.log_root && epoch.log_size > 0 &&
                          epoch.anchored_size <= epoch.checkpoint_size && epoch.checkpoint_size <= epoch.log_size;
  if (!consistent || epoch.number == 0 || epoch.verdicts.size() != epoch.number || epoch.reason.empty() ||
      epoch.reason.size() > kReasonBytesMax) {
    return std::nullopt;
  }
  return epoch;
}

ProvisioningRecord RecordOf(const tpm::ProvisionResult& result, std::int64_t created_ns) {
  ProvisioningRecord record;
  record.created_ns = created_ns;
  record.ek_certificate = result.ek_certificate_der;
  record.identity = result.identity;
  record.ak_public_pem = result.ak_public_pem;
  record.ak_public = result.ak_public;
  record.counter_start = result.counter_start;
  record.index_start = result.index_start;
  record.pcr = result.pcr;
  record.reset_count = result.reset_count;
  record.firmware_version = result.firmware_version;
  record.software_tpm = result.software_tpm;
  record.handles = result.handles;
  record.genesis_random = result.genesis_random;
  record.manufacturer = result.manufacturer;
  record.vendor = result.vendor;
  record.locked_down = result.locked_down;
  if (result.sealed) {
    if (const auto name = tpm::CheckSealed(*result.sealed)) record.sealed_name = *name;
    record.seal_policy = result.sealed->policy;
  }
  return record;
}

Bytes EncodeRecord(const ProvisioningRecord& record) {
  json object = {{"log", "stele"},
                 {"version", 1},
                 {"created_ns", record.created_ns},
                 {"ek_certificate_b64", Base64Of(record.ek_certificate)},
                 {"ek_name", HexOf(record.identity.ek_name)},
                 {"ak_name", HexOf(record.identity.ak_name)},
                 {"ak_public_pem", record.ak_public_pem},
                 {"ak_public_b64", Base64Of(record.ak_public)},
                 {"counter_name", HexOf(record.identity.counter_name)},
                 {"index_name", HexOf(record.identity.index_name)},
                 {"counter_start", record.counter_start},
                 {"index_start", HexOf(record.index_start)},
                 {"pcr", record.pcr},
                 {"reset_count", record.reset_count},
                 {"firmware_version", record.firmware_version},
                 {"software_tpm", record.software_tpm},
                 {"handles",
                  {{"ek", record.handles.ek},
                   {"ak", record.handles.ak},
                   {"storage", record.handles.storage},
                   {"counter", record.handles.counter},
                   {"index", record.handles.index}}}};
  if (!record.origin.empty()) object["origin"] = record.origin;
  if (!record.checkpoint_key.empty()) object["checkpoint_key_b64"] = Base64Of(record.checkpoint_key);
  if (!AllZero(record.pcr_baseline)) object["pcr_baseline"] = HexOf(record.pcr_baseline);
  if (!AllZero(record.genesis_random)) object["genesis_random"] = HexOf(record.genesis_random);
  if (record.key_sealed()) {
    object["seal"] = {{"name", HexOf(record.sealed_name)}, {"registers", RegistersJson(record.seal_policy)}};
  }
  if (record.locked_down) object["locked_down"] = true;
  if (record.activated) object["activated"] = true;
  if (record.ek_chain_verified) object["ek_chain_verified"] = true;
  if (record.epoch) object["epoch"] = EpochJson(*record.epoch);
  if (!record.manufacturer.empty()) object["manufacturer"] = record.manufacturer;
  if (!record.vendor.empty()) object["vendor"] = record.vendor;
  return ToBytes(AsBytes(object.dump(-1, ' ', false, json::error_handler_t::replace)));
}

Result<ProvisioningRecord> DecodeRecord(ByteView bytes) {
  const json object = json::parse(AsText(bytes), nullptr, false);
  if (!object.is_object()) return Fail(Code::kCorrupt, "provisioning record: not a JSON object");
  Members members(object);
  std::string log;
  std::uint32_t version = 0;
  members.Text("log", true, log);
  members.Number("version", version);
  if (log != "stele" || version != 1) return Fail(Code::kCorrupt, "provisioning record: not of a stele log, version 1");
  ProvisioningRecord record;
  members.Number("created_ns", record.created_ns);
  members.Base64("ek_certificate_b64", true, record.ek_certificate);
  members.Hex("ek_name", true, record.identity.ek_name);
  members.Hex("ak_name", true, record.identity.ak_name);
  members.Text("ak_public_pem", true, record.ak_public_pem);
  members.Base64("ak_public_b64", true, record.ak_public);
  members.Hex("counter_name", true, record.identity.counter_name);
  members.Hex("index_name", true, record.identity.index_name);
  members.Number("counter_start", record.counter_start);
  members.Digest("index_start", true, record.index_start);
  members.Number("pcr", record.pcr);
  members.Number("reset_count", record.reset_count);
  members.Number("firmware_version", record.firmware_version);
  members.Boolean("software_tpm", record.software_tpm);
  const auto handles = object.find("handles");
  if (handles == object.end() || !handles->is_object()) return Fail(Code::kCorrupt, "provisioning record: handles");
  Members handle(*handles);
  handle.Number("ek", record.handles.ek);
  handle.Number("ak", record.handles.ak);
  handle.Number("storage", record.handles.storage, false);
  handle.Number("counter", record.handles.counter);
  handle.Number("index", record.handles.index);
  members.Text("origin", false, record.origin);
  members.Base64("checkpoint_key_b64", false, record.checkpoint_key);
  members.Digest("pcr_baseline", false, record.pcr_baseline);
  members.Digest("genesis_random", false, record.genesis_random);
  members.Boolean("locked_down", record.locked_down, false);
  members.Boolean("activated", record.activated, false);
  members.Boolean("ek_chain_verified", record.ek_chain_verified, false);
  if (const json* seal = members.Find("seal", false)) {
    Members sealed(*seal);
    sealed.Hex("name", true, record.sealed_name);
    const json* registers = sealed.Find("registers", true);
    const auto policy = registers == nullptr ? std::nullopt : PolicyOf(*registers);
    if (!policy || !sealed.fault().empty()) return Fail(Code::kCorrupt, "provisioning record: member seal");
    record.seal_policy = *policy;
  }
  members.Text("manufacturer", false, record.manufacturer);
  members.Text("vendor", false, record.vendor);
  if (const json* epoch = members.Find("epoch", false)) {
    record.epoch = EpochOf(*epoch);
    if (!record.epoch) members.Blame("epoch");
  }
  const std::string fault = members.fault() + handle.fault();
  if (!fault.empty()) return Fail(Code::kCorrupt, "provisioning record: member " + fault);
  return record;
}

Result<SignedRecord> SignRecord(Bytes record, std::string_view private_key_pem) {
  SignedRecord signed_record;
  STELE_TRY(signed_record.signature, tpm::Sign(private_key_pem, record));
  STELE_TRY(signed_record.public_key_pem, tpm::PublicPemOf(private_key_pem));
  signed_record.record = std::move(record);
  return signed_record;
}

std::string EncodeSignedRecord(const SignedRecord& record) {
  const json object = {{"record_b64", Base64Of(record.record)},
                       {"signature_b64", Base64Of(record.signature)},
                       {"public_key_pem", record.public_key_pem}};
  return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<SignedRecord> DecodeSignedRecord(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return Fail(Code::kCorrupt, "provisioning file: not a JSON object");
  Members members(object);
  SignedRecord record;
  members.Base64("record_b64", true, record.record);
  members.Base64("signature_b64", true, record.signature);
  members.Text("public_key_pem", true, record.public_key_pem);
  if (!members.fault().empty()) return Fail(Code::kCorrupt, "provisioning file: member " + members.fault());
  return record;
}

Result<void> VerifySignedRecord(const SignedRecord& record) {
  return tpm::VerifySignature(record.public_key_pem, record.record, record.signature);
}

std::string FingerprintOf(std::string_view public_key_pem) {
  const auto der = ParseBase64(BodyOf(public_key_pem), kMemberBytesMax);
  return der ? HexOf(Sha256Of(*der)) : std::string{};
}

Hash LogIdOf(ByteView record) { return Sha256Of(record); }

std::string OriginOf(const ProvisioningRecord& record, const Hash& log_id) {
  return record.origin.empty() ? "stele.invalid/log/" + HexOf(log_id).substr(0, 16) : record.origin;
}

Hash LogIdOf(const ProvisioningRecord& record, ByteView bytes) {
  return record.epoch ? record.epoch->log_id : LogIdOf(bytes);
}

Result<std::string> EpochPayload(const SignedRecord& record) {
  const json parsed = json::parse(AsText(record.record), nullptr, false);
  if (!parsed.is_object()) return Fail(Code::kCorrupt, "provisioning record: not a JSON object");
  const json object = {{"type", parsed.contains("epoch") ? "epoch" : "genesis"},
                       {"record", parsed},
                       {"record_b64", Base64Of(record.record)},
                       {"signature_b64", Base64Of(record.signature)},
                       {"public_key_b64", BodyOf(record.public_key_pem)}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<SignedRecord> DecodeEpochPayload(std::string_view payload, std::string_view public_key_pem) {
  if (payload.size() > 3 * kProvisioningBytesMax) return Fail(Code::kCorrupt, "epoch entry: too long");
  const json object = json::parse(payload, nullptr, false);
  Members members(object);
  SignedRecord record;
  std::string key;
  members.Base64("record_b64", true, record.record);
  members.Base64("signature_b64", true, record.signature);
  members.Text("public_key_b64", true, key);
  if (!members.fault().empty()) return Fail(Code::kCorrupt, "epoch entry: member " + members.fault());
  if (key != BodyOf(public_key_pem)) return Fail(Code::kDenied, "the epoch entry names another provisioning key");
  record.public_key_pem = std::string(public_key_pem);
  return record;
}

Pins PinsOf(const ProvisioningRecord& record, const Hash& log_id) {
  Pins pins;
  pins.identity = record.identity;
  pins.receipt.log_id = log_id;
  pins.receipt.epoch = record.epoch_number();
  pins.receipt.ak_public_pem = record.ak_public_pem;
  pins.receipt.pcr = record.pcr;
  pins.receipt.counter_name = record.identity.counter_name;
  pins.receipt.index_name = record.identity.index_name;
  pins.receipt.counter_start = record.counter_start;
  pins.index_start = record.index_start;
  pins.pcr_baseline = record.pcr_baseline;
  pins.reset_count = record.reset_count;
  pins.software_tpm = record.software_tpm;
  return pins;
}

tpm::AnchorConfig DeviceConfigOf(const ProvisioningRecord& record, std::string_view provisioning_public_pem) {
  tpm::AnchorConfig config;
  config.pcr = record.pcr;
  config.handles = record.handles;
  config.pinned = record.identity;
  config.provisioning_public_pem = std::string(provisioning_public_pem);
  return config;
}

}  // namespace stele::anchor
