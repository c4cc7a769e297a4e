// Goal: a bundle that a real appliance made once stays verifiable, with the same verdict and the same report, and a
// verify.html that rides in a bundle is reported and never believed. Method: the bundles of tests/data/bundles with the
// reports that lie beside them; then one with a page added.
#include <gtest/gtest.h>

#include "appliance/base/system.h"
#include "tests/unit/evidence/made_log.h"

namespace stele::evidence {
namespace {

Bytes Data(const std::string& name) {
  return ReadFile(STELE_SOURCE_DIR "/tests/data/bundles/" + name, std::size_t{1} << 24U).value();
}

Policy Brought() {
  Policy policy;
  policy.nonce = Hash{};
  policy.nonce->fill(std::byte{0x42});
  policy.pin_pem = AsText(Data("pin.pem"));
  return policy;
}

class GoldenBundle : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenBundle, IsReportedAsItWas) {
  const Report report = VerifyBundle(Data(GetParam() + std::string(".tar")), Brought());
  const auto expected = nlohmann::json::parse(AsText(Data(GetParam() + std::string(".json"))));
  EXPECT_EQ(ReportJson(report).dump(1), expected.dump(1));
}
INSTANTIATE_TEST_SUITE_P(OfARealAppliance, GoldenBundle, ::testing::Values("range", "two"));

TEST(VerifyPageInABundle, IsReportedByItsHashWhateverItHolds) {
  TakenApart apart = TakeApart(Data("range.tar"));
  const std::string page = "<script>everything is fine</script>";
  apart.files.insert(apart.files.end() - 1, {"verify.html", ToBytes(AsBytes(page))});
  const Report report = VerifyBundle(apart.Together(), Brought());
  EXPECT_EQ(report.word, "OK");
  EXPECT_EQ(report.facts.verify_page_sha256, HexOf(Sha256Of(AsBytes(page))));
  EXPECT_EQ(ReportJson(report)["verify_page_sha256"], report.facts.verify_page_sha256);
  EXPECT_NE(ReportText(report).find(report.facts.verify_page_sha256), std::string::npos);
  EXPECT_NE(ReportHtml(report, "x").find(report.facts.verify_page_sha256), std::string::npos);
}

}  // namespace
}  // namespace stele::evidence
