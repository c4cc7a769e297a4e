// Goal: an alert leaves in the exact bytes that docs/protocols.md promises, whatever stands in it, and its signature is
// one that others verify. Method: golden frames and bodies, hostile words in every parameter, OpenSSL as the other
// verifier.
#include "appliance/alerts/alert.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "appliance/base/text.h"
#include "tests/unit/golden.h"

namespace stele::alerts {
namespace {

using nlohmann::json;

Origin TestOrigin() { return {"00ff", "stele.invalid/log/00ff", "box", "https://stele.example.org:9443"}; }

Alert TestAlert() {
  Alert alert;
  alert.sequence = 4711;
  alert.time_ns = 1'800'000'000'123'000'000;
  alert.kind = "alarm";
  alert.zone = "plant";
  alert.payload = ToBytes(AsBytes(R"({"alarm":"source_silent","text":"plc-7 is silent","zone":"plant"})"));
  alert.payload_bytes = alert.payload.size();
  return alert;
}

AlertKey TestKey() {
  Hash seed{};
  seed.fill(std::byte{7});
  return *AlertKeyOf(seed);
}

// The message of one frame, whose length must be right.
std::string Unframed(const std::string& frame) {
  const std::size_t space = frame.find(' ');
  EXPECT_EQ(frame.substr(0, space), std::to_string(frame.size() - space - 1));
  return frame.substr(space + 1);
}

TEST(Alert, AFrameIsItsLengthAndARfc5424MessageWithLogSequenceAlarmAndZone) {
  const std::string frame = SyslogFrame(TestAlert(), TestOrigin());
  EXPECT_EQ(Unframed(frame),
            "<105>1 2027-01-15T08:00:00.123Z box stele - alarm [stele@32473 log=\"00ff\" seq=\"4711\" kind=\"alarm\" "
            "alarm=\"source_silent\" zone=\"plant\"] "
            R"({"alarm":"source_silent","text":"plc-7 is silent","zone":"plant"})");
  ExpectGolden("alert.syslog", AsBytes(frame));
}

//= RFC 5424 section 6.3.3
//# Inside PARAM-VALUE, the characters '"' (ABNF %d34), '\' (ABNF %d92),
//# and ']' (ABNF %d93) MUST be escaped.
TEST(Alert, HostileWordsStayInTheirParameter) {
  Alert alert = TestAlert();
  alert.zone = "a\"] b\\";
  alert.source = "\xff";
  const std::string message = Unframed(SyslogFrame(alert, TestOrigin()));
  EXPECT_NE(message.find(R"(zone="a\"\] b\\")"), std::string::npos) << message;
  EXPECT_NE(message.find("source=\"\xef\xbf\xbd\""), std::string::npos) << message;
}

TEST(Alert, AHostNameWithSpacesDoesNotShiftTheHeader) {
  Origin origin = TestOrigin();
  origin.host = "my box\n";
  EXPECT_NE(SyslogFrame(TestAlert(), origin).find(" my_box_ stele "), std::string::npos);
  origin.host.clear();
  EXPECT_NE(SyslogFrame(TestAlert(), origin).find("Z - stele "), std::string::npos);
}

TEST(Alert, ThePriorityTellsAlarmsFromGoodNewsLossesAndRecords) {
  const auto priority = [](Alert alert) {
    const std::string message = Unframed(SyslogFrame(alert, TestOrigin()));
    return message.substr(0, message.find('>') + 1);
  };
  Alert alert = TestAlert();
  EXPECT_EQ(priority(alert), "<105>");
  alert.payload = ToBytes(AsBytes(R"({"alarm":"source_recovered"})"));
  EXPECT_EQ(priority(alert), "<109>");
  alert.kind = "loss";
  EXPECT_EQ(priority(alert), "<108>");
  alert.kind = "syslog";
  EXPECT_EQ(priority(alert), "<110>");
  alert.facility = 4;
  alert.severity = 2;
  EXPECT_EQ(priority(alert), "<34>");
  alert.facility = 99;  // a JSON record may say anything
  EXPECT_EQ(priority(alert), "<106>");
}

TEST(Alert, ACutRecordSaysHowLongItWas) {
  Alert alert = TestAlert();
  alert.kind = "syslog";
  alert.payload_bytes = 100'000;
  EXPECT_NE(SyslogFrame(alert, TestOrigin()).find(" size=\"100000\"] "), std::string::npos);
  EXPECT_EQ(SyslogFrame(TestAlert(), TestOrigin()).find("size="), std::string::npos);
}

TEST(Alert, AReceiptIsOneLineOfAscii) {
  const std::string message = Unframed(ReceiptFrame("origin\n3\nAAA=\n\n\xe2\x80\x94 key sig\n", 0, TestOrigin()));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  const json receipt = json::parse(message.substr(message.find("] ") + 2));
  EXPECT_EQ(receipt["checkpoint"], "origin\n3\nAAA=\n\n\xe2\x80\x94 key sig\n");
}

TEST(Alert, AWebhookBodyNamesTheEntryItsProofAndTheExactPayload) {
  const std::string text = WebhookBody(TestAlert(), TestOrigin(), "note\n");
  ExpectGolden("alert.json", AsBytes(text));
  const json body = json::parse(text);
  EXPECT_EQ(body["seq"], 4711);
  EXPECT_EQ(body["time"], "2027-01-15T08:00:00.123Z");
  EXPECT_EQ(body["alarm"]["alarm"], "source_silent");
  EXPECT_EQ(body["proof_url"], "https://stele.example.org:9443/api/v1/proof/4711");
  EXPECT_EQ(body["checkpoint"], "note\n");
  EXPECT_EQ(AsText(*ParseBase64(body["payload_b64"].get<std::string>(), 1'000)), AsText(TestAlert().payload));
  EXPECT_FALSE(json::parse(WebhookBody(TestAlert(), TestOrigin(), std::nullopt)).contains("checkpoint"));
}

TEST(Alert, OpensslVerifiesTheSignatureOverTheBodyAndOnlyOverIt) {
  const AlertKey key = TestKey();
  const std::string pem = PublicKeyPem(key);
  const std::unique_ptr<BIO, decltype(&::BIO_free)> bio(::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                        &::BIO_free);
  const std::unique_ptr<EVP_PKEY, decltype(&::EVP_PKEY_free)> read(
      ::PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr), &::EVP_PKEY_free);
  ASSERT_NE(read, nullptr) << pem;
  const std::string body = WebhookBody(TestAlert(), TestOrigin(), std::nullopt);
  const std::string fields = WebhookFields(body, key);
  const std::string name = "Stele-Signature-Ed25519: ";
  const std::size_t begin = fields.find(name) + name.size();
  const auto signature = ParseBase64(fields.substr(begin, fields.find("\r\n", begin) - begin), 64);
  ASSERT_TRUE(signature.has_value());
  const auto verifies = [&](std::string_view text) {
    const std::unique_ptr<EVP_MD_CTX, decltype(&::EVP_MD_CTX_free)> context(::EVP_MD_CTX_new(), &::EVP_MD_CTX_free);
    if (::EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, read.get()) != 1) return false;
    return ::EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature->data()),
                              signature->size(), reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
  };
  EXPECT_TRUE(verifies(body));
  EXPECT_FALSE(verifies(body + " "));
}

TEST(Alert, AFeedIsReadWholeOrNotAtAll) {
  const json row = {{"seq", 5},
                    {"time_ns", 6},
                    {"kind", "alarm"},
                    {"size", 13},
                    {"payload_b64", Base64Of(AsBytes(R"({"zone":"lab"})"))}};
  const json good = {{"log_id", "00ff"}, {"size", 9},     {"next", 8},
                     {"unreadable", 0},  {"rows", {row}}, {"checkpoint", "note"}};
  const auto slice = ParseFeed(good.dump());
  ASSERT_TRUE(slice.has_value()) << Describe(slice.error());
  EXPECT_EQ(slice->next, 8U);
  EXPECT_EQ(slice->rows.at(0).sequence, 5U);
  EXPECT_EQ(slice->rows.at(0).zone, "lab") << "of an own entry it stands in the payload";
  EXPECT_EQ(slice->checkpoint, "note");
  const std::string text = good.dump();
  for (std::size_t i = 0; i < text.size(); ++i) EXPECT_FALSE(ParseFeed(text.substr(0, i)).has_value());
  for (const char* name : {"log_id", "size", "next", "unreadable", "rows"}) {
    json broken = good;
    broken[name] = "x\n";
    if (std::string_view(name) == "log_id") broken[name] = 1;
    EXPECT_FALSE(ParseFeed(broken.dump()).has_value()) << name;
  }
  for (const char* name : {"seq", "time_ns", "size", "payload_b64"}) {
    json broken = good;
    broken["rows"][0][name] = "?";
    EXPECT_FALSE(ParseFeed(broken.dump()).has_value()) << name;
  }
}

}  // namespace
}  // namespace stele::alerts
