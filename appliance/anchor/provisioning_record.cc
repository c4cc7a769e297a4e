#include "appliance/anchor/provisioning_record.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/anchor/members.h"
#include "tpm/signing.h"

namespace stele::anchor {
namespace {

using nlohmann::json;

bool AllZero(const Hash& hash) {
  return std::all_of(hash.begin(), hash.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

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

Hash LogIdOf(ByteView record) { return Sha256Of(record); }

std::string OriginOf(const ProvisioningRecord& record, const Hash& log_id) {
  return record.origin.empty() ? "stele.invalid/log/" + HexOf(log_id).substr(0, 16) : record.origin;
}

Result<std::string> GenesisPayload(const SignedRecord& record) {
  const json parsed = json::parse(AsText(record.record), nullptr, false);
  if (!parsed.is_object()) return Fail(Code::kCorrupt, "provisioning record: not a JSON object");
  // The body of a PEM is the base64 of the DER, broken into lines (RFC 7468).
  std::string key;
  std::string_view rest = record.public_key_pem;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    if (line.substr(0, 5) != "-----") key += line;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  const json object = {{"type", "genesis"},
                       {"record", parsed},
                       {"record_b64", Base64Of(record.record)},
                       {"signature_b64", Base64Of(record.signature)},
                       {"public_key_b64", key}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Pins PinsOf(const ProvisioningRecord& record, const Hash& log_id) {
  Pins pins;
  pins.identity = record.identity;
  pins.receipt.log_id = log_id;
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
