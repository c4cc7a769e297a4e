// Goal: an archive that is not exactly a bundle is refused with a reason, whatever it is, in bounded memory.
// Method: headers made by hand; each rule of docs/format.md broken once; every truncation of a small bundle.
#include <gtest/gtest.h>

#include "appliance/evidence/bundle_format.h"
#include "appliance/evidence/ustar.h"
#include "tests/unit/evidence/made_log.h"

namespace stele::evidence {
namespace {

Bytes Member(std::string_view name, std::string_view content, char type = '0') {
  Bytes out = UstarHeader(name, content.size(), 0);
  if (type != '0') {
    const auto old = static_cast<unsigned>(out[156]);
    out[156] = static_cast<std::byte>(type);
    // The checksum moves by as much: the lowest octal digits of the field.
    std::uint64_t sum = 0;
    for (int i = 0; i < 6; ++i) sum = sum * 8 + (static_cast<unsigned>(out[148 + static_cast<std::size_t>(i)]) - '0');
    sum = sum - old + static_cast<unsigned char>(type);
    for (std::size_t i = 6; i-- > 0; sum /= 8) out[148 + i] = static_cast<std::byte>('0' + sum % 8);
  }
  Append(out, AsBytes(content));
  out.resize(out.size() + PaddingOf(content.size()));
  return out;
}

std::string WhyRefused(const Bytes& archive) {
  const Report report = VerifyBundle(archive, {});
  EXPECT_EQ(report.word, "DAMAGED");
  return report.detail;
}

Bytes SmallBundle() {
  MadeLog log;
  log.Append(3);
  log.Checkpoint(true);
  return log.Bundle(log.All(NonceOf("mine")));
}

TEST(Archive, ReadsBackWhatItWrote) {
  Bytes archive = Member("a", "first");
  Append(archive, Member("b", std::string(512, 'x')));
  Append(archive, Member("c", ""));
  Append(archive, UstarEnd());
  std::string seen;
  UstarReader reader([](std::string_view) -> Result<std::uint64_t> { return std::uint64_t{1'000}; },
                     [&seen](std::string_view name, const Bytes& content) { seen += std::string(name) + std::to_string(content.size()); });
  ASSERT_TRUE(reader.Feed(archive));
  ASSERT_TRUE(reader.Finish());
  EXPECT_EQ(seen, "a5b512c0");
}

TEST(Archive, LinksDirectoriesAndExtensionsAreRefused) {
  EXPECT_NE(WhyRefused(Member("evidence/README", "x", '2')).find("a link"), std::string::npos);
  EXPECT_NE(WhyRefused(Member("evidence/README", "x", '1')).find("a link"), std::string::npos);
  EXPECT_NE(WhyRefused(Member("evidence/", "", '5')).find("a directory"), std::string::npos);
  for (const char type : {'x', 'g', 'L', 'K', 'S', '3', '7'}) {
    EXPECT_NE(WhyRefused(Member("evidence/README", "x", type)).find("no regular file"), std::string::npos) << type;
  }
}

TEST(Archive, NamesThatLeadElsewhereAreRefused) {
  for (const char* name : {"/etc/passwd", "../README", "evidence/../README", "evidence/..", "/evidence/README"}) {
    EXPECT_NE(WhyRefused(Member(name, "x")).find("leads elsewhere"), std::string::npos) << name;
  }
  for (const char* name : {"README", "evidence", "evidence/", "evidence/readme", "evidence/README ", "evidence/records/0.entries",
                           "evidence/records/000000.other", "evidence/proofs/01.tlog-proof", "evidence/proofs/.tlog-proof",
                           "evidence/proofs/99999999999999999999.tlog-proof"}) {
    EXPECT_NE(WhyRefused(Member(name, "x")).find("no place in a bundle"), std::string::npos) << name;
  }
}

TEST(Archive, AMemberTwiceOrOutOfOrderIsRefused) {
  Bytes twice = Member("evidence/README", "x");
  Append(twice, Member("evidence/README", "y"));
  EXPECT_NE(WhyRefused(twice).find("twice"), std::string::npos);
  Bytes backwards = Member("evidence/checkpoint", "x");
  Append(backwards, Member("evidence/README", "y"));
  EXPECT_NE(WhyRefused(backwards).find("order"), std::string::npos);
}

TEST(Archive, AMemberLargerThanItMayBeIsRefusedBeforeItsContent) {
  // A header that claims eight gigabytes, and nothing behind it: refused at once, nothing is reserved for it.
  const std::uint64_t claimed = 0777'7777'7777;
  EXPECT_NE(WhyRefused(UstarHeader("evidence/README", claimed, 0)).find("larger"), std::string::npos);
  EXPECT_NE(WhyRefused(UstarHeader("evidence/records/000000.payloads", claimed, 0)).find("larger"), std::string::npos);
  EXPECT_NE(WhyRefused(UstarHeader("evidence/records/000000.entries", kChunkRecords * 92 + 1, 0)).find("larger"), std::string::npos);
}

TEST(Archive, AWrongChecksumMagicPaddingOrPrefixIsRefused) {
  const Bytes good = Member("evidence/README", "x");
  for (const std::size_t at : {0UL, 100UL, 124UL, 148UL, 257UL, 263UL, 345UL, 511UL, 513UL, 1023UL}) {
    Bytes bad = good;
    bad[at] ^= std::byte{4};
    EXPECT_EQ(VerifyBundle(bad, {}).word, "DAMAGED") << at;
  }
}

TEST(Archive, BytesBehindTheEndAndAMissingEndAreRefused) {
  const Bytes whole = SmallBundle();
  EXPECT_EQ(VerifyBundle(whole, {}).word, "OK");
  Bytes longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_NE(WhyRefused(longer).find("behind its end"), std::string::npos);
  EXPECT_NE(WhyRefused(Bytes(whole.begin(), whole.end() - 1)).find("ends early"), std::string::npos);
  EXPECT_EQ(VerifyBundle({}, {}).word, "DAMAGED");
}

TEST(Archive, EveryTruncationIsDamaged) {
  const Bytes whole = SmallBundle();
  for (std::size_t size = 0; size < whole.size(); size += size < 4'096 ? 37 : 509) {
    EXPECT_EQ(VerifyBundle(ByteView(whole).first(size), {}).word, "DAMAGED") << size;
  }
}

TEST(Archive, EachMissingMemberIsDamaged) {
  const TakenApart whole = TakeApart(SmallBundle());
  for (const auto& [name, content] : whole.files) {
    if (name == "manifest.json" || name.starts_with("proofs/")) continue;  // made to fit; nothing asks for a proof file
    TakenApart less = whole;
    less.Remove(name);
    const Report report = VerifyBundle(less.Together(), {});
    EXPECT_FALSE(report.good()) << name;
    EXPECT_TRUE(report.word == "DAMAGED" || report.word == "TAMPERED" || report.word == "TPM_REPLACED") << name << report.word;
  }
}

TEST(Archive, AnyOtherMemberIsRefused) {
  TakenApart more = TakeApart(SmallBundle());
  more.files.insert(more.files.end() - 1, {"records/000009.entries", {}});
  EXPECT_FALSE(VerifyBundle(more.Together(), {}).good());
}

TEST(Names, EveryNameIsReadAsItWasWritten) {
  for (std::size_t i = 0; i < kPartCount; ++i) {
    const auto part = static_cast<Part>(i);
    const bool numbered = part == Part::kProof || (part >= Part::kEntries && part <= Part::kPayloads);
    const evidence::Member member{part, numbered ? 42U : 0U};
    const auto parsed = ParseName(NameOf(member));
    ASSERT_TRUE(parsed) << NameOf(member);
    EXPECT_EQ(parsed->part, part);
    EXPECT_EQ(parsed->number, member.number);
  }
}

TEST(Names, ChunksComeOneAfterTheOtherAndPartsWithinThem) {
  EXPECT_TRUE(ComesBefore({Part::kPayloads, 0}, {Part::kEntries, 1}));
  EXPECT_TRUE(ComesBefore({Part::kEntries, 1}, {Part::kTree, 1}));
  EXPECT_TRUE(ComesBefore({Part::kProof, 9}, {Part::kProof, 10}));
  EXPECT_FALSE(ComesBefore({Part::kTree, 1}, {Part::kTree, 1}));
  EXPECT_TRUE(ComesBefore({Part::kPayloads, 7}, {Part::kEndTree, 0}));
}

}  // namespace
}  // namespace stele::evidence
