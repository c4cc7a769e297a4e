#include "appliance/evidence/bundle_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/base/text.h"
#include "appliance/evidence/ustar.h"
#include "tpm/attest.h"
#include "tpm/names.h"
#include "tpm/signing.h"

namespace stele::evidence {
namespace {

using nlohmann::json;

void AppendHashes(Bytes& out, const std::vector<Hash>& hashes) {
  for (const Hash& hash : hashes) Append(out, hash);
}

std::string Readme(const BundleHead& head) {
  const BundleInfo& info = head.info;
  const std::string qualifying = HexOf(
      anchor::QualifyingData(anchor::Purpose::kAudit, info.log_id, head.audit.anchor, head.audit.digest, info.nonce));
  const std::string pcr = std::to_string(head.audit.pcr);
  std::string text;
  text += "Evidence of a Stele log, made " + FormatTime(info.created_ns) + "\n\n";
  text += "log id      " + HexOf(info.log_id) + "\n";
  text += "origin      " + info.origin + "\n";
  text += "selection   " + info.selection_kind + " " + EscapeForTerminal(AsBytes(info.selection_text)) + "\n";
  text += "entries     " + std::to_string(info.records) + (info.payloads ? ", with their payloads" : ", without payloads") + "\n";
  text += "nonce       " + HexOf(info.nonce) + "\n\n";
  text +=
      "Check it:   stele audit THIS.tar --nonce NONCE --pin PROVISIONING_KEY.pem\n"
      "with a stele of your own, not one from the box. The nonce is yours, the pin is the public key you were given when the\n"
      "log was provisioned. With stock tools, on the extracted files:\n\n";
  text += "  openssl dgst -sha256 -verify provisioning/key.pem -signature provisioning/record.sig provisioning/record.json\n";
  text += "  sha256sum provisioning/record.json                # the log id\n";
  text += "  tpm2_checkquote -u tpm/ak.pem -m quote.attest -s quote.signature -f quote.pcrs.tpm2-tools -g sha256 \\\n    " +
          std::string(info.pcr_from_baseline ? "-e checkpoints.tcg " : "") + "-q " + qualifying + "\n";
  text += "  openssl dgst -sha256 -verify tpm/ak.pem -signature counter.der counter.attest\n";
  text += "  openssl dgst -sha256 -verify tpm/ak.pem -signature index.der index.attest\n";
  text += "  tpm2_eventlog checkpoints.tcg                     # what was extended into PCR " + pcr + "\n\n";
  text +=
      "-q is SHA-256(\"stele/qd/v1\" || \"audit\" || log id || anchor number || checkpoint digest || nonce): docs/format.md.\n"
      "A bundle proves that what it holds is authentic, in its place, and was so when the TPM signed. It does not prove that a\n"
      "query found everything.\n";
  text += head.verify_page
              ? "verify.html does the same in a browser, from the disk and without a network. It is a convenience: a page that came with\n"
                "the evidence can lie about it. An auditor takes verify.html from a release and compares: sha256sum verify.html\n"
              : "There is no verify.html here: the Stele that made this was built without its viewer. An auditor takes it from a release.\n";
  if (!info.pcr_from_baseline) {
    text += "The event log begins at the last anchor, so stock tools cannot replay it from zero: stele bundle --full-log does.\n";
  }
  return text;
}

struct Parts {
  Part attest;
  Part signature;
  Part der;
};

Result<void> WriteAttestation(const TpmAttestation& attestation, const Parts& parts, BundleWriter& writer, Bytes& out) {
  STELE_TRY(const tpm::EcSignature signature, tpm::ParseSignature(attestation.signature));
  writer.Add({parts.attest}, attestation.attest, out);
  writer.Add({parts.signature}, attestation.signature, out);
  writer.Add({parts.der}, tpm::DerOf(signature), out);
  return {};
}

Result<void> WriteQuote(const anchor::AuditEntry& audit, BundleWriter& writer, Bytes& out) {
  STELE_TRY_VOID(
      WriteAttestation(audit.quote, {Part::kQuoteAttest, Part::kQuoteSignature, Part::kQuoteDer}, writer, out));
  STELE_TRY(const tpm::Attested quote, tpm::ParseAttest(audit.quote.attest));
  Bytes raw;
  for (const Hash& value : audit.quote.pcr_values) Append(raw, value);
  writer.Add({Part::kPcrs}, raw, out);
  writer.Add({Part::kToolPcrs}, tpm::ToolPcrBlob(quote.selection, audit.quote.pcr_values), out);
  STELE_TRY_VOID(WriteAttestation(audit.certify_counter,
                                  {Part::kCounterAttest, Part::kCounterSignature, Part::kCounterDer}, writer, out));
  return WriteAttestation(audit.certify_index, {Part::kIndexAttest, Part::kIndexSignature, Part::kIndexDer}, writer, out);
}

}  // namespace

void BundleWriter::Append(std::string_view name, ByteView content, Bytes& out) const {
  stele::Append(out, UstarHeader(std::string(kFolder) + std::string(name), content.size(), time_s_));
  stele::Append(out, content);
  out.resize(out.size() + PaddingOf(content.size()));
}

void BundleWriter::Add(const Member& member, ByteView content, Bytes& out) {
  STELE_CHECK(!last_ || ComesBefore(*last_, member));
  STELE_CHECK(content.size() <= BoundOf(member.part));
  last_ = member;
  const std::string name = NameOf(member);
  Append(name, content, out);
  files_.push_back({name, content.size(), Sha256Of(content)});
}

void BundleWriter::Finish(Bytes& out) {
  json files = json::array();
  for (const Listed& file : files_) {
    files.push_back({{"name", file.name}, {"size", file.size_bytes}, {"sha256", HexOf(file.digest)}});
  }
  const std::string manifest = json{{"files", std::move(files)}}.dump(0) + "\n";
  Append(NameOf({Part::kManifest}), AsBytes(manifest), out);
  stele::Append(out, UstarEnd());
}

std::string EncodeEpochs(const std::vector<anchor::SignedRecord>& epochs) {
  json list = json::array();
  for (const anchor::SignedRecord& one : epochs) {
    list.push_back({{"record_b64", Base64Of(one.record)}, {"signature_b64", Base64Of(one.signature)}});
  }
  return json{{"epochs", std::move(list)}}.dump(1) + "\n";
}

Result<void> WriteHead(const BundleHead& head, BundleWriter& writer, Bytes& out) {
  const anchor::SignedRecord& newest = head.epochs.empty() ? head.record : head.epochs.back();
  STELE_TRY(const anchor::ProvisioningRecord record, anchor::DecodeRecord(newest.record));
  writer.Add({Part::kReadme}, AsBytes(Readme(head)), out);
  writer.Add({Part::kBundle}, AsBytes(EncodeBundleInfo(head.info)), out);
  writer.Add({Part::kRecord}, head.record.record, out);
  writer.Add({Part::kRecordSignature}, head.record.signature, out);
  writer.Add({Part::kProvisioningKey}, AsBytes(head.record.public_key_pem), out);
  if (!head.epochs.empty()) writer.Add({Part::kEpochs}, AsBytes(EncodeEpochs(head.epochs)), out);
  writer.Add({Part::kAkPem}, AsBytes(record.ak_public_pem), out);
  writer.Add({Part::kAkPublic}, record.ak_public, out);
  if (!record.ek_certificate.empty()) writer.Add({Part::kEkCertificate}, record.ek_certificate, out);
  if (!head.ek_chain_pem.empty()) writer.Add({Part::kEkChain}, AsBytes(head.ek_chain_pem), out);
  writer.Add({Part::kVkey}, AsBytes(head.vkey + "\n"), out);
  writer.Add({Part::kCheckpoint}, AsBytes(head.audit.note), out);
  writer.Add({Part::kAttest}, AsBytes(anchor::EncodeAudit(head.audit) + "\n"), out);
  STELE_TRY_VOID(WriteQuote(head.audit, writer, out));
  if (head.receipt) writer.Add({Part::kReceipt}, AsBytes(*head.receipt), out);
  if (head.receipt_before) writer.Add({Part::kReceiptBefore}, AsBytes(*head.receipt_before), out);
  writer.Add({Part::kAnchorsCel}, AsBytes(EncodeAnchorsCel(record.handles.index, head.anchors)), out);
  writer.Add({Part::kCheckpointsTcg}, EncodeEventLog(record.pcr, head.events), out);
  writer.Add({Part::kCheckpointsCel}, AsBytes(EncodeCheckpointsCel(record.pcr, head.events)), out);
  if (!head.boot_log.empty()) writer.Add({Part::kBootTcg}, head.boot_log, out);
  if (!head.cosigned_note.empty()) writer.Add({Part::kCosigned}, AsBytes(head.cosigned_note), out);
  if (!head.witness_policy.empty()) writer.Add({Part::kWitnessPolicy}, AsBytes(head.witness_policy), out);
  for (const auto& [sequence, proof] : head.proofs) {
    writer.Add({Part::kProof, sequence}, AsBytes(TlogProof(sequence, proof, head.audit.note)), out);
  }
  return {};
}

bool ChunkWriter::HasRoom(std::size_t payload_bytes) const {
  return count_ == 0 || (count_ < kChunkRecords && (!payloads_ || payload_bytes_.size() + payload_bytes <= kChunkPayloadBytes));
}

void ChunkWriter::Add(const record::EntryBytes& entry, const record::Salt& salt, const record::Peer& peer, ByteView payload,
                      const std::vector<Hash>& gap) {
  AppendHashes(tree_, gap);
  Append(entries_, entry);
  ++count_;
  if (!payloads_) return;
  Append(salts_, salt);
  Append(peers_, peer);
  Append(payload_bytes_, payload);
}

void ChunkWriter::Take(BundleWriter& writer, Bytes& out) {
  writer.Add({Part::kEntries, number_}, entries_, out);
  writer.Add({Part::kTree, number_}, tree_, out);
  if (payloads_) {
    writer.Add({Part::kSalts, number_}, salts_, out);
    writer.Add({Part::kPeers, number_}, peers_, out);
    writer.Add({Part::kPayloads, number_}, payload_bytes_, out);
  }
  *this = ChunkWriter(payloads_, number_ + 1);
}

void WriteEndTree(const std::vector<Hash>& gap, BundleWriter& writer, Bytes& out) {
  Bytes tree;
  AppendHashes(tree, gap);
  writer.Add({Part::kEndTree}, tree, out);
}

std::string TlogProof(std::uint64_t sequence, const std::vector<Hash>& proof, std::string_view note) {
  std::string text = "c2sp.org/tlog-proof@v1\nindex " + std::to_string(sequence) + "\n";
  for (const Hash& hash : proof) text += Base64Of(hash) + "\n";
  return text + "\n" + std::string(note);
}

}  // namespace stele::evidence
