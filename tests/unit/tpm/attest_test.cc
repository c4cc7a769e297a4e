// Goal: the attestation parser is total and exact. Method: structures built here with a software key (no TPM), every
// truncation, trailing byte, and field changed; what a real TPM makes is covered by device_test.cc.
#include "tpm/attest.h"

#include <gtest/gtest.h>

#include "appliance/base/hash.h"
#include "tpm/big_endian.h"

namespace stele::tpm {
namespace {

Hash Filled(std::uint8_t value) {
  Hash out;
  out.fill(static_cast<std::byte>(value));
  return out;
}

Attested SampleQuote() {
  Attested quote;
  quote.type = AttestType::kQuote;
  quote.qualified_signer = Bytes(34, std::byte{0x0b});
  quote.extra_data = ToBytes(Filled(0x5a));
  quote.clock = TpmClock{1'234'567, 42, 3, true};
  quote.firmware_version = 0x2019102300163636;
  quote.selection = QuoteSelection(14);
  Bytes zeros(12 * kHashBytes);
  quote.pcr_digest = Sha256Of(ByteView(zeros));
  return quote;
}

Attested SampleCounter(std::uint64_t value) {
  Attested nv = SampleQuote();
  nv.type = AttestType::kNvCertify;
  nv.selection = {};
  nv.pcr_digest = {};
  nv.index_name = Bytes(34, std::byte{0x77});
  BigWriter(nv.contents).Int(value);
  return nv;
}

struct Signed {
  std::string public_pem;
  TpmAttestation attestation;
};

Signed SignedBySoftware(const Bytes& attest) {
  const std::string key = MakeSigningKey().value();
  const EcSignature signature = SignRaw(key, attest).value();
  Signed out;
  out.public_pem = PublicPemOf(key).value();
  out.attestation.attest = attest;
  BigWriter writer(out.attestation.signature);
  writer.Int(std::uint16_t{0x0018});
  writer.Int(std::uint16_t{0x000b});
  writer.Sized(signature.r);
  writer.Sized(signature.s);
  return out;
}

TEST(Attest, WhatIsWrittenIsReadBack) {
  for (const Attested& one : {SampleQuote(), SampleCounter(17)}) {
    const Bytes raw = SerialiseAttest(one);
    const auto parsed = ParseAttest(raw);
    ASSERT_TRUE(parsed.has_value()) << Describe(parsed.error());
    EXPECT_EQ(SerialiseAttest(*parsed), raw);
    EXPECT_EQ(parsed->type, one.type);
    EXPECT_EQ(parsed->qualified_signer, one.qualified_signer);
    EXPECT_EQ(parsed->extra_data, one.extra_data);
    EXPECT_EQ(parsed->clock.clock_ms, 1'234'567U);
    EXPECT_EQ(parsed->clock.reset_count, 42U);
    EXPECT_EQ(parsed->clock.restart_count, 3U);
    EXPECT_TRUE(parsed->clock.safe);
    EXPECT_EQ(parsed->firmware_version, one.firmware_version);
    EXPECT_EQ(parsed->selection, one.selection);
    EXPECT_EQ(parsed->pcr_digest, one.pcr_digest);
    EXPECT_EQ(parsed->index_name, one.index_name);
    EXPECT_EQ(parsed->contents, one.contents);
  }
}

TEST(Attest, EveryTruncationAndEveryTrailingByteIsRefused) {
  for (const Attested& one : {SampleQuote(), SampleCounter(17)}) {
    const Bytes raw = SerialiseAttest(one);
    for (std::size_t size = 0; size < raw.size(); ++size) {
      const auto parsed = ParseAttest(ByteView(raw).first(size));
      ASSERT_FALSE(parsed.has_value()) << size;
      EXPECT_EQ(parsed.error().code, Code::kInvalid);
    }
    Bytes longer = raw;
    longer.push_back(std::byte{0});
    EXPECT_EQ(ParseAttest(longer).error().code, Code::kInvalid);
  }
}

TEST(Attest, WrongMagicKindBankSelectionOrSafeFlagIsRefused) {
  const Bytes raw = SerialiseAttest(SampleQuote());
  const std::size_t safe_at = 4 + 2 + 2 + 34 + 2 + 32 + 8 + 4 + 4;
  const std::size_t body_at = safe_at + 1 + 8;
  for (const std::size_t at : {std::size_t{0}, std::size_t{3}, std::size_t{5}, safe_at, body_at + 3, body_at + 5,
                               body_at + 6}) {
    Bytes altered = raw;
    altered[at] ^= std::byte{2};
    EXPECT_FALSE(ParseAttest(altered)) << at;
  }
}

TEST(Attest, ALengthFieldThatLiesIsRefused) {
  for (const Attested& one : {SampleQuote(), SampleCounter(17)}) {
    const Bytes raw = SerialiseAttest(one);
    for (const std::size_t at : {std::size_t{6}, std::size_t{7}, std::size_t{42}, std::size_t{43}, raw.size() - 33}) {
      for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0xffU}) {
        Bytes altered = raw;
        if (altered[at] == static_cast<std::byte>(value)) continue;
        altered[at] = static_cast<std::byte>(value);
        const auto parsed = ParseAttest(altered);
        // Where it still parses (a byte that was no length), it says exactly what the bytes say.
        if (parsed) {
          EXPECT_EQ(SerialiseAttest(*parsed), altered);
        }
      }
    }
  }
}

TEST(Attest, SignatureParserTakesTwoScalarsAndNothingElse) {
  const Signed one = SignedBySoftware(SerialiseAttest(SampleQuote()));
  const Bytes& raw = one.attestation.signature;
  ASSERT_TRUE(ParseSignature(raw));
  for (std::size_t size = 0; size < raw.size(); ++size) EXPECT_FALSE(ParseSignature(ByteView(raw).first(size))) << size;
  Bytes longer = raw;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(ParseSignature(longer));
  Bytes rsa = raw;
  rsa[1] = std::byte{0x14};
  EXPECT_FALSE(ParseSignature(rsa));
  // A TPM that strips leading zeros: the scalar is padded on the left.
  const Bytes shorter = *ParseHex("0018000b" "0001" "07" "0002" "0809");
  const auto parsed = ParseSignature(shorter);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->r[31], std::byte{7});
  EXPECT_EQ(parsed->s[30], std::byte{8});
  EXPECT_EQ(parsed->r[0], std::byte{0});
}

TEST(Attest, VerifyNeedsTheKeyTheNonceAndTheSigner) {
  const Attested sample = SampleQuote();
  const Signed one = SignedBySoftware(SerialiseAttest(sample));
  const Signer signer{one.public_pem, sample.qualified_signer};
  EXPECT_TRUE(VerifyQuote(one.attestation, signer, Filled(0x5a), 14));
  EXPECT_TRUE(VerifyQuote(one.attestation, Signer{one.public_pem, {}}, Filled(0x5a), 14));
  EXPECT_EQ(VerifyQuote(one.attestation, signer, Filled(0x5b), 14).error().code, Code::kDenied);
  EXPECT_EQ(VerifyQuote(one.attestation, signer, Filled(0x5a), 8).error().code, Code::kDenied);
  EXPECT_EQ(VerifyQuote(one.attestation, signer, Filled(0x5a), 16).error().code, Code::kDenied);
  const Bytes other_signer(34, std::byte{1});
  EXPECT_EQ(VerifyQuote(one.attestation, Signer{one.public_pem, other_signer}, Filled(0x5a), 14).error().code,
            Code::kDenied);
  const std::string other_key = PublicPemOf(MakeSigningKey().value()).value();
  EXPECT_EQ(VerifyQuote(one.attestation, Signer{other_key, {}}, Filled(0x5a), 14).error().code, Code::kDenied);
  EXPECT_EQ(VerifyQuote(one.attestation, Signer{"no key", {}}, Filled(0x5a), 14).error().code, Code::kInvalid);
}

TEST(Attest, QuotedValuesMustBeCompleteAndHashToTheDigest) {
  const auto quote = ParseAttest(SerialiseAttest(SampleQuote())).value();
  std::vector<Hash> values(12);
  EXPECT_EQ(VerifyQuotedValues(quote, values, 14).value(), Hash{});
  values.resize(11);
  EXPECT_EQ(VerifyQuotedValues(quote, values, 14).error().code, Code::kInvalid);
  values.resize(12);
  values[3] = Filled(1);
  EXPECT_EQ(VerifyQuotedValues(quote, values, 14).error().code, Code::kDenied);
  EXPECT_EQ(VerifyQuotedValues(quote, std::vector<Hash>(12), 13).error().code, Code::kInvalid);
}

TEST(Attest, ToolBlobNeedsOneValuePerRegister) {
  EXPECT_EQ(ToolPcrBlob(QuoteSelection(14), std::vector<Hash>(12)).size(), 1200U);
  EXPECT_TRUE(ToolPcrBlob(QuoteSelection(14), std::vector<Hash>(11)).empty());
  EXPECT_TRUE(ToolPcrBlob(PcrSelection{}, {}).empty());
}

TEST(Attest, NvCertificateMustBeWholeAndOfThePinnedIndex) {
  const Attested sample = SampleCounter(99);
  const Signed good = SignedBySoftware(SerialiseAttest(sample));
  const Signer signer{good.public_pem, {}};
  EXPECT_EQ(VerifyCounter(good.attestation, signer, Filled(0x5a), sample.index_name).value().value, 99U);
  EXPECT_EQ(VerifyIndex(good.attestation, signer, Filled(0x5a), sample.index_name).error().code, Code::kDenied);

  Attested part = sample;
  part.offset = 4;
  const Signed with_offset = SignedBySoftware(SerialiseAttest(part));
  EXPECT_EQ(VerifyCounter(with_offset.attestation, Signer{with_offset.public_pem, {}}, Filled(0x5a), sample.index_name)
                .error().code, Code::kDenied);
  part = sample;
  part.contents.pop_back();
  const Signed shorter = SignedBySoftware(SerialiseAttest(part));
  EXPECT_EQ(VerifyCounter(shorter.attestation, Signer{shorter.public_pem, {}}, Filled(0x5a), sample.index_name)
                .error().code, Code::kDenied);
}

Attested SampleAudit(const Bytes& name, const Bytes& contents) {
  Attested audit = SampleCounter(0);
  audit.type = AttestType::kSessionAudit;
  audit.index_name.clear();
  audit.contents.clear();
  audit.exclusive = true;
  audit.session_digest = AuditedReadDigest(name, contents);
  return audit;
}

TEST(Attest, AnAuditedReadProvesThisValueOfThisIndexAndNothingElse) {
  const Bytes name = SampleCounter(0).index_name;
  const Bytes value = SampleCounter(7).contents;
  const auto check = [&](const Attested& audit, const Bytes& told, const Bytes& of) {
    Signed made = SignedBySoftware(SerialiseAttest(audit));
    made.attestation.contents = told;
    return VerifyCounter(made.attestation, Signer{made.public_pem, {}}, Filled(0x5a), of);
  };
  const Attested good = SampleAudit(name, value);
  EXPECT_EQ(ParseAttest(SerialiseAttest(good)).value().session_digest, good.session_digest);
  const auto read = check(good, value, name);
  ASSERT_TRUE(read.has_value()) << Describe(read.error());
  EXPECT_EQ(read->value, 7U);
  EXPECT_EQ(read->attested.index_name, name);

  EXPECT_EQ(check(good, SampleCounter(8).contents, name).error().code, Code::kDenied);  // told another value
  EXPECT_EQ(check(good, {}, name).error().code, Code::kDenied);                         // told nothing
  Bytes other = name;
  other.back() ^= std::byte{1};
  EXPECT_EQ(check(good, value, other).error().code, Code::kDenied);
  EXPECT_EQ(check(good, value, {}).error().code, Code::kDenied);
  const Bytes part(value.begin(), value.end() - 1);
  EXPECT_EQ(check(SampleAudit(name, part), part, name).error().code, Code::kDenied);
  Attested old = good;  // read, then written, then attested
  old.exclusive = false;
  EXPECT_EQ(check(old, value, name).error().code, Code::kDenied);
  EXPECT_EQ(check(SampleCounter(7), value, name).error().code,
            Code::kDenied);  // a certificate says itself what it holds
}

TEST(Attest, ASessionAuditIsParsedTotally) {
  const Bytes good = SerialiseAttest(SampleAudit(SampleCounter(0).index_name, SampleCounter(1).contents));
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(ParseAttest(ByteView(good).first(n))) << n;
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(ParseAttest(longer));
  Bytes flag = good;
  flag[good.size() - 2 - kHashBytes - 1] = std::byte{2};
  EXPECT_FALSE(ParseAttest(flag));
}

}  // namespace
}  // namespace stele::tpm
