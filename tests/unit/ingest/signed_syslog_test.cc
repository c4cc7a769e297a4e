// Goal: a block of signed syslog is called valid only when a registered key signed exactly this message, and messages
// that are missing, altered, unlisted or replayed are found. Method: the two blocks of RFC 5848 itself; a signer of
// plain arithmetic (syslog_signer.h); each way to cheat, each byte changed, each cut; time passed by hand.
#include <gtest/gtest.h>

#include "appliance/ingest/signed_block.h"
#include "appliance/ingest/signed_coverage.h"
#include "appliance/ingest/signed_sessions.h"
#include "tests/unit/syslog_signer.h"
#include "tests/unit/tls_material.h"

namespace stele::ingest {
namespace {

using test::BlockText;
using test::SyslogSigner;
using Reading = SignedBlockReading::Word;
using Word = BlockVerdict::Word;

// RFC 5848 sections 5.3.2.9 and 4.2.9, lines joined.
const std::string kRfcCertificate =
    "<110>1 2009-05-03T14:00:39.519307+02:00 host.example.org syslogd 2138 - [ssign-cert VER=\"0111\" RSID=\"1\" "
    "SG=\"0\" "
    "SPRI=\"0\" TPBL=\"587\" INDEX=\"1\" FLEN=\"587\" FRAG=\"2009-05-03T14:00:39.519005+02:00 K " +
    std::string(test::kRfc5848Key) + "\" SIGN=\"AKAQEUiQptgpd0lKcXbuggGXH/dCdQCgdysrTBLUlbeGAQ4vwrnLOqSL7+c=\"]";
const std::string kRfcBlock =
    "<110>1 2009-05-03T14:00:39.529966+02:00 host.example.org syslogd 2138 - [ssign VER=\"0111\" RSID=\"1\" SG=\"0\" "
    "SPRI=\"0\" GBC=\"2\" FMN=\"1\" CNT=\"7\" HB=\"K6wzcombEvKJ+UTMcn9bPryAeaU= zrkDcIeaDluypaPCY8WWzwHpPok= "
    "zgrWOdpx16ADc7UmckyIFY53icE= XfopJ+S8/hODapiBBCgVQaLqBKg= J67gKMFl/OauTC20ibbydwIlJC8= "
    "M5GziVgB6KPY3ERU1HXdSi2vtdw= Wxd/lU7uG/ipEYT9xeqnsfohyH0=\" "
    "SIGN=\"AKBbX4J7QkrwuwdbV7Taujk2lvOf8gCgC62We1QYfnrNHz7FzAvdySuMyfM=\"]";
constexpr std::int64_t kNow = 1'780'000'000'000'000'000;  // within the test certificates' dates: see Now()
constexpr std::int64_t kSecond = 1'000'000'000;

std::int64_t Now() { return static_cast<std::int64_t>(::time(nullptr)) * kSecond; }

SyslogKeys RingOf(const SyslogKeyText& text) {
  SyslogKeys keys;
  const auto added = keys.Add(text);
  EXPECT_TRUE(added.has_value()) << added.error().context;
  return keys;
}
SyslogKeys RingOf(const SyslogSigner& signer, const std::string& host = "") {
  return RingOf({"core", host, signer.KeyBlob(), "", "", "", ""});
}

SignedBlock BlockOf(const std::string& message) {
  auto reading = ReadSignedBlock(AsBytes(message));
  EXPECT_EQ(reading.word, Reading::kBlock) << reading.reason << ": " << message;
  return reading.block;
}

// One source's sessions with all the time there is.
struct Judges {
  std::size_t payload_bytes = 0;
  SignedSessions sessions{payload_bytes};
  unsigned checks = 1'000'000;
  BlockVerdict operator()(const std::string& message, const SyslogKeys& keys) {
    const auto reading = ReadSignedBlock(AsBytes(message));
    if (reading.word != Reading::kBlock) return {Word::kUnknown, nullptr, reading.reason};
    return sessions.Judge(reading.block, keys, Now(), checks);
  }
};

TEST(SignedSyslog, TheBlocksOfTheRfcAreValid) {
  const SyslogKeys keys = RingOf({"rfc", "host.example.org", test::kRfc5848Key, "", "", "", ""});
  Judges judge;
  EXPECT_EQ(judge(kRfcCertificate, keys).word, Word::kValid);
  const BlockVerdict verdict = judge(kRfcBlock, keys);
  EXPECT_EQ(verdict.word, Word::kValid);
  EXPECT_EQ(verdict.registered->name, "rfc");
  const SignedBlock block = BlockOf(kRfcBlock);
  EXPECT_EQ(block.host, "host.example.org");
  EXPECT_EQ(block.app, "syslogd");
  EXPECT_EQ(block.pid, "2138");
  EXPECT_EQ(block.block_number, 2U);
  EXPECT_EQ(block.first_message, 1U);
  EXPECT_EQ(block.hashes.size(), 7U);
  EXPECT_EQ(BlockOf(kRfcCertificate).fragment.size(), 587U);
}

TEST(SignedSyslog, NoChangedByteIsValid) {
  const SyslogKeys keys = RingOf({"rfc", "", test::kRfc5848Key, "", "", "", ""});
  Judges judge;
  for (std::size_t at = 0; at < kRfcBlock.size(); ++at) {
    std::string changed = kRfcBlock;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_NE(judge(changed, keys).word, Word::kValid) << at << ' ' << changed;
  }
}

TEST(SignedSyslog, NoCutBlockIsValidAndEachCutIsTaken) {
  const SyslogKeys keys = RingOf({"rfc", "", test::kRfc5848Key, "", "", "", ""});
  for (const std::string& whole : {kRfcBlock, kRfcCertificate}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const auto reading = ReadSignedBlock(AsBytes(whole.substr(0, size)));
      EXPECT_NE(reading.word, Reading::kBlock) << size;
      if (size > whole.find("VER")) {
        EXPECT_EQ(reading.word, Reading::kMalformed) << size;
      }
    }
  }
}

TEST(SignedSyslog, OrdinaryMessagesAreNoBlocks) {
  for (const char* text : {"", "<13>x", "<13>Nov 21 06:00:00 a b: [ssign VER=\"0111\"]",
                           "<13>1 - a b - - - [ssign VER=\"0111\"]", "<13>1 - a b - - [other x=\"1\"] [ssign ]",
                           "<13>1 - a b - - [ssignal x=\"1\"]", "<13>1 - a b - - [x@1 a=\"b"}) {
    EXPECT_EQ(ReadSignedBlock(AsBytes(text)).word, Reading::kNone) << text;
  }
}

TEST(SignedSyslog, EachFieldHasItsRange) {
  const SyslogSigner signer(7);
  const auto reading = [&](const std::string& from, const std::string& to) {
    std::string text = signer.Block({}, {"a", "b"});
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    return ReadSignedBlock(AsBytes(text)).word;
  };
  EXPECT_EQ(reading("RSID=\"1\"", "RSID=\"9999999999\""), Reading::kBlock);
  EXPECT_EQ(reading("RSID=\"1\"", "RSID=\"10000000000\""), Reading::kMalformed);
  EXPECT_EQ(reading("SG=\"0\"", "SG=\"3\""), Reading::kBlock);
  EXPECT_EQ(reading("SG=\"0\"", "SG=\"4\""), Reading::kMalformed);
  EXPECT_EQ(reading("SPRI=\"0\"", "SPRI=\"191\""), Reading::kBlock);
  EXPECT_EQ(reading("SPRI=\"0\"", "SPRI=\"192\""), Reading::kMalformed);
  EXPECT_EQ(reading("GBC=\"0\"", "GBC=\"-1\""), Reading::kMalformed);
  EXPECT_EQ(reading("FMN=\"1\"", "FMN=\"0\""), Reading::kMalformed);
  EXPECT_EQ(reading("FMN=\"1\"", "FMN=\"9999999998\""), Reading::kBlock);
  EXPECT_EQ(reading("FMN=\"1\"", "FMN=\"9999999999\""), Reading::kMalformed);
  EXPECT_EQ(reading("CNT=\"2\"", "CNT=\"3\""), Reading::kMalformed);
  EXPECT_EQ(reading("CNT=\"2\"", "CNT=\"0\""), Reading::kMalformed);
  EXPECT_EQ(reading("VER=\"0121\"", "VER=\"0122\""), Reading::kUnsupported);
  EXPECT_EQ(reading("VER=\"0121\"", "VER=\"0221\""), Reading::kUnsupported);
  EXPECT_EQ(reading("VER=\"0121\"", "VER=\"01x1\""), Reading::kMalformed);
  EXPECT_EQ(reading("VER=\"0121\"", "VER=\"0111\""), Reading::kMalformed);  // its hashes are longer
  EXPECT_EQ(reading(" GBC=\"0\"", ""), Reading::kMalformed);
  EXPECT_EQ(reading(" GBC=\"0\"", " GBC=\"0\" GBC=\"0\""), Reading::kMalformed);
  EXPECT_EQ(reading(" GBC=\"0\"", " GBC=\"0\" X=\"0\""), Reading::kMalformed);
  EXPECT_EQ(reading("[ssign ", "[ssign-cert TPBL=\"1\"][ssign "), Reading::kMalformed);
}

TEST(SignedSyslog, BothHashesAndBothFormsOfASignatureHold) {
  const SyslogSigner signer(7);
  const SyslogKeys keys = RingOf(signer, "switch-1");
  for (const char* ver : {"0111", "0121"}) {
    BlockText text;
    text.ver = ver;
    Judges judge;
    EXPECT_EQ(judge(signer.Block(text, {"a", "b"}), keys).word, Word::kValid) << ver;
    EXPECT_EQ(judge(signer.Block(text, {"a", "b"}, /*der=*/true), keys).word, Word::kValid) << ver;
    EXPECT_EQ(BlockOf(signer.Block(text, {"abc"})).hashes[0],
              DigestOf(std::string(ver) == "0111" ? BlockHash::kSha1 : BlockHash::kSha256, AsBytes("abc")));
  }
}

TEST(SignedSyslog, AStrangersKeyIsInvalidForARegisteredHostAndElseUnknown) {
  const SyslogSigner signer(7);
  const SyslogSigner stranger(8);
  Judges judge;
  EXPECT_EQ(judge(stranger.Block({}, {"a"}), RingOf(signer, "SWITCH-1")).word, Word::kInvalid);
  EXPECT_EQ(judge(stranger.Block({}, {"a"}), RingOf(signer)).word, Word::kUnknown);
  EXPECT_EQ(judge(signer.Block({}, {"a"}), RingOf(signer, "switch-2")).word, Word::kUnknown);
}

TEST(SignedSyslog, AKeyThatAPayloadBlockClaimsMustBeRegistered) {
  const SyslogSigner signer(7);
  const SyslogSigner stranger(8);
  const SyslogKeys keys = RingOf(signer);
  const std::string payload = "2026-11-21T06:00:00Z K ";
  Judges judge;
  for (const std::string& part : stranger.Certificate({}, payload + stranger.KeyBlob()))
    EXPECT_EQ(judge(part, keys).word, Word::kUnknown);
  EXPECT_EQ(judge(stranger.Block({}, {"a"}), keys).word, Word::kUnknown);
  for (const std::string& part : signer.Certificate({}, payload + signer.KeyBlob()))
    EXPECT_EQ(judge(part, keys).word, Word::kValid);
  EXPECT_EQ(judge(signer.Block({}, {"a"}), keys).word, Word::kValid);
  EXPECT_EQ(judge(stranger.Block({}, {"a"}), keys).word, Word::kInvalid);  // the session has announced another key
  // A stranger who carries the registered key around has not got its secret half.
  Judges again;
  for (const std::string& part : stranger.Certificate({}, payload + signer.KeyBlob()))
    EXPECT_EQ(again(part, keys).word, Word::kInvalid);
}

// A certificate on the signer's key, by `issuer` or by itself.
test::Material CertificateOf(const SyslogSigner& signer, const std::string& names, const test::Material& issuer,
                             long end_s = 3'600) {
  test::Wanted wanted{"switch", names, false, -3'600, end_s};
  wanted.key = signer.Pkey();
  return test::Issue(wanted, &issuer);
}
std::string PayloadOf(const test::Material& certificate) {
  Bytes der(static_cast<std::size_t>(i2d_X509(certificate.certificate.get(), nullptr)));
  auto* at = reinterpret_cast<unsigned char*>(der.data());
  i2d_X509(certificate.certificate.get(), &at);
  return "2026-11-21T06:00:00Z C " + Base64Of(der);
}

TEST(SignedSyslog, ACertificateInFragmentsCountsOnceAllOfItHasCome) {
  const SyslogSigner signer(7);
  const auto authority = test::Issue({"sources", "", true});
  const auto certificate = CertificateOf(signer, "DNS:switch-1", authority);
  const SyslogKeys keys = RingOf({"sources", "", "", "", "", authority.CertificatePem(), ""});
  auto parts = signer.Certificate({}, PayloadOf(certificate), 200);
  ASSERT_GT(parts.size(), 3U);
  std::swap(parts[0], parts[2]);  // they may come in any order
  Judges judge;
  EXPECT_EQ(judge(signer.Block({}, {"a"}), keys).word, Word::kUnknown);
  for (std::size_t i = 0; i < parts.size(); ++i)
    EXPECT_EQ(judge(parts[i], keys).word, i + 1 == parts.size() ? Word::kValid : Word::kUnknown) << i;
  EXPECT_EQ(judge(signer.Block({}, {"a"}), keys).word, Word::kValid);
  EXPECT_EQ(judge.payload_bytes, 0U);
  BlockText other;
  other.pid = "9";
  EXPECT_EQ(judge(signer.Block(other, {"a"}), keys).word, Word::kUnknown);  // another signer: its key has not come
}

TEST(SignedSyslog, AnAuthorityVouchesOnlyForTheNamesAndDatesOfItsCertificates) {
  const SyslogSigner signer(7);
  const auto authority = test::Issue({"sources", "", true});
  const auto stranger = test::Issue({"sources", "", true});
  const SyslogKeys keys = RingOf({"sources", "", "", "", "", authority.CertificatePem(), ""});
  const auto word = [&](const test::Material& certificate) {
    Judges judge;
    BlockVerdict last;
    for (const std::string& part : signer.Certificate({}, PayloadOf(certificate))) last = judge(part, keys);
    return last.word;
  };
  EXPECT_EQ(word(CertificateOf(signer, "DNS:switch-1", authority)), Word::kValid);
  EXPECT_EQ(word(CertificateOf(signer, "DNS:switch-2", authority)), Word::kUnknown);
  EXPECT_EQ(word(CertificateOf(signer, "DNS:switch-1", stranger)), Word::kUnknown);
  EXPECT_EQ(word(CertificateOf(signer, "DNS:switch-1", authority, -60)), Word::kUnknown);
}

TEST(SignedSyslog, ACertificateIsKnownByItselfOrByItsFingerprint) {
  const SyslogSigner signer(7);
  const auto issuer = test::Issue({"nobody", "", true});
  const auto certificate = CertificateOf(signer, "", issuer, -60);  // its dates do not matter: the operator chose it
  const std::string fingerprint = "sha256:" + HexOf(certificate.Fingerprint());
  for (const SyslogKeyText& text : {SyslogKeyText{"a", "", "", certificate.CertificatePem(), "", "", ""},
                                    SyslogKeyText{"b", "switch-1", "", "", fingerprint, "", ""}}) {
    const SyslogKeys keys = RingOf(text);
    Judges judge;
    BlockVerdict last;
    for (const std::string& part : signer.Certificate({}, PayloadOf(certificate), 700)) last = judge(part, keys);
    EXPECT_EQ(last.word, Word::kValid) << text.name;
    EXPECT_EQ(judge(signer.Block({}, {"a"}), keys).word, Word::kValid) << text.name;
  }
}

TEST(SignedSyslog, WithoutTimeNothingIsChecked) {
  const SyslogSigner signer(7);
  const SyslogKeys keys = RingOf(signer, "switch-1");
  Judges judge;
  judge.checks = 1;
  EXPECT_EQ(judge(signer.Block({}, {"a"}), keys).word, Word::kValid);
  EXPECT_EQ(judge(signer.Block({}, {"a"}), keys).word, Word::kUnchecked);
}

TEST(SignedSyslog, MistakesInAnEntryAreNamed) {
  const SyslogSigner signer(7);
  const auto refused = [](const SyslogKeyText& text) {
    SyslogKeys keys;
    const auto added = keys.Add(text);
    return added ? std::string() : added.error().context;
  };
  EXPECT_NE(refused({"", "", signer.KeyBlob(), "", "", "", ""}), "");
  EXPECT_NE(refused({"a", "", "", "", "", "", ""}).find("exactly one"), std::string::npos);
  EXPECT_NE(refused({"a", "", signer.KeyBlob(), "", "sha256:00", "", ""}).find("exactly one"), std::string::npos);
  EXPECT_NE(refused({"a", "", "AAAA", "", "", "", ""}).find("DSA"), std::string::npos);
  EXPECT_NE(refused({"a", "", signer.KeyBlob(), "", "", "", "never"}).find("unlisted"), std::string::npos);
  EXPECT_NE(refused({"a", "", "", test::Issue({"ec"}).CertificatePem(), "", "", ""}).find("DSA"), std::string::npos);
  SyslogKeys keys;
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(keys.Add({"a", "h", signer.KeyBlob(), "", "", "", ""}).has_value());
  EXPECT_FALSE(keys.Add({"a", "H", signer.KeyBlob(), "", "", "", ""}).has_value());
}

// One source whose messages and blocks are taken at times of the test's choice.
class Covered {
 public:
  explicit Covered(Unlisted unlisted = Unlisted::kHost) {
    key_.name = "core";
    key_.unlisted = unlisted;
  }
  void Messages(const std::vector<std::string>& messages, const std::string& host = "switch-1") {
    for (const std::string& message : messages) coverage_.TakeMessage(AsBytes(message), host, now_);
  }
  void Block(const BlockText& text, const std::vector<std::string>& messages) {
    const std::string message = signer_.Block(text, messages);
    coverage_.TakeBlock(BlockOf(message), key_, now_);
  }
  const CoverageFindings& After(std::int64_t seconds) {
    now_ += seconds * kSecond;
    coverage_.Tick(now_);
    return coverage_.findings();
  }
  CoverageBudget budget_;
  SignedCoverage coverage_{budget_};

 private:
  const SyslogSigner signer_{7};
  SyslogKeys::Registered key_;
  std::int64_t now_ = kNow;
};

BlockText From(std::uint64_t fmn, std::uint64_t gbc = 0, const char* rsid = "1") {
  BlockText text;
  text.fmn = fmn;
  text.gbc = gbc;
  text.rsid = rsid;
  return text;
}

TEST(SignedCoverage, WhatIsListedAndCameIsNoFinding) {
  Covered source;
  source.Messages({"a", "b", "c"});
  source.Block(From(1), {"a", "b", "c"});
  source.Messages({"d", "d", "e"});           // two equal messages have a number each
  source.Block(From(3, 1), {"c", "d", "d"});  // hashes may be repeated
  source.Block(From(6, 2), {"e", "f"});       // the block may come first
  source.Messages({"f"});
  EXPECT_FALSE(source.After(600).any());
  EXPECT_EQ(source.budget_.messages, 0U);
}

TEST(SignedCoverage, AnAlteredMessageIsMissingAndUnlisted) {
  Covered source;
  source.Messages({"a"});
  source.Block(From(1), {"a"});
  source.Messages({"b", "C", "d"});
  source.Block(From(2, 1), {"b", "c", "d"});
  EXPECT_FALSE(source.After(9).any());
  EXPECT_EQ(source.After(2).missing, 1U);
  ASSERT_EQ(source.coverage_.findings().ranges.size(), 1U);
  EXPECT_EQ(source.coverage_.findings().ranges[0].first, 3U);
  EXPECT_EQ(source.After(120).unlisted, 1U);
}

TEST(SignedCoverage, AMissingMessageAndAMissingBlockAreFound) {
  Covered source;
  source.Messages({"a", "b"});
  source.Block(From(1), {"a", "b"});
  source.Messages({"d"});
  source.Block(From(3, 1), {"c", "d"});
  source.Messages({"g"});
  source.Block(From(7, 3), {"g"});
  const CoverageFindings& findings = source.After(200);
  EXPECT_EQ(findings.missing, 1U);
  EXPECT_EQ(findings.skipped, 2U);  // 5 and 6
  ASSERT_EQ(findings.ranges.size(), 2U);
  EXPECT_STREQ(findings.ranges[1].what, "skipped");
  EXPECT_EQ(findings.ranges[1].first, 5U);
  EXPECT_EQ(findings.ranges[1].last, 6U);
}

TEST(SignedCoverage, BlocksOutOfOrderAreNoFinding) {
  Covered source;
  source.Messages({"a"});
  source.Block(From(1), {"a"});
  source.Messages({"b", "c", "d", "e"});
  source.Block(From(4, 2), {"d", "e"});
  source.Block(From(2, 1), {"b", "c"});
  EXPECT_FALSE(source.After(600).any());
}

TEST(SignedCoverage, AnInsertedMessageAndACopyAreUnlisted) {
  Covered source;
  source.Messages({"a"});
  source.Block(From(1), {"a"});
  source.Messages({"b", "inserted", "c", "b"});
  source.Messages({"of another host"}, "printer");
  source.Block(From(2, 1), {"b", "c"});
  EXPECT_EQ(source.After(121).unlisted, 2U);
  Covered strict(Unlisted::kAll);
  strict.Block(From(1), {"a"});
  strict.Messages({"of another host"}, "printer");
  EXPECT_EQ(strict.After(121).unlisted, 1U);
  Covered lenient(Unlisted::kIgnore);
  lenient.Block(From(1), {"a"});
  lenient.Messages({"inserted"});
  EXPECT_FALSE(lenient.After(121).any());
}

TEST(SignedCoverage, ASessionJoinedMidwayIsNotAskedForItsPast) {
  Covered source;
  source.Messages({"y", "z"});
  source.Block(From(1'000, 40), {"w", "x", "y", "z"});  // w and x were sent before Stele listened
  EXPECT_FALSE(source.After(600).any());
  source.Block(From(1, 0, "2"), {"k"});  // a later session is followed from its first message
  EXPECT_EQ(source.After(600).missing, 1U);
}

TEST(SignedCoverage, ALaterSessionMustBeginAtOne) {
  Covered source;
  source.Messages({"a"});
  source.Block(From(1), {"a"});
  source.Messages({"d"});
  source.Block(From(4, 9, "2"), {"d"});
  EXPECT_EQ(source.After(600).skipped, 3U);
}

TEST(SignedCoverage, AReplayedSessionIsFound) {
  Covered source;
  source.Messages({"a"});
  source.Block(From(1, 0, "5"), {"a"});
  source.Messages({"old"});
  source.Block(From(1, 0, "4"), {"old"});
  const CoverageFindings& findings = source.After(121);
  EXPECT_EQ(findings.replayed, 1U);
  EXPECT_EQ(findings.unlisted, 1U);  // a replayed block vouches for nothing
}

TEST(SignedCoverage, ABlockSentTwiceIsNoFindingButAnEndlessOneIs) {
  Covered source;
  source.Messages({"a"});
  for (unsigned i = 0; i <= limits::kSignedRepeats; ++i) source.Block(From(1), {"a"});
  EXPECT_FALSE(source.After(1).any());
  source.Block(From(1), {"a"});
  EXPECT_EQ(source.After(1).replayed, 1U);
}

TEST(SignedCoverage, TwoHashesUnderOneNumberContradictEachOther) {
  Covered source;
  source.Messages({"a", "b"});
  source.Block(From(1), {"a", "b"});
  source.Messages({"x"});
  source.Block(From(2, 1), {"x"});
  EXPECT_EQ(source.After(1).conflicting, 1U);
}

TEST(SignedCoverage, ASignerThatCannotCountItsRebootsBeginsAnew) {
  Covered source;
  source.Messages({"a", "b"});
  source.Block(From(1, 0, "0"), {"a", "b"});
  source.Messages({"c", "d"});
  source.Block(From(1, 0, "0"), {"c", "d"});
  EXPECT_FALSE(source.After(600).any());
}

TEST(SignedCoverage, GroupsAreNumberedApart) {
  Covered source;
  source.Messages({"a", "b"});
  BlockText high = From(1);
  high.sg = "1";
  high.spri = "13";
  BlockText low = high;
  low.spri = "14";
  source.Block(high, {"a"});
  source.Block(low, {"b"});
  EXPECT_FALSE(source.After(600).any());
}

TEST(SignedCoverage, MemoryIsBoundedAndGivenBack) {
  CoverageBudget budget;
  {
    const SyslogSigner signer(7);
    SyslogKeys::Registered key;
    key.name = "core";
    SignedCoverage coverage(budget);
    for (int i = 0; i < 1'000; ++i) coverage.TakeMessage(AsBytes(std::to_string(i)), "switch-1", kNow);
    EXPECT_EQ(budget.messages, 0U);  // nothing is vouched for yet
    coverage.TakeBlock(BlockOf(signer.Block(From(1), {"x"})), key, kNow);
    EXPECT_LE(budget.messages, limits::kSignedCandidateMessages + 1);
    for (std::size_t i = 0; i < limits::kSignedMessages + 10; ++i)
      coverage.TakeMessage(AsBytes("m" + std::to_string(i)), "switch-1", kNow);
    EXPECT_LE(budget.messages, limits::kSignedMessages + 1);
    EXPECT_GT(coverage.findings().uncompared, 0U);
    for (std::uint64_t number = 10; number < 4'000; number += 3)  // every block leaves a gap
      coverage.TakeBlock(BlockOf(signer.Block(From(number), {"none"})), key, kNow);
    EXPECT_LE(budget.messages, limits::kSignedMessages + limits::kSignedExpected);
    coverage.Tick(kNow + 600 * kSecond);
    EXPECT_EQ(budget.messages, 0U);
    EXPECT_LE(coverage.findings().ranges.size(), limits::kSignedRanges);
  }
  EXPECT_EQ(budget.messages, 0U);
  EXPECT_EQ(budget.groups, 0U);
}

}  // namespace
}  // namespace stele::ingest
