// Goal: the embedded authority is made once, verifies by other software, and renews what ends. Method: a clock that is
// a number, a temporary directory, and the openssl command as the judge.
#include "appliance/daemons/certificates.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>

#include "tests/unit/web/web_fixture.h"

namespace stele::daemons {
namespace {

using web::test::TemporaryDir;

constexpr std::int64_t kDayNs = 86'400LL * 1'000'000'000;

class SetClock final : public Clock {
 public:
  std::int64_t WallNs() override { return now_ns; }
  std::int64_t BoottimeNs() override { return now_ns; }
  std::int64_t now_ns = SystemClock().WallNs();
};

struct Outcome {
  int status = -1;
  std::string text;
};
Outcome RunCommand(const std::string& command) {
  Outcome outcome;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "re");
  if (pipe == nullptr) return outcome;
  char buffer[4096];
  while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) outcome.text += buffer;
  outcome.status = ::pclose(pipe);
  return outcome;
}

class CertificatesTest : public testing::Test {
 protected:
  Certificates Ensure(const std::vector<std::string>& names = {}) {
    auto made = EnsureCertificates(keys_, names, clock_);
    EXPECT_TRUE(made) << (made ? "" : Describe(made.error()));
    return made ? std::move(*made) : Certificates{};
  }
  std::string File(const std::string& name) const { return (keys_ / name).string(); }

  TemporaryDir dir_;
  std::filesystem::path keys_ = dir_.path() / "keys";
  SetClock clock_;
};

TEST_F(CertificatesTest, AreMadeOnTheFirstRunOnly) {
  const Certificates first = Ensure();
  EXPECT_EQ(first.made, (std::vector<std::string>{"ca", "viewer", "ingest", "auditor", "security-officer", "metrics"}));
  ASSERT_EQ(first.people.size(), 3U);
  EXPECT_TRUE(first.people[0].made_now);
  EXPECT_EQ(first.people[0].password.size(), 24U);
  EXPECT_NE(first.viewer.key_pem, first.ingest.key_pem);
  const Certificates second = Ensure();
  EXPECT_TRUE(second.made.empty());
  EXPECT_EQ(second.ca_sha256, first.ca_sha256);
  EXPECT_EQ(second.viewer.sha256, first.viewer.sha256);
  EXPECT_EQ(second.people[1].sha256, first.people[1].sha256);
  EXPECT_FALSE(second.people[1].made_now);
  EXPECT_EQ(second.people[1].password, first.people[1].password);
}

TEST_F(CertificatesTest, SecretsAreReadableByTheirOwnerOnly) {
  Ensure();
  struct stat status {};
  ASSERT_EQ(::stat(keys_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
  for (const char* name : {"ca.key", "viewer.key", "ingest.key", "auditor.key", "auditor.p12", "auditor.password",
                           "security-officer.key", "security-officer.p12", "security-officer.password", "metrics.key"}) {
    ASSERT_EQ(::stat(File(name).c_str(), &status), 0) << name;
    EXPECT_EQ(status.st_mode & 0777U, 0600U) << name;
  }
  ASSERT_EQ(::chmod(File("ca.key").c_str(), 0644), 0);
  const auto refused = EnsureCertificates(keys_, {}, clock_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kDenied);
}

TEST_F(CertificatesTest, TheOpensslCommandVerifiesTheChains) {
  Ensure({"stele.example.org", "192.0.2.7"});
  const std::string verify = "openssl verify -x509_strict -CAfile " + File("ca.pem") + " ";
  for (const char* name : {"viewer.pem", "ingest.pem"}) {
    EXPECT_EQ(RunCommand(verify + "-purpose sslserver -verify_hostname localhost " + File(name)).status, 0) << name;
    EXPECT_EQ(RunCommand(verify + "-purpose sslserver -verify_hostname stele.example.org " + File(name)).status, 0);
    EXPECT_EQ(RunCommand(verify + "-purpose sslserver -verify_ip 127.0.0.1 " + File(name)).status, 0);
    EXPECT_EQ(RunCommand(verify + "-purpose sslserver -verify_ip ::1 " + File(name)).status, 0);
    EXPECT_EQ(RunCommand(verify + "-purpose sslserver -verify_ip 192.0.2.7 " + File(name)).status, 0);
    EXPECT_NE(RunCommand(verify + "-purpose sslserver -verify_hostname evil.example " + File(name)).status, 0);
    EXPECT_NE(RunCommand(verify + "-purpose sslclient " + File(name)).status, 0) << "a server is no client";
  }
  for (const char* name : {"auditor.pem", "security-officer.pem", "metrics.pem"}) {
    EXPECT_EQ(RunCommand(verify + "-purpose sslclient " + File(name)).status, 0) << name;
    EXPECT_NE(RunCommand(verify + "-purpose sslserver " + File(name)).status, 0) << "a person is no server";
  }
}

TEST_F(CertificatesTest, FingerprintsAreWhatTheOpensslCommandPrints) {
  const Certificates made = Ensure();
  const Outcome outcome = RunCommand("openssl x509 -noout -fingerprint -sha256 -in " + File("auditor.pem"));
  std::string printed = outcome.text.substr(outcome.text.find('=') + 1);
  std::string hex;
  for (const char c : printed) {
    if (std::isxdigit(static_cast<unsigned char>(c)) != 0)
      hex += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  EXPECT_EQ(hex, HexOf(made.people[0].sha256));
  EXPECT_FALSE(CertificateFingerprint("no certificate"));
}

TEST_F(CertificatesTest, ThePkcs12OpensWithItsPasswordAndNoOther) {
  const Certificates made = Ensure();
  const std::string open = "openssl pkcs12 -nodes -in " + File("auditor.p12") + " -passin ";
  const Outcome right = RunCommand(open + "file:" + File("auditor.password"));
  EXPECT_EQ(right.status, 0) << right.text;
  EXPECT_NE(right.text.find("PRIVATE KEY"), std::string::npos);
  EXPECT_NE(right.text.find("CN = auditor"), std::string::npos);
  EXPECT_NE(RunCommand(open + "pass:" + made.people[1].password).status, 0);
}

TEST_F(CertificatesTest, WhatEndsSoonIsRenewedAndNothingElse) {
  const Certificates first = Ensure();
  clock_.now_ns += 366 * kDayNs;
  EXPECT_TRUE(Ensure().made.empty()) << "31 days are left";
  clock_.now_ns += 2 * kDayNs;
  const Certificates servers = Ensure();
  EXPECT_EQ(servers.made, (std::vector<std::string>{"viewer", "ingest"}));
  EXPECT_EQ(servers.ca_sha256, first.ca_sha256);
  EXPECT_EQ(servers.people[0].sha256, first.people[0].sha256);
  clock_.now_ns += 340 * kDayNs;
  const Certificates people = Ensure();
  EXPECT_NE(people.people[0].sha256, first.people[0].sha256);
  EXPECT_TRUE(people.people[0].made_now);
  EXPECT_NE(people.people[0].password, first.people[0].password);
  EXPECT_EQ(people.ca_sha256, first.ca_sha256);
  clock_.now_ns += 3'000 * kDayNs;
  const Certificates all = Ensure();
  EXPECT_NE(all.ca_sha256, first.ca_sha256);
  EXPECT_EQ(all.made.size(), 6U);
}

TEST_F(CertificatesTest, ANewNameMakesNewServerCertificatesOnly) {
  const Certificates first = Ensure();
  const Certificates second = Ensure({"Stele.Example.org", "[2001:db8::7]"});
  EXPECT_EQ(second.made, (std::vector<std::string>{"viewer", "ingest"}));
  EXPECT_EQ(second.ca_sha256, first.ca_sha256);
  EXPECT_TRUE(Ensure({"stele.example.org", "2001:db8:0::7"}).made.empty());
  for (const char* hostile : {"", "a b", "evil.example,DNS:other", "*.example", "a..b", ".a", "a\nb", "-a", "x/y"}) {
    EXPECT_FALSE(EnsureCertificates(keys_, {hostile}, clock_)) << hostile;
  }
}

TEST_F(CertificatesTest, DamagedOrStrangeFilesAreMadeAgain) {
  const Certificates first = Ensure();
  std::ofstream(keys_ / "viewer.pem", std::ios::trunc) << "damaged";
  EXPECT_EQ(Ensure().made, std::vector<std::string>{"viewer"});
  std::filesystem::remove(keys_ / "auditor.p12");
  const Certificates packed = Ensure();
  EXPECT_EQ(packed.made, std::vector<std::string>{"auditor.p12"});
  EXPECT_EQ(packed.people[0].sha256, first.people[0].sha256) << "the certificate itself stays";
  std::filesystem::copy_file(keys_ / "ingest.key", keys_ / "viewer.key",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(Ensure().made, std::vector<std::string>{"viewer"});
}

}  // namespace
}  // namespace stele::daemons
