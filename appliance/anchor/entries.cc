#include "appliance/anchor/entries.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "tpm/attest.h"

namespace stele::anchor {
namespace {

using nlohmann::json;

constexpr std::size_t kAttestationBytesMax = 4096;

// Total access to members: nullopt on absence or another type.
std::optional<std::string> TextOf(const json& object, const char* name) {
  const auto member = object.find(name);
  if (member == object.end() || !member->is_string()) return std::nullopt;
  return member->get<std::string>();
}

std::optional<Hash> HashOf(const json& object, const char* name) {
  const auto text = TextOf(object, name);
  return text ? ParseHash(*text) : std::nullopt;
}

template <typename T>
std::optional<T> NumberOf(const json& object, const char* name) {
  const auto member = object.find(name);
  if (member == object.end() || !member->is_number_unsigned()) return std::nullopt;
  const auto value = member->get<std::uint64_t>();
  if (value > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return std::nullopt;
  return static_cast<T>(value);
}

json AttestationJson(const TpmAttestation& attestation) {
  json object = {{"attest_b64", Base64Of(attestation.attest)}, {"signature_b64", Base64Of(attestation.signature)}};
  if (!attestation.pcr_values.empty()) {
    object["pcr_values"] = json::array();
    for (const Hash& value : attestation.pcr_values) object["pcr_values"].push_back(HexOf(value));
  }
  if (!attestation.contents.empty()) object["contents_b64"] = Base64Of(attestation.contents);
  return object;
}

std::optional<TpmAttestation> AttestationOf(const json& object, const char* name) {
  const auto member = object.find(name);
  if (member == object.end() || !member->is_object()) return std::nullopt;
  const auto attest_text = TextOf(*member, "attest_b64");
  const auto signature_text = TextOf(*member, "signature_b64");
  if (!attest_text || !signature_text) return std::nullopt;
  auto attest = ParseBase64(*attest_text, kAttestationBytesMax);
  auto signature = ParseBase64(*signature_text, kAttestationBytesMax);
  if (!attest || !signature) return std::nullopt;
  TpmAttestation attestation{std::move(*attest), std::move(*signature), {}, {}};
  if (member->contains("contents_b64")) {
    const auto text = TextOf(*member, "contents_b64");
    auto contents = text ? ParseBase64(*text, kAttestationBytesMax) : std::nullopt;
    if (!contents) return std::nullopt;
    attestation.contents = std::move(*contents);
  }
  const auto values = member->find("pcr_values");
  if (values == member->end()) return attestation;
  if (!values->is_array() || values->size() > 24) return std::nullopt;
  for (const json& value : *values) {
    const auto hash = value.is_string() ? ParseHash(value.get<std::string>()) : std::nullopt;
    if (!hash) return std::nullopt;
    attestation.pcr_values.push_back(*hash);
  }
  return attestation;
}

// Absent in epoch 0, so that what was written before there were epochs reads the same.
void PutEpoch(json& object, std::uint64_t epoch) {
  if (epoch != 0) object["epoch"] = epoch;
}
std::optional<std::uint64_t> EpochIn(const json& object) {
  return object.contains("epoch") ? NumberOf<std::uint64_t>(object, "epoch") : std::optional<std::uint64_t>(0);
}

std::string_view PurposeName(Purpose purpose) {
  switch (purpose) {
    case Purpose::kReceiptQuote:
      return "receipt-quote";
    case Purpose::kCertifyCounter:
      return "certify-C";
    case Purpose::kCertifyIndex:
      return "certify-X";
    case Purpose::kAudit:
      return "audit";
  }
  return "";
}

}  // namespace

std::string EncodeIntent(const IntentEntry& intent) {
  json object = {{"note", intent.note},
                       {"size", intent.size},
                       {"root", HexOf(intent.root)},
                       {"digest", HexOf(intent.digest)},
                       {"reset_count", intent.reset_count},
                       {"restart_count", intent.restart_count},
                       {"number", intent.number},
                       {"pcr_before", HexOf(intent.pcr_before)},
                       {"anchor", intent.anchor}};
  PutEpoch(object, intent.epoch);
  return object.dump();
}

Result<IntentEntry> DecodeIntent(std::string_view payload, const ledger::VerifyKey& key) {
  const json object = json::parse(payload, nullptr, false);
  if (!object.is_object()) return Fail(Code::kCorrupt, "intent: not a JSON object");
  const auto note = TextOf(object, "note");
  const auto size = NumberOf<std::uint64_t>(object, "size");
  const auto root = HashOf(object, "root");
  const auto digest = HashOf(object, "digest");
  const auto reset_count = NumberOf<std::uint32_t>(object, "reset_count");
  const auto restart_count = NumberOf<std::uint32_t>(object, "restart_count");
  const auto number = NumberOf<std::uint64_t>(object, "number");
  const auto pcr_before = HashOf(object, "pcr_before");
  const auto anchor = NumberOf<std::uint64_t>(object, "anchor");
  const auto epoch = EpochIn(object);
  if (!note || !size || !root || !digest || !reset_count || !restart_count || !number || !pcr_before || !anchor ||
      !epoch) {
    return Fail(Code::kCorrupt, "intent: a member is missing or of another type");
  }
  const auto opened = ledger::OpenCheckpoint(*note, key);
  if (!opened) return Fail(Code::kDenied, "intent: " + opened.error().context);
  if (opened->checkpoint.size != *size || opened->checkpoint.root != *root || opened->digest != *digest ||
      *number == 0) {
    return Fail(Code::kDenied, "intent: its members do not agree with its signed note");
  }
  return IntentEntry{*note, *size, *root, *digest, *reset_count, *restart_count, *number, *pcr_before, *anchor, *epoch};
}

std::string EncodeReceipt(const ReceiptEntry& receipt) {
  json object = {{"number", receipt.number},
                       {"size", receipt.size},
                       {"digest", HexOf(receipt.digest)},
                       {"pcr", HexOf(receipt.pcr)},
                       {"index", HexOf(receipt.index)},
                       {"counter", receipt.counter},
                       {"late", receipt.late},
                       {"reset_count", receipt.reset_count},
                       {"restart_count", receipt.restart_count},
                       {"clock_ms", receipt.clock_ms},
                       {"wall_ns", receipt.wall_ns},
                       {"quote", AttestationJson(receipt.quote)},
                       {"certify_counter", AttestationJson(receipt.certify_counter)},
                       {"certify_index", AttestationJson(receipt.certify_index)}};
  PutEpoch(object, receipt.epoch);
  return object.dump();
}

Result<ReceiptEntry> DecodeReceipt(std::string_view payload) {
  const json object = json::parse(payload, nullptr, false);
  if (!object.is_object()) return Fail(Code::kCorrupt, "receipt: not a JSON object");
  const auto number = NumberOf<std::uint64_t>(object, "number");
  const auto size = NumberOf<std::uint64_t>(object, "size");
  const auto digest = HashOf(object, "digest");
  const auto pcr = HashOf(object, "pcr");
  const auto index = HashOf(object, "index");
  const auto counter = NumberOf<std::uint64_t>(object, "counter");
  const auto late = object.find("late");
  const auto reset_count = NumberOf<std::uint32_t>(object, "reset_count");
  const auto restart_count = NumberOf<std::uint32_t>(object, "restart_count");
  const auto clock_ms = NumberOf<std::uint64_t>(object, "clock_ms");
  const auto wall_ns = NumberOf<std::int64_t>(object, "wall_ns");
  const auto quote = AttestationOf(object, "quote");
  const auto certify_counter = AttestationOf(object, "certify_counter");
  const auto certify_index = AttestationOf(object, "certify_index");
  const auto epoch = EpochIn(object);
  if (!number || !size || !digest || !pcr || !index || !counter || late == object.end() || !late->is_boolean() ||
      !reset_count || !restart_count || !clock_ms || !wall_ns || !quote || !certify_counter || !certify_index ||
      !epoch) {
    return Fail(Code::kCorrupt, "receipt: a member is missing or of another type");
  }
  return ReceiptEntry{*number,      *size,          *digest,   *pcr,     *index, *counter,         late->get<bool>(),
                      *reset_count, *restart_count, *clock_ms, *wall_ns, *quote, *certify_counter, *certify_index, *epoch};
}

std::string EncodeAudit(const AuditEntry& audit) {
  const Hash qualifying = QualifyingData(Purpose::kAudit, audit.log_id, audit.anchor, audit.digest, audit.nonce);
  json object = {{"log_id", HexOf(audit.log_id)},
                       {"origin", audit.origin},
                       {"nonce", HexOf(audit.nonce)},
                       {"anchor", audit.anchor},
                       {"digest", HexOf(audit.digest)},
                       {"qualifying", HexOf(qualifying)},
                       {"checkpoint", audit.note},
                       {"pcr", audit.pcr},
                       {"counter", audit.counter},
                       {"index", HexOf(audit.index)},
                       {"reset_count", audit.reset_count},
                       {"restart_count", audit.restart_count},
                       {"clock_ms", audit.clock_ms},
                       {"wall_ns", audit.wall_ns},
                       {"demand", audit.demand},
                       {"demand_text", audit.demand_text},
                       {"quote", AttestationJson(audit.quote)},
                       {"certify_counter", AttestationJson(audit.certify_counter)},
                       {"certify_index", AttestationJson(audit.certify_index)}};
  PutEpoch(object, audit.epoch);
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<AuditEntry> DecodeAudit(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return Fail(Code::kCorrupt, "attestation: not a JSON object");
  const auto log_id = HashOf(object, "log_id");
  const auto origin = TextOf(object, "origin");
  const auto nonce = HashOf(object, "nonce");
  const auto anchor = NumberOf<std::uint64_t>(object, "anchor");
  const auto digest = HashOf(object, "digest");
  const auto note = TextOf(object, "checkpoint");
  const auto pcr = NumberOf<std::uint32_t>(object, "pcr");
  const auto counter = NumberOf<std::uint64_t>(object, "counter");
  const auto index = HashOf(object, "index");
  const auto reset_count = NumberOf<std::uint32_t>(object, "reset_count");
  const auto restart_count = NumberOf<std::uint32_t>(object, "restart_count");
  const auto clock_ms = NumberOf<std::uint64_t>(object, "clock_ms");
  const auto wall_ns = NumberOf<std::int64_t>(object, "wall_ns");
  const auto demand = TextOf(object, "demand");
  const auto demand_text = TextOf(object, "demand_text");
  const auto quote = AttestationOf(object, "quote");
  const auto certify_counter = AttestationOf(object, "certify_counter");
  const auto certify_index = AttestationOf(object, "certify_index");
  const auto epoch = EpochIn(object);
  if (!log_id || !origin || !nonce || !anchor || !digest || !note || !pcr || !counter || !index || !reset_count ||
      !restart_count || !clock_ms || !wall_ns || !demand || !demand_text || !quote || !certify_counter ||
      !certify_index || !epoch) {
    return Fail(Code::kCorrupt, "attestation: a member is missing or of another type");
  }
  return AuditEntry{*log_id,      *origin,        *nonce,    *anchor,  *digest, *note,        *pcr,   *counter,         *index,
                    *reset_count, *restart_count, *clock_ms, *wall_ns, *demand, *demand_text, *quote, *certify_counter, *certify_index, *epoch};
}

Hash QualifyingData(Purpose purpose, const Hash& log_id, std::uint64_t anchor, const Hash& digest, const Hash& nonce) {
  Bytes number;
  Writer(number).Int(anchor);
  return Sha256Of({AsBytes("stele/qd/v1"), AsBytes(PurposeName(purpose)), log_id, number, digest, nonce});
}

Result<void> CheckReceipt(const ReceiptEntry& receipt, const ReceiptPins& pins) {
  if (receipt.epoch != pins.epoch) return Fail(Code::kDenied, "receipt: of another epoch");
  const tpm::Signer signer{pins.ak_public_pem, {}};
  const auto data = [&](Purpose purpose) {
    return QualifyingData(purpose, pins.log_id, receipt.number, receipt.digest, Hash{});
  };
  const auto quote = tpm::VerifyQuote(receipt.quote, signer, data(Purpose::kReceiptQuote), pins.pcr);
  if (!quote) return Fail(Code::kDenied, "receipt: quote: " + quote.error().context);
  const auto counter =
      tpm::VerifyCounter(receipt.certify_counter, signer, data(Purpose::kCertifyCounter), pins.counter_name);
  if (!counter) return Fail(Code::kDenied, "receipt: counter: " + counter.error().context);
  const auto index = tpm::VerifyIndex(receipt.certify_index, signer, data(Purpose::kCertifyIndex), pins.index_name);
  if (!index) return Fail(Code::kDenied, "receipt: index: " + index.error().context);

  if (counter->value != receipt.counter || counter->value - pins.counter_start != receipt.number) {
    return Fail(Code::kDenied, "receipt: the certified counter is not that of its number");
  }
  if (index->value != receipt.index) return Fail(Code::kDenied, "receipt: the certified index is not the one it names");
  const std::uint32_t boot = quote->clock.reset_count;
  if (counter->attested.clock.reset_count != boot || index->attested.clock.reset_count != boot ||
      receipt.reset_count != boot) {
    return Fail(Code::kDenied, "receipt: its parts were made in different boots");
  }
  // It was read before the quote was made: what ages by it goes by what the TPM signed.
  if (receipt.clock_ms > quote->clock.clock_ms) return Fail(Code::kDenied, "receipt: its clock is ahead of the quote's");
  if (!receipt.quote.pcr_values.empty()) {
    const auto pcr = tpm::VerifyQuotedValues(*quote, receipt.quote.pcr_values, pins.pcr);
    if (!pcr) return Fail(Code::kDenied, "receipt: quote: " + pcr.error().context);
    if (*pcr != receipt.pcr) return Fail(Code::kDenied, "receipt: the quoted PCR is not the one it names");
  }
  return {};
}

Hash Extended(const Hash& old, const Hash& digest) { return Sha256Of({old, digest}); }

}  // namespace stele::anchor
