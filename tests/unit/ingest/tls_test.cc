// Goal: a TLS context is made of good material or not at all, and a certificate's names match the hosts it names and no
// other. Method: certificates made on the spot; every kind of name. Connections are tested with the listener
// (tests/unit/receive).
#include "appliance/ingest/tls.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/tls_material.h"

namespace stele::ingest {
namespace {

TlsOptions Good() {
  static const test::Material server = test::Issue({"server"});
  TlsOptions options;
  options.certificate_pem = server.CertificatePem();
  options.key_pem = server.KeyPem();
  return options;
}

std::string ErrorOf(const TlsOptions& options) {
  const auto made = TlsContext::Make(options);
  return made ? "(made)" : made.error().context;
}

TEST(Tls, AContextNeedsACertificateItsKeyAndSomebodyToTrust) {
  EXPECT_EQ(ErrorOf(Good()), "(made)");
  TlsOptions other_key = Good();
  other_key.key_pem = test::Issue({"another"}).KeyPem();
  EXPECT_EQ(ErrorOf(other_key), "the TLS key is not the certificate's");
  TlsOptions no_certificate = Good();
  no_certificate.certificate_pem = "nothing";
  EXPECT_EQ(ErrorOf(no_certificate), "TLS certificate: no certificate in PEM");
  TlsOptions damaged = Good();
  damaged.certificate_pem[damaged.certificate_pem.size() / 2] = '!';
  EXPECT_EQ(ErrorOf(damaged).rfind("TLS certificate: ", 0), 0U);
  TlsOptions no_key = Good();
  no_key.key_pem.clear();
  EXPECT_EQ(ErrorOf(no_key).rfind("TLS key: ", 0), 0U);
  TlsOptions nobody = Good();
  nobody.client_auth = ClientAuth::kRequire;
  EXPECT_NE(ErrorOf(nobody), "(made)");
  nobody.client_ca_pem = "-----BEGIN CERTIFICATE-----\n";
  EXPECT_NE(ErrorOf(nobody), "(made)");
  nobody.client_ca_pem = Good().certificate_pem + Good().certificate_pem;  // twice is allowed: files overlap
  EXPECT_EQ(ErrorOf(nobody), "(made)");
}

TEST(Tls, TheEndOfTheCertificateIsKnown) {
  const auto made = TlsContext::Make(Good());
  ASSERT_TRUE(made);
  EXPECT_NEAR(static_cast<double>((*made)->not_after_s()), static_cast<double>(::time(nullptr) + 3'600), 60.0);
  EXPECT_EQ(NotAfterOf("nothing").error().code, Code::kInvalid);
}

TEST(Tls, AFingerprintIsSha256WithOrWithoutColons) {
  const std::string digits = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
  std::string colons;
  for (std::size_t i = 0; i < digits.size(); i += 2) colons += (i == 0 ? "" : ":") + digits.substr(i, 2);
  const auto expected = ParseFingerprint("sha256:" + digits);
  ASSERT_TRUE(expected);
  EXPECT_EQ(HexOf(*expected), "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
  EXPECT_EQ(ParseFingerprint("SHA256:" + colons), expected);
  EXPECT_EQ(ParseFingerprint("sha-256:" + colons), expected);
  for (const std::string& wrong :
       {digits, "sha1:" + digits, "sha256:" + digits.substr(2), "sha256:" + digits + "00", "sha256:" + colons + ":",
        "sha256:" + colons.substr(0, 94), "sha256:0:" + colons.substr(2), std::string("sha256:"), std::string()}) {
    EXPECT_FALSE(ParseFingerprint(wrong)) << wrong;
  }
}

TEST(Tls, HostsAreComparedAsPeopleWriteThem) {
  TlsIdentity identity;
  identity.common_name = "Gateway.example.org";
  identity.dns_names = {"web1.example.org", "*.branch.example.org"};
  identity.addresses = {"192.0.2.1", "2001:db8::1"};
  for (const char* named :
       {"web1.example.org", "WEB1.example.org", "web1", "web1.example.org.", "gateway", "gateway.example.org",
        "a.branch.example.org", "192.0.2.1", "2001:db8::1", "2001:DB8:0:0:0:0:0:1"}) {
    EXPECT_TRUE(identity.NamesHost(named)) << named;
  }
  for (const char* other : {"", ".", "web2", "web1.example.com", "eb1.example.org", "example.org",
                            "a.b.branch.example.org", "branch.example.org", "*", ".branch.example.org", "192.0.2.10",
                            "192.0.2.1.example.org", "2001:db8::2", "web1.example.org.evil"}) {
    EXPECT_FALSE(identity.NamesHost(other)) << other;
  }
}

TEST(Tls, AnIdentityIsAShortObjectHoweverManyNamesTheCertificateHas) {
  TlsIdentity identity;
  identity.common_name = "with \"quotes\"";
  for (std::size_t i = 0; i < kIdentityNamesMax; ++i)
    identity.dns_names.push_back("host" + std::to_string(i) + "." + std::string(200, 'x'));
  identity.names_left_out = 5;
  const std::string text = identity.ToJson();
  EXPECT_LT(text.size(), 3'000U);
  const auto object = nlohmann::json::parse(text);
  EXPECT_EQ(object["cn"], "with \"quotes\"");
  EXPECT_EQ(object["dns"].size() + object["more"].get<std::size_t>(), kIdentityNamesMax + 5);
}

}  // namespace
}  // namespace stele::ingest
