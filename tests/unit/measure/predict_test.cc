// Goal: the registers predicted are those that firmware, stub and kernel extend, and whatever they would treat
// otherwise is refused. Method: made images; the events folded by hand from the specifications' words. Real stub,
// kernel and signatures against systemd-measure, sbsign and tpm2_eventlog: tests/integration/measure.sh.
#include "firmware/measure/predict.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "appliance/base/hash.h"
#include "firmware/measure/authenticode.h"
#include "firmware/measure/event_log.h"
#include "firmware/measure/expected_pcrs.h"
#include "firmware/measure/stub.h"
#include "tests/unit/golden.h"
#include "tests/unit/measure/made_image.h"

namespace stele::measure {
namespace {

constexpr Guid kOwner = MakeGuid(0x11111111, 0x2222, 0x3333, 0x4444123456789abc);

Bytes Lists(const Guid& type, ByteView data) {
  Bytes out;
  Writer writer(out);
  writer.Raw(type);
  writer.Int(static_cast<std::uint32_t>(28 + 16 + data.size()));
  writer.Int(std::uint32_t{0});
  writer.Int(static_cast<std::uint32_t>(16 + data.size()));
  writer.Raw(kOwner);
  writer.Raw(data);
  return out;
}

// Unsigned images: db holds their digests.
struct Boot {
  Bytes uki;
  SecureBootVariables variables;
};
Boot BootOf(const std::vector<MadeSection>& sections) {
  Boot boot;
  boot.uki = MadeImage(sections);
  const Hash digest = AuthenticodeDigest(boot.uki, ParsePe(boot.uki).value());
  boot.variables.pk = Lists(kX509Certificate, AsBytes("platform key"));
  boot.variables.kek = Lists(kX509Certificate, AsBytes("key exchange key"));
  boot.variables.db = Lists(kSha256Digest, digest);
  return boot;
}
Result<Prediction> PredictOf(const std::vector<MadeSection>& sections, const std::vector<std::string>& phases = {}) {
  const Boot boot = BootOf(sections);
  return Predict(boot.uki, boot.variables, phases);
}

Hash Fold(const std::vector<Bytes>& measured) {
  Hash value{};
  for (const Bytes& one : measured) value = Sha256Of({value, Sha256Of(ByteView(one))});
  return value;
}
Bytes Text(std::string_view text) { return ToBytes(AsBytes(text)); }

std::vector<MadeSection> Without(std::string_view name) {
  std::vector<MadeSection> sections = UnifiedSections();
  std::erase_if(sections, [name](const MadeSection& one) { return one.name == name; });
  return sections;
}
std::vector<MadeSection> With(std::string name, std::string content) {
  std::vector<MadeSection> sections = Without(name);
  sections.push_back({std::move(name), std::move(content)});
  return sections;
}

TEST(Predict, FoldsWhatFirmwareStubAndKernelMeasure) {
  const Boot boot = BootOf(UnifiedSections());
  const auto prediction = Predict(boot.uki, boot.variables, {"sysinit", "ready"});
  ASSERT_TRUE(prediction.has_value()) << Describe(prediction.error());
  const auto& registers = prediction->registers;
  ASSERT_EQ(registers.size(), 5U);
  EXPECT_EQ(registers.at(12), Hash{});

  const Bytes separator(4);
  const Hash boot_value = Fold({Text("Calling EFI Application from Boot Option"), separator});
  EXPECT_EQ(registers.at(4), Sha256Of({boot_value, AuthenticodeDigest(boot.uki, ParsePe(boot.uki).value())}));

  const ByteView authority = ByteView(boot.variables.db).subspan(28);
  EXPECT_EQ(registers.at(7),
            Fold({VariableData(kGlobalVariable, "SecureBoot", Bytes{std::byte{1}}),
                  VariableData(kGlobalVariable, "PK", boot.variables.pk),
                  VariableData(kGlobalVariable, "KEK", boot.variables.kek),
                  VariableData(kImageDatabase, "db", boot.variables.db), VariableData(kImageDatabase, "dbx", {}),
                  separator, VariableData(kImageDatabase, "db", authority)}));

  // The file has another order; .pcrsig is not measured.
  std::vector<Bytes> image;
  for (const std::string_view name : {".linux", ".osrel", ".cmdline", ".initrd", ".pcrpkey"}) {
    image.push_back(Text(std::string(name) + '\0'));
    for (const MadeSection& section : UnifiedSections()) {
      if (section.name == name) image.push_back(Text(section.content));
    }
  }
  EXPECT_EQ(prediction->phases.at(0).value, Fold(image));
  image.push_back(Text("sysinit"));
  image.push_back(Text("ready"));
  EXPECT_EQ(registers.at(11), Fold(image));
  EXPECT_EQ(prediction->phases.at(2).path, "sysinit:ready");
  EXPECT_EQ(prediction->phases.at(2).value, registers.at(11));
}

TEST(Predict, TheKernelIsHandedTheCommandLineInUtf16AndTheRamDiskWithTheStubsArchives) {
  const Bytes file = MadeImage(UnifiedSections());
  const UnifiedImage image = ParseUnifiedImage(file, ParsePe(file).value()).value();
  const Bytes options = LoadOptionsOf(image).value();
  EXPECT_EQ(options.size(), 2 * (std::string_view("lockdown=confidentiality panic=-1").size() + 1));
  EXPECT_EQ(AsText(ByteView(options).first(4)), std::string_view("l\0o\0", 4));
  const Bytes disk = InitialRamDiskOf(image);
  const std::string_view text = AsText(disk);
  EXPECT_TRUE(
      text.starts_with(std::string_view("12345\0\0\0"
                                        "070701"
                                        "00000001"
                                        "0000416d"
                                        "00000000"
                                        "00000000"
                                        "00000001"
                                        "00000000"
                                        "00000000",
                                        8 + 6 + 7 * 8)));
  const std::size_t signature_at = text.find(".extra/tpm2-pcr-signature.json");
  const std::size_t key_at = text.find(".extra/tpm2-pcr-public-key.pem");
  EXPECT_LT(signature_at, key_at);
  EXPECT_NE(key_at, std::string_view::npos);
  EXPECT_EQ(disk.size() % 4, 0U);
  EXPECT_TRUE(text.ends_with(std::string_view("TRAILER!!!\0\0\0\0", 14)));
}

TEST(Predict, WithoutWhatTheStubPacksTheRamDiskIsHandedOverAsItIs) {
  std::vector<MadeSection> sections = Without(".pcrsig");
  std::erase_if(sections, [](const MadeSection& one) { return one.name == ".pcrpkey"; });
  const auto prediction = PredictOf(sections);
  ASSERT_TRUE(prediction.has_value());
  const Hash options = prediction->registers.at(9);
  std::erase_if(sections, [](const MadeSection& one) { return one.name == ".initrd"; });
  const Hash alone = PredictOf(sections)->registers.at(9);
  EXPECT_EQ(options, Sha256Of({alone, Sha256Of(AsBytes("12345"))}));
}

TEST(Predict, AKernelThatMeasuresNothingLeavesItsRegisterAtZero) {
  EXPECT_EQ(PredictOf(With(".linux", "an older kernel"))->registers.at(9), Hash{});
}

TEST(Predict, EveryByteOfTheImageAndOfTheVariablesMatters) {
  const Boot boot = BootOf(UnifiedSections());
  const Prediction before = Predict(boot.uki, boot.variables, {}).value();
  Boot other = BootOf(With(".cmdline", "lockdown=none"));
  const Prediction after = Predict(other.uki, other.variables, {}).value();
  for (const std::uint32_t pcr : {4U, 7U, 9U, 11U}) EXPECT_NE(before.registers.at(pcr), after.registers.at(pcr)) << pcr;
  for (Bytes SecureBootVariables::*member : {&SecureBootVariables::pk, &SecureBootVariables::kek}) {
    SecureBootVariables variables = boot.variables;
    (variables.*member).back() ^= std::byte{1};
    const Prediction altered = Predict(boot.uki, variables, {}).value();
    EXPECT_NE(before.registers.at(7), altered.registers.at(7));
    EXPECT_EQ(before.registers.at(4), altered.registers.at(4));
  }
}

TEST(Predict, WhatTheStubWouldTreatOtherwiseIsRefused) {
  EXPECT_FALSE(PredictOf(Without(".sdmagic")));
  EXPECT_FALSE(PredictOf(With(".sdmagic", "#### LoaderInfo: systemd-stub 253.1 ####")));
  EXPECT_FALSE(PredictOf(With(".sdmagic", "#### LoaderInfo: systemd-stub 2520 ####")));
  EXPECT_FALSE(PredictOf(Without(".linux")));
  EXPECT_FALSE(PredictOf(Without(".cmdline")));
  EXPECT_FALSE(PredictOf(With(".cmdline", "caf\xc3\xa9")));
  EXPECT_FALSE(PredictOf(With(".linux2", "another")));  // the stub compares as many bytes as its own name has
  std::vector<MadeSection> twice = UnifiedSections();
  twice.push_back({".osrel", "ID=other\n"});
  EXPECT_FALSE(PredictOf(twice));
  EXPECT_FALSE(PredictOf(UnifiedSections(), {"two words"}));
  EXPECT_FALSE(PredictOf(UnifiedSections(), {""}));
  EXPECT_FALSE(PredictOf(UnifiedSections(), std::vector<std::string>(17, "x")));
}

TEST(Predict, AnImageThatTheFirmwareWouldNotStartIsRefused) {
  Boot boot = BootOf(UnifiedSections());
  SecureBootVariables variables = boot.variables;
  variables.dbx = variables.db;
  EXPECT_EQ(Predict(boot.uki, variables, {}).error().code, Code::kDenied);
  variables.dbx = Lists(kX509Certificate, AsBytes("no certificate"));
  EXPECT_TRUE(Predict(boot.uki, variables, {}));
  variables.dbx = Lists(MakeGuid(1, 2, 3, 4), AsBytes("of a kind that is not judged"));
  EXPECT_EQ(Predict(boot.uki, variables, {}).error().code, Code::kInvalid);
  variables.dbx.clear();
  variables.db = Lists(kSha256Digest, Hash{});
  EXPECT_EQ(Predict(boot.uki, variables, {}).error().code, Code::kDenied);
  variables.db.clear();
  EXPECT_EQ(Predict(boot.uki, variables, {}).error().code, Code::kDenied);
  boot.variables.pk.clear();
  EXPECT_EQ(Predict(boot.uki, boot.variables, {}).error().code, Code::kInvalid);
}

TEST(SignatureLists, EntriesOfAllListsInOrderAndNothingHalf) {
  Bytes lists = Lists(kX509Certificate, AsBytes("one"));
  Append(lists, Lists(kSha256Digest, Hash{}));
  const auto entries = ParseSignatureLists(lists).value();
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(AsText(entries[0].data), "one");
  EXPECT_EQ(TextOf(entries[1].owner), "11111111-2222-3333-4444-123456789abc");
  EXPECT_EQ(entries[1].whole.size(), 48U);
  std::size_t accepted = 0;
  for (std::size_t size = 0; size < lists.size(); ++size)
    accepted += ParseSignatureLists(ByteView(lists).first(size)) ? 1U : 0U;
  EXPECT_EQ(accepted, 2U);  // nothing, and the first list
  for (const std::size_t at : {16U, 20U, 24U}) {
    for (const std::uint32_t value : {0xffffffffU, 17U, 16U}) {
      Bytes bent = Lists(kX509Certificate, AsBytes("one"));
      StoreLittle(bent.data() + at, value);
      EXPECT_FALSE(ParseSignatureLists(bent)) << at << " " << value;
    }
  }
}

TEST(ExpectedPcrs, AreByteForByteWhatTheyWere) {
  const std::string text = EncodeExpectedPcrs(PredictOf(UnifiedSections(), {"sysinit", "ready"}).value());
  ExpectGolden("expected-pcrs.json", AsBytes(text));
  const Bytes golden = ReadGolden("expected-pcrs.json");
  const auto registers = ParseExpectedPcrs(AsText(golden));
  ASSERT_TRUE(registers.has_value()) << Describe(registers.error());
  EXPECT_EQ(*registers, PredictOf(UnifiedSections(), {"sysinit", "ready"})->registers);
}

TEST(ExpectedPcrs, ThatContradictThemselvesAreRefused) {
  const auto good = nlohmann::json::parse(EncodeExpectedPcrs(PredictOf(UnifiedSections()).value()));
  const auto refused = [](const nlohmann::json& file) { return !ParseExpectedPcrs(file.dump()); };
  EXPECT_FALSE(refused(good));
  nlohmann::json file = good;
  file["registers"]["7"] = std::string(64, '0');
  EXPECT_TRUE(refused(file));
  file = good;
  file["events"].erase(3);
  EXPECT_TRUE(refused(file));
  file = good;
  file["registers"].erase("9");
  EXPECT_TRUE(refused(file));
  file = good;
  file["registers"]["24"] = std::string(64, '0');
  EXPECT_TRUE(refused(file));
  file = good;
  file["registers"]["04"] = file["registers"]["4"];
  EXPECT_TRUE(refused(file));
  file = good;
  file["registers"]["8"] = std::string(64, '0');  // of which no event speaks: it stays at zero
  EXPECT_FALSE(refused(file));
  file["registers"]["8"] = std::string(64, '1');
  EXPECT_TRUE(refused(file));
  for (const char* const name : {"format", "bank", "registers", "events"}) {
    file = good;
    file.erase(name);
    EXPECT_TRUE(refused(file)) << name;
    file[name] = 7;
    EXPECT_TRUE(refused(file)) << name;
  }
  EXPECT_FALSE(ParseExpectedPcrs("7 00"));
}

}  // namespace
}  // namespace stele::measure
