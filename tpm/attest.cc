#include "tpm/attest.h"

#include <algorithm>

#include "appliance/base/hash.h"
#include "tpm/big_endian.h"
#include "tpm/names.h"

namespace stele::tpm {
namespace {

constexpr std::uint32_t kMagic = 0xff544347;  // TPM_GENERATED_VALUE: a TPM signs a caller's bytes only without it
constexpr std::uint16_t kAlgEcdsa = 0x0018;
constexpr std::uint32_t kNvRead = 0x0000014e;    // TPM_CC_NV_Read
constexpr std::size_t kNameBytesMax = 2 + 64;    // TPM2B_NAME with the largest hash
constexpr std::size_t kDataBytesMax = 64;        // TPM2B_DATA holds at most a digest
constexpr std::size_t kContentsBytesMax = 2048;  // MAX_NV_BUFFER_SIZE of the TPMs known to us

tl::unexpected<Error> OtherKind() { return Fail(Code::kDenied, "attestation: another kind than expected"); }

tl::unexpected<Error> Malformed(const char* what) { return Fail(Code::kInvalid, std::string("attestation: ") + what); }

void ParseClock(BigReader& in, TpmClock& clock, bool& safe_is_boolean) {
  clock.clock_ms = in.Int<std::uint64_t>();
  clock.reset_count = in.Int<std::uint32_t>();
  clock.restart_count = in.Int<std::uint32_t>();
  const auto safe = in.Int<std::uint8_t>();
  safe_is_boolean = safe <= 1;
  clock.safe = safe == 1;
}

Result<void> ParseQuoteBody(BigReader& in, Attested& out) {
  if (in.Int<std::uint32_t>() != 1 || in.Int<std::uint16_t>() != kAlgSha256) {
    return Malformed("a quote over one selection of the sha256 bank is expected");
  }
  if (in.Int<std::uint8_t>() != out.selection.size()) return Malformed("a selection of 24 registers is expected");
  const ByteView select = in.Raw(out.selection.size());
  const ByteView digest = in.Sized();
  if (!in.ok() || digest.size() != kHashBytes) return Malformed("the PCR digest is not a SHA-256 digest");
  std::memcpy(out.selection.data(), select.data(), select.size());
  std::memcpy(out.pcr_digest.data(), digest.data(), digest.size());
  return {};
}

Result<void> ParseNvBody(BigReader& in, Attested& out) {
  const ByteView name = in.Sized();
  out.offset = in.Int<std::uint16_t>();
  const ByteView contents = in.Sized();
  if (!in.ok() || name.size() > kNameBytesMax || contents.size() > kContentsBytesMax) {
    return Malformed("the NV part is cut short or too long");
  }
  out.index_name = ToBytes(name);
  out.contents = ToBytes(contents);
  return {};
}

Result<void> ParseAuditBody(BigReader& in, Attested& out) {
  const auto exclusive = in.Int<std::uint8_t>();
  const ByteView digest = in.Sized();
  if (!in.ok() || exclusive > 1 || digest.size() != kHashBytes) {
    return Malformed("the session digest is not a SHA-256 digest");
  }
  out.exclusive = exclusive == 1;
  std::memcpy(out.session_digest.data(), digest.data(), digest.size());
  return {};
}

// Signature, signer and qualifying data: what every kind of attestation shares.
Result<Attested> VerifyCommon(const TpmAttestation& attestation, const Signer& signer, const Hash& qualifying_data) {
  STELE_TRY(const EcSignature signature, ParseSignature(attestation.signature));
  STELE_TRY_VOID(VerifyRaw(signer.public_pem, attestation.attest, signature));
  STELE_TRY(Attested attested, ParseAttest(attestation.attest));
  if (!SameBytes(attested.extra_data, qualifying_data))
    return Fail(Code::kDenied, "attestation: other qualifying data");
  if (!signer.qualified_signer.empty() && !SameBytes(attested.qualified_signer, signer.qualified_signer)) {
    return Fail(Code::kDenied, "attestation: signed by another key than the pinned child of the pinned EK");
  }
  return attested;
}

Result<Attested> VerifyAuditedRead(Attested attested, ByteView contents, ByteView index_name, std::size_t size_bytes) {
  if (contents.size() != size_bytes) return Fail(Code::kDenied, "attestation: not the whole NV index");
  if (index_name.empty() || attested.session_digest != AuditedReadDigest(index_name, contents)) {
    return Fail(Code::kDenied,
                "attestation: the audited session was not a read of this value from the pinned NV index");
  }
  if (!attested.exclusive) {
    return Fail(Code::kDenied,
                "attestation: other commands ran since the audited read, so the value may be an old one");
  }
  attested.index_name = ToBytes(index_name);
  attested.contents = ToBytes(contents);
  return attested;
}

Result<Attested> VerifyNv(const TpmAttestation& certificate, const Signer& signer, const Hash& qualifying_data,
                          ByteView index_name, std::size_t size_bytes) {
  STELE_TRY(Attested attested, VerifyCommon(certificate, signer, qualifying_data));
  if (attested.type == AttestType::kSessionAudit) {
    return VerifyAuditedRead(std::move(attested), certificate.contents, index_name, size_bytes);
  }
  if (attested.type != AttestType::kNvCertify || !certificate.contents.empty()) return OtherKind();
  if (index_name.empty() || !SameBytes(attested.index_name, index_name)) {
    return Fail(Code::kDenied, "attestation: another NV index than the pinned one");
  }
  if (attested.offset != 0 || attested.contents.size() != size_bytes) {
    return Fail(Code::kDenied, "attestation: not the whole NV index");
  }
  return attested;
}

}  // namespace

Result<Attested> ParseAttest(ByteView attest) {
  BigReader in(attest);
  if (in.Int<std::uint32_t>() != kMagic) return Malformed("wrong magic");
  const auto type = in.Int<std::uint16_t>();
  Attested out;
  const ByteView signer = in.Sized();
  const ByteView extra = in.Sized();
  bool safe_is_boolean = false;
  ParseClock(in, out.clock, safe_is_boolean);
  out.firmware_version = in.Int<std::uint64_t>();
  if (!in.ok()) return Malformed("cut short");
  if (signer.size() > kNameBytesMax || extra.size() > kDataBytesMax || !safe_is_boolean) {
    return Malformed("a field is out of its range");
  }
  out.qualified_signer = ToBytes(signer);
  out.extra_data = ToBytes(extra);
  if (type == static_cast<std::uint16_t>(AttestType::kQuote)) {
    out.type = AttestType::kQuote;
    STELE_TRY_VOID(ParseQuoteBody(in, out));
  } else if (type == static_cast<std::uint16_t>(AttestType::kNvCertify)) {
    out.type = AttestType::kNvCertify;
    STELE_TRY_VOID(ParseNvBody(in, out));
  } else if (type == static_cast<std::uint16_t>(AttestType::kSessionAudit)) {
    out.type = AttestType::kSessionAudit;
    STELE_TRY_VOID(ParseAuditBody(in, out));
  } else {
    return Malformed("neither a quote nor an NV certificate nor a session audit");
  }
  if (!in.AtEnd()) return Malformed("bytes left over");
  return out;
}

Bytes SerialiseAttest(const Attested& attested) {
  Bytes out;
  BigWriter writer(out);
  writer.Int(kMagic);
  writer.Int(static_cast<std::uint16_t>(attested.type));
  writer.Sized(attested.qualified_signer);
  writer.Sized(attested.extra_data);
  writer.Int(attested.clock.clock_ms);
  writer.Int(attested.clock.reset_count);
  writer.Int(attested.clock.restart_count);
  writer.Int(static_cast<std::uint8_t>(attested.clock.safe ? 1 : 0));
  writer.Int(attested.firmware_version);
  if (attested.type == AttestType::kQuote) {
    writer.Int(std::uint32_t{1});
    writer.Int(kAlgSha256);
    writer.Int(static_cast<std::uint8_t>(attested.selection.size()));
    writer.Raw(std::as_bytes(std::span(attested.selection)));
    writer.Sized(attested.pcr_digest);
  } else if (attested.type == AttestType::kSessionAudit) {
    writer.Int(static_cast<std::uint8_t>(attested.exclusive ? 1 : 0));
    writer.Sized(attested.session_digest);
  } else {
    writer.Sized(attested.index_name);
    writer.Int(attested.offset);
    writer.Sized(attested.contents);
  }
  return out;
}

Result<EcSignature> ParseSignature(ByteView signature) {
  BigReader in(signature);
  if (in.Int<std::uint16_t>() != kAlgEcdsa || in.Int<std::uint16_t>() != kAlgSha256) {
    return Malformed("an ECDSA signature over SHA-256 is expected");
  }
  const ByteView r = in.Sized();
  const ByteView s = in.Sized();
  if (!in.AtEnd() || r.empty() || s.empty() || r.size() > kHashBytes || s.size() > kHashBytes) {
    return Malformed("the signature is not two P-256 scalars");
  }
  EcSignature out;  // left-padded: some TPMs strip leading zeros
  std::copy(r.begin(), r.end(), out.r.end() - static_cast<std::ptrdiff_t>(r.size()));
  std::copy(s.begin(), s.end(), out.s.end() - static_cast<std::ptrdiff_t>(s.size()));
  return out;
}

Result<Attested> VerifyQuote(const TpmAttestation& quote, const Signer& signer, const Hash& qualifying_data,
                             std::uint32_t anchor_pcr) {
  STELE_TRY(Attested attested, VerifyCommon(quote, signer, qualifying_data));
  if (attested.type != AttestType::kQuote) return OtherKind();
  if (!IsAnchorPcr(anchor_pcr) || attested.selection != QuoteSelection(anchor_pcr)) {
    return Fail(Code::kDenied, "attestation: a quote over other registers than expected");
  }
  return attested;
}

Result<Hash> VerifyQuotedValues(const Attested& quote, const std::vector<Hash>& values, std::uint32_t anchor_pcr) {
  const std::vector<std::uint32_t> registers = RegistersOf(quote.selection);
  const auto place = std::find(registers.begin(), registers.end(), anchor_pcr);
  if (quote.type != AttestType::kQuote || place == registers.end() || values.size() != registers.size()) {
    return Fail(Code::kInvalid, "attestation: the register values do not fit the quote");
  }
  Bytes all;
  for (const Hash& value : values) Append(all, value);
  if (Sha256Of(ByteView(all)) != quote.pcr_digest) {
    return Fail(Code::kDenied, "attestation: the register values are not the quoted ones");
  }
  return values[static_cast<std::size_t>(place - registers.begin())];
}

Bytes ToolPcrBlob(const PcrSelection& selection, const std::vector<Hash>& values) {
  constexpr std::size_t kBanks = 16;
  constexpr std::size_t kSelectionBytes = 8;
  constexpr std::size_t kDigestsPerList = 8;
  constexpr std::size_t kDigestBytes = 64;
  if (values.empty() || values.size() != RegistersOf(selection).size()) return {};
  Bytes out;
  Writer writer(out);
  writer.Int(std::uint32_t{1});
  writer.Int(kAlgSha256);
  writer.Int(static_cast<std::uint8_t>(selection.size()));
  writer.Raw(std::as_bytes(std::span(selection)));
  out.resize(sizeof(std::uint32_t) + kBanks * kSelectionBytes);
  const std::size_t lists = (values.size() + kDigestsPerList - 1) / kDigestsPerList;
  writer.Int(static_cast<std::uint32_t>(lists));
  for (std::size_t list = 0; list < lists; ++list) {
    const std::size_t first = list * kDigestsPerList;
    const std::size_t count = std::min(kDigestsPerList, values.size() - first);
    writer.Int(static_cast<std::uint32_t>(count));
    for (std::size_t i = 0; i < kDigestsPerList; ++i) {
      const std::size_t end = out.size() + sizeof(std::uint16_t) + kDigestBytes;
      writer.Int(static_cast<std::uint16_t>(i < count ? kHashBytes : 0));
      if (i < count) writer.Raw(values[first + i]);
      out.resize(end);
    }
  }
  return out;
}

Hash AuditedReadDigest(ByteView index_name, ByteView contents) {
  Bytes command;  // code || Name of whose authorisation || Name of the index || size || offset
  BigWriter asked(command);
  asked.Int(kNvRead);
  asked.Raw(index_name);
  asked.Raw(index_name);
  asked.Int(static_cast<std::uint16_t>(contents.size()));
  asked.Int(std::uint16_t{0});
  Bytes response;  // TPM_RC_SUCCESS || code || parameters
  BigWriter answered(response);
  answered.Int(std::uint32_t{0});
  answered.Int(kNvRead);
  answered.Sized(contents);
  return Sha256Of({Hash{}, Sha256Of(ByteView(command)), Sha256Of(ByteView(response))});
}

Result<CertifiedCounter> VerifyCounter(const TpmAttestation& certificate, const Signer& signer,
                                       const Hash& qualifying_data, ByteView counter_name) {
  STELE_TRY(Attested attested, VerifyNv(certificate, signer, qualifying_data, counter_name, sizeof(std::uint64_t)));
  CertifiedCounter out;
  out.value = BigReader(attested.contents).Int<std::uint64_t>();
  out.attested = std::move(attested);
  return out;
}

Result<CertifiedIndex> VerifyIndex(const TpmAttestation& certificate, const Signer& signer, const Hash& qualifying_data,
                                   ByteView index_name) {
  STELE_TRY(Attested attested, VerifyNv(certificate, signer, qualifying_data, index_name, kHashBytes));
  CertifiedIndex out;
  std::memcpy(out.value.data(), attested.contents.data(), kHashBytes);
  out.attested = std::move(attested);
  return out;
}

}  // namespace stele::tpm
