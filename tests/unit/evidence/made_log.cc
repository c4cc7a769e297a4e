#include "tests/unit/evidence/made_log.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/evidence/endorsement.h"
#include "appliance/evidence/tree_walk.h"
#include "appliance/evidence/ustar.h"
#include "tests/unit/tls_material.h"
#include "tpm/big_endian.h"
#include "tpm/names.h"
#include "tpm/signing.h"

namespace stele::evidence {
namespace {

constexpr std::int64_t kNow = 1'800'000'000'000'000'000;

Hash Filled(std::string_view label, std::uint64_t number = 0) {
  Bytes raw;
  Writer(raw).Int(number);
  return Sha256Of({AsBytes(label), raw});
}

// RSA keys take long to make: one authority and two endorsement keys for all tests.
const test::Material& Authority() {
  static const test::Material authority = test::Issue({.common_name = "a maker of TPMs", .authority = true});
  return authority;
}

Bytes EkCertificate(std::uint64_t seed) {
  static std::map<std::uint64_t, Bytes> made;
  Bytes& der = made[seed % 2];
  if (!der.empty()) return der;
  const test::Material material = test::Issue(
      {.common_name = "endorsement key", .key = {EVP_RSA_gen(2048), test::X509Free{}}}, &Authority());
  unsigned char* raw = nullptr;
  const int size = i2d_X509(material.certificate.get(), &raw);
  der.assign(reinterpret_cast<std::byte*>(raw), reinterpret_cast<std::byte*>(raw) + size);
  OPENSSL_free(raw);
  return der;
}

// TPM2B_PUBLIC of an attestation key as tpm/provision.cc makes it.
Bytes AkPublicArea(const std::string& public_pem) {
  const auto point = tpm::PointOf(public_pem).value();
  Bytes area;
  tpm::BigWriter writer(area);
  writer.Int(std::uint16_t{0x0023});
  writer.Int(std::uint16_t{0x000b});
  writer.Int(std::uint32_t{0x00050472});
  writer.Sized({});
  writer.Int(std::uint16_t{0x0010});
  writer.Int(std::uint16_t{0x0018});
  writer.Int(std::uint16_t{0x000b});
  writer.Int(std::uint16_t{0x0003});
  writer.Int(std::uint16_t{0x0010});
  writer.Sized(point.x);
  writer.Sized(point.y);
  return area;
}

MadeTpm MakeTpm(std::uint64_t seed, const std::string& provisioning_public_pem) {
  MadeTpm tpm;
  tpm.ak_private_pem = tpm::MakeSigningKey().value();
  tpm.ak_public_pem = tpm::PublicPemOf(tpm.ak_private_pem).value();
  const Bytes area = AkPublicArea(tpm.ak_public_pem);
  tpm::BigWriter(tpm.ak_public).Sized(area);
  tpm.ek_certificate = EkCertificate(seed);
  tpm.identity.ek_name = EkNameOf(tpm.ek_certificate).value();
  tpm.identity.ak_name = tpm::NameOfPublicArea(area);
  tpm.identity.counter_name = tpm::WrittenCounterName({}, provisioning_public_pem).value();
  tpm.identity.index_name = tpm::WrittenIndexName({}, provisioning_public_pem).value();
  for (const std::uint32_t number : tpm::RegistersOf(tpm::QuoteSelection(14))) tpm.pcrs[number] = Filled("pcr", number);
  tpm.pcrs[14] = Hash{};
  tpm.counter = 7;
  tpm.index = Filled("X0");
  return tpm;
}

}  // namespace

Hash NonceOf(std::string_view text) { return Filled(text); }
std::string EkRootPem() { return Authority().CertificatePem(); }

Bytes& TakenApart::Of(std::string_view name) {
  const auto at = std::find_if(files.begin(), files.end(), [name](const auto& file) { return file.first == name; });
  STELE_CHECK(at != files.end());
  return at->second;
}

void TakenApart::Remove(std::string_view name) {
  std::erase_if(files, [name](const auto& file) { return file.first == name; });
}

Bytes TakenApart::Together() const {
  Bytes out;
  nlohmann::json listed = nlohmann::json::array();
  const auto add = [&out](const std::string& name, ByteView content) {
    Append(out, UstarHeader(std::string(kFolder) + name, content.size(), 0));
    Append(out, content);
    out.resize(out.size() + PaddingOf(content.size()));
  };
  for (const auto& [name, content] : files) {
    if (name == "manifest.json") continue;
    add(name, content);
    listed.push_back({{"name", name}, {"size", content.size()}, {"sha256", HexOf(Sha256Of(content))}});
  }
  add("manifest.json", AsBytes(nlohmann::json{{"files", listed}}.dump()));
  Append(out, UstarEnd());
  return out;
}

TakenApart TakeApart(ByteView archive) {
  TakenApart apart;
  UstarReader reader([](std::string_view) -> Result<std::uint64_t> { return std::uint64_t{1} << 30U; },
                     [&apart](std::string_view name, Bytes content) {
                       apart.files.emplace_back(name.substr(kFolder.size()), std::move(content));
                     });
  STELE_CHECK(reader.Feed(archive).has_value());
  STELE_CHECK(reader.Finish().has_value());
  return apart;
}

TpmAttestation MadeTpm::Sign(const tpm::Attested& attested, const std::string& key_pem) const {
  TpmAttestation out;
  out.attest = tpm::SerialiseAttest(attested);
  const auto signature = tpm::SignRaw(key_pem, out.attest).value();
  tpm::BigWriter writer(out.signature);
  writer.Int(std::uint16_t{0x0018});
  writer.Int(std::uint16_t{0x000b});
  writer.Sized(signature.r);
  writer.Sized(signature.s);
  return out;
}

std::vector<Hash> MadeTpm::Values() const {
  std::vector<Hash> values;
  for (const auto& [number, value] : pcrs) values.push_back(value);
  return values;
}

tpm::Attested MadeTpm::Quoted(const Hash& qualifying) const {
  tpm::Attested attested;
  attested.type = tpm::AttestType::kQuote;
  attested.qualified_signer = tpm::QualifiedNameOf(identity.ek_name, identity.ak_name);
  attested.extra_data = ToBytes(qualifying);
  attested.clock = clock;
  attested.selection = tpm::QuoteSelection(14);
  Bytes all;
  for (const Hash& value : Values()) Append(all, value);
  attested.pcr_digest = Sha256Of(ByteView(all));
  return attested;
}

tpm::Attested MadeTpm::CertifiedCounter(const Hash& qualifying) const {
  tpm::Attested attested = Quoted(qualifying);
  attested.type = tpm::AttestType::kNvCertify;
  attested.index_name = identity.counter_name;
  tpm::BigWriter(attested.contents).Int(counter);
  return attested;
}

tpm::Attested MadeTpm::CertifiedIndex(const Hash& qualifying) const {
  tpm::Attested attested = Quoted(qualifying);
  attested.type = tpm::AttestType::kNvCertify;
  attested.index_name = identity.index_name;
  attested.contents = ToBytes(index);
  return attested;
}

TpmAttestation MadeTpm::Quote(const Hash& qualifying) const {
  TpmAttestation quote = Sign(Quoted(qualifying), ak_private_pem);
  quote.pcr_values = Values();
  return quote;
}

MadeLog::MadeLog(std::uint64_t seed_of_it) : seed(seed_of_it) {
  provisioning_key_pem = tpm::MakeSigningKey().value();
  provisioning_public_pem = tpm::PublicPemOf(provisioning_key_pem).value();
  tpm = MakeTpm(seed, provisioning_public_pem);
  const Hash key_seed = Filled("checkpoint key", seed);
  record.created_ns = kNow;
  record.created_ns = static_cast<std::int64_t>(::time(nullptr)) * 1'000'000'000;  // within the certificate's life
  record.ek_certificate = tpm.ek_certificate;
  record.identity = tpm.identity;
  record.ak_public_pem = tpm.ak_public_pem;
  record.ak_public = tpm.ak_public;
  record.counter_start = tpm.counter;
  record.index_start = tpm.index;
  record.reset_count = 2;
  record.software_tpm = false;
  record.origin = "test.example/log/" + std::to_string(seed);
  origin = record.origin;
  key = std::make_unique<ledger::SigningKey>(ledger::SigningKey::FromSeed(origin, key_seed).value());
  record.checkpoint_key = ToBytes(key->verify_key().public_key);
  SignRecord();
  Append(1);
}

void MadeLog::SignRecord() {
  signed_record = anchor::SignRecord(anchor::EncodeRecord(record), provisioning_key_pem).value();
  log_id = anchor::LogIdOf(signed_record.record);
}

void MadeLog::Append(int count) {
  for (int i = 0; i < count; ++i) {
    MadeRecord one;
    const std::uint64_t sequence = log.size();
    const std::string text = sequence == 0 ? "genesis" : "<13>message number " + std::to_string(sequence) + " of " + std::to_string(seed);
    one.payload = ToBytes(AsBytes(text));
    one.salt = record::DeriveSalt(record::SaltKey{}, static_cast<std::uint32_t>(sequence));
    one.peer[15] = std::byte{1};
    record::Entry entry;
    entry.kind = sequence == 0 ? record::Kind::kEpoch : record::Kind::kSyslog;
    entry.sequence = sequence;
    entry.receive_wall_ns = kNow + static_cast<std::int64_t>(sequence) * 1'000'000;
    entry.previous = sequence == 0 ? log_id : log.back().leaf;
    entry.commitment = record::CommitPayload(one.salt, one.peer, one.payload);
    entry.payload_length = static_cast<std::uint32_t>(one.payload.size());
    one.entry = record::EncodeEntry(entry);
    one.leaf = LeafHash(one.entry);
    log.push_back(std::move(one));
  }
}

std::vector<Hash> MadeLog::RangeHashes(std::uint64_t begin, std::uint64_t end) const {
  ledger::CompactRange range(begin);
  for (std::uint64_t i = begin; i < end; ++i) range.Push(log[i].leaf);
  return range.Hashes();
}

Hash MadeLog::RootAt(std::uint64_t size) const {
  ledger::Frontier range;
  for (std::uint64_t i = 0; i < size; ++i) range.Push(log[i].leaf);
  return range.Root();
}

std::string MadeLog::NoteText(std::uint64_t size) const { return ledger::FormatCheckpoint({origin, size, RootAt(size)}); }

void MadeLog::Checkpoint(bool anchored) {
  Signed one;
  one.size = log.size();
  one.note = Note(one.size);
  one.digest = Sha256Of(AsBytes(one.note));
  tpm.clock.clock_ms += 500;
  tpm.pcrs[14] = anchor::Extended(tpm.pcrs[14], one.digest);
  if (anchored) {
    one.anchor = receipts.size() + 1;
    tpm.index = anchor::Extended(tpm.index, one.digest);
    ++tpm.counter;
    const auto data = [&](anchor::Purpose purpose) {
      return anchor::QualifyingData(purpose, log_id, one.anchor, one.digest, Hash{});
    };
    anchor::ReceiptEntry receipt;
    receipt.epoch = epochs.size();
    receipt.number = one.anchor;
    receipt.size = one.size;
    receipt.digest = one.digest;
    receipt.pcr = tpm.pcrs[14];
    receipt.index = tpm.index;
    receipt.counter = tpm.counter;
    receipt.reset_count = tpm.clock.reset_count;
    receipt.restart_count = tpm.clock.restart_count;
    receipt.clock_ms = tpm.clock.clock_ms;
    receipt.wall_ns = kNow;
    receipt.quote = tpm.Quote(data(anchor::Purpose::kReceiptQuote));
    receipt.certify_counter = tpm.Sign(tpm.CertifiedCounter(data(anchor::Purpose::kCertifyCounter)), tpm.ak_private_pem);
    receipt.certify_index = tpm.Sign(tpm.CertifiedIndex(data(anchor::Purpose::kCertifyIndex)), tpm.ak_private_pem);
    receipts.push_back(anchor::EncodeReceipt(receipt));
  }
  checkpoints.push_back(std::move(one));
}

void MadeLog::Reboot() {
  ++tpm.clock.reset_count;
  tpm.clock.restart_count = 0;
  tpm.pcrs[14] = Hash{};
  for (Signed& one : checkpoints) one.this_boot = false;
}

void MadeLog::BeginEpoch(const std::string& word) {
  anchor::EpochClaim claim;
  claim.number = epochs.size() + 1;
  claim.log_id = log_id;
  claim.reason = "the TPM died";
  claim.log_size = log.size();
  claim.log_root = RootAt(log.size());
  claim.log_frontier = RangeHashes(0, log.size());
  if (record.epoch) claim.verdicts = record.epoch->verdicts;
  claim.verdicts.push_back(word);
  claim.anchor = receipts.size();
  for (const Signed& one : checkpoints) {
    claim.checkpoint_size = one.size;
    if (one.anchor != 0) claim.anchored_size = one.size;
  }
  const std::uint64_t another = seed + 1'000 * claim.number;
  tpm = MakeTpm(another, provisioning_public_pem);
  key = std::make_unique<ledger::SigningKey>(
      ledger::SigningKey::FromSeed(origin, Filled("checkpoint key", another)).value());
  record.ek_certificate = tpm.ek_certificate;
  record.identity = tpm.identity;
  record.ak_public_pem = tpm.ak_public_pem;
  record.ak_public = tpm.ak_public;
  record.counter_start = tpm.counter;
  record.index_start = tpm.index;
  record.checkpoint_key = ToBytes(key->verify_key().public_key);
  record.epoch = std::move(claim);
  epochs.push_back(anchor::SignRecord(anchor::EncodeRecord(record), provisioning_key_pem).value());
  receipts.clear();
  checkpoints.clear();
  Append(1);
}

anchor::AuditEntry MadeLog::Attest(const Hash& nonce) const {
  anchor::AuditEntry audit;
  audit.log_id = log_id;
  audit.origin = origin;
  audit.nonce = nonce;
  audit.anchor = receipts.size();
  audit.epoch = epochs.size();
  audit.digest = checkpoints.back().digest;
  audit.note = checkpoints.back().note;
  audit.counter = tpm.counter;
  audit.index = tpm.index;
  audit.reset_count = tpm.clock.reset_count;
  audit.restart_count = tpm.clock.restart_count;
  audit.clock_ms = tpm.clock.clock_ms;
  audit.wall_ns = kNow;
  audit.demand = "made";
  const Hash data = anchor::QualifyingData(anchor::Purpose::kAudit, log_id, audit.anchor, audit.digest, nonce);
  audit.quote = tpm.Quote(data);
  audit.certify_counter = tpm.Sign(tpm.CertifiedCounter(data), tpm.ak_private_pem);
  audit.certify_index = tpm.Sign(tpm.CertifiedIndex(data), tpm.ak_private_pem);
  return audit;
}

BundleWish MadeLog::All(const Hash& nonce) const {
  BundleWish wish;
  wish.nonce = nonce;
  wish.kind = "range";
  for (std::uint64_t i = 1; i < checkpoint_size(); ++i) wish.records.push_back(i);
  return wish;
}

BundleHead MadeLog::Head(const BundleWish& wish) const {
  BundleHead head;
  head.record = signed_record;
  head.epochs = epochs;
  head.vkey = key->verify_key().Vkey();
  head.audit = Attest(wish.nonce);
  if (!receipts.empty()) head.receipt = receipts.back();
  BundleInfo& info = head.info;
  info.pcr_from_baseline = wish.from_baseline || receipts.empty();
  bool behind_anchor = false;
  for (const Signed& one : checkpoints) {
    if (one.anchor != 0) head.anchors.push_back({one.anchor, one.digest, one.note});
    if (one.anchor != 0) info.marks.push_back(one.size);
    if (one.this_boot && (info.pcr_from_baseline || behind_anchor)) head.events.push_back({one.digest, one.note});
    if (one.anchor == receipts.size() && one.anchor != 0) behind_anchor = true;
  }
  info.marks.insert(info.marks.end(), wish.since.begin(), wish.since.end());
  for (const anchor::SignedRecord& one : epochs) {
    info.marks.push_back(anchor::DecodeRecord(one.record).value().epoch->log_size);
  }
  std::sort(info.marks.begin(), info.marks.end());
  info.marks.erase(std::unique(info.marks.begin(), info.marks.end()), info.marks.end());
  info.log_id = log_id;
  info.origin = origin;
  info.nonce = wish.nonce;
  info.created_ns = kNow + static_cast<std::int64_t>(log.size());
  info.software = "test";
  info.selection_kind = wish.kind;
  info.selection_text = "some";
  info.records = wish.records.size() + 1;
  info.payloads = wish.payloads;
  info.log_size = log.size();
  info.anchors_first = head.anchors.empty() ? 0 : 1;
  info.anchors_count = head.anchors.size();
  info.pcr_events = head.events.size();
  return head;
}

Bytes MadeLog::Assemble(const BundleHead& head, const BundleWish& wish) const {
  BundleWriter writer(kNow);
  Bytes out;
  BundleHead whole = head;
  // A proof for the last record, from the definition: the sibling subtrees on the way up.
  if (!wish.records.empty()) {
    struct Leaves final : ledger::NodeSource {
      explicit Leaves(const MadeLog& made) : log(made) {}
      Result<Hash> Node(unsigned level, std::uint64_t index) override {
        return log.RangeHashes(index << level, (index + 1) << level).front();
      }
      const MadeLog& log;
    } leaves(*this);
    whole.proofs.emplace_back(wish.records.back(),
                              ledger::InclusionProof(leaves, wish.records.back(), checkpoint_size()).value());
  }
  STELE_CHECK(WriteHead(whole, writer, out).has_value());
  ChunkWriter chunk(wish.payloads);
  std::uint64_t end = 0;
  const auto gap = [&](std::uint64_t to) {
    std::vector<Hash> hashes;
    for (const GapPart& part : CutGap(end, to, head.info.marks)) {
      for (const Hash& hash : RangeHashes(part.begin, part.end)) hashes.push_back(hash);
    }
    return hashes;
  };
  std::vector<std::uint64_t> records{0};
  records.insert(records.end(), wish.records.begin(), wish.records.end());
  for (const std::uint64_t sequence : records) {
    const MadeRecord& one = log[sequence];
    if (!chunk.HasRoom(one.payload.size())) chunk.Take(writer, out);
    chunk.Add(one.entry, one.salt, one.peer, one.payload, gap(sequence));
    end = sequence + 1;
  }
  chunk.Take(writer, out);
  WriteEndTree(gap(checkpoint_size()), writer, out);
  writer.Finish(out);
  return out;
}

}  // namespace stele::evidence
