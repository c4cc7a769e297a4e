// Sessions, users, delays: what opens, how long, and what a wrong file or a wrong password gives.
#include "appliance/query/sessions.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "appliance/base/hash.h"
#include "appliance/base/system.h"
#include "appliance/query/users.h"

namespace stele::query {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

class SessionsTest : public ::testing::Test {
 protected:
  SystemEntropy entropy_;
  SessionTable table_{entropy_};
  Identity anna_{"anna", Role::kAuditor, "password", {}};
};

TEST_F(SessionsTest, ATokenOpensItsSessionAndNoOther) {
  const std::string token = table_.Open(anna_, 0);
  EXPECT_EQ(token.size(), 64U);
  EXPECT_EQ(table_.Find(token, 1)->user, "anna");
  std::string other = token;
  other[0] = other[0] == 'a' ? 'b' : 'a';
  EXPECT_FALSE(table_.Find(other, 1).has_value());
  EXPECT_FALSE(table_.Find("", 1).has_value());
  EXPECT_FALSE(table_.Find(token + "a", 1).has_value());
  EXPECT_NE(table_.Open(anna_, 0), token);
}

TEST_F(SessionsTest, FifteenIdleMinutesEndIt) {
  const std::string token = table_.Open(anna_, 0);
  EXPECT_TRUE(table_.Find(token, 899 * kSecondNs).has_value());
  EXPECT_TRUE(table_.Find(token, (899 + 899) * kSecondNs).has_value());
  EXPECT_FALSE(table_.Find(token, (899 + 899 + 900) * kSecondNs).has_value());
  EXPECT_EQ(table_.count(), 0U);
}

TEST_F(SessionsTest, EightHoursEndItHoweverBusy) {
  const std::string token = table_.Open(anna_, 0);
  for (std::int64_t minute = 10; minute < 480; minute += 10) EXPECT_TRUE(table_.Find(token, minute * 60 * kSecondNs).has_value()) << minute;
  EXPECT_FALSE(table_.Find(token, std::int64_t{480} * 60 * kSecondNs).has_value());
}

TEST_F(SessionsTest, SigningOutEndsItOnTheServer) {
  const std::string token = table_.Open(anna_, 0);
  EXPECT_TRUE(table_.Close(token));
  EXPECT_FALSE(table_.Close(token));
  EXPECT_FALSE(table_.Find(token, 1).has_value());
}

TEST_F(SessionsTest, TooManySessionsEndTheOnesIdleLongest) {
  const std::string first = table_.Open(anna_, 0);
  for (std::size_t i = 1; i <= SessionTable::kSessionsPerUserMax; ++i) (void)table_.Open(anna_, static_cast<std::int64_t>(i));
  EXPECT_EQ(table_.count(), SessionTable::kSessionsPerUserMax);
  EXPECT_FALSE(table_.Find(first, 100).has_value());
}

TEST(SignInDelays, FiveFailuresAreFreeThenTheWaitDoubles) {
  SignInDelays delays;
  for (int i = 0; i < 4; ++i) delays.Failed("anna", 0);
  EXPECT_EQ(delays.WaitNs("anna", 0), 0);
  delays.Failed("anna", 0);
  EXPECT_EQ(delays.WaitNs("anna", 0), kSecondNs);
  EXPECT_EQ(delays.WaitNs("anna", kSecondNs), 0);
  delays.Failed("anna", kSecondNs);
  EXPECT_EQ(delays.WaitNs("anna", kSecondNs), 2 * kSecondNs);
  for (int i = 0; i < 100; ++i) delays.Failed("anna", 0);
  EXPECT_EQ(delays.WaitNs("anna", 0), SignInDelays::kDelayMaxNs);
  EXPECT_EQ(delays.WaitNs("bob", 0), 0);
  delays.Succeeded("anna");
  EXPECT_EQ(delays.WaitNs("anna", 0), 0);
}

class UsersTest : public ::testing::Test {
 protected:
  UsersTest() {
    std::string name = (std::filesystem::temp_directory_path() / "stele-users-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
  }
  ~UsersTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  void Write(const char* name, std::string_view text) { std::ofstream(directory_ / name) << text; }

  std::filesystem::path directory_;
  SystemEntropy entropy_;
};

TEST_F(UsersTest, FirstUsersSignInWithTheirPasswordsAndNothingElse) {
  const auto made = CreateFirstUsers(directory_, {{"auditor", Role::kAuditor}, {"officer", Role::kSecurityOfficer}}, entropy_);
  ASSERT_TRUE(made.has_value()) << made.error().context;
  ASSERT_EQ(made->size(), 2U);
  UserBook book(directory_);
  ASSERT_TRUE(book.Refresh().has_value());
  const User* user = book.FindUser("auditor");
  ASSERT_NE(user, nullptr);
  EXPECT_EQ(user->role, Role::kAuditor);
  EXPECT_TRUE(VerifyPassword(user->password_hash, made->at(0).password));
  EXPECT_FALSE(VerifyPassword(user->password_hash, made->at(1).password));
  EXPECT_FALSE(VerifyPassword(user->password_hash, ""));
  EXPECT_NE(user->password_hash.find("$argon2id$v=19$m=65536,t=3,p=1$"), std::string::npos) << user->password_hash;
  struct stat info {};
  ASSERT_EQ(::stat((directory_ / "users.json").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_EQ(CreateFirstUsers(directory_, {}, entropy_).error().code, Code::kDenied);
}

TEST_F(UsersTest, CertificatesNameTheirPeople) {
  const std::string fingerprint = HexOf(Sha256Of(AsBytes("certificate")));
  ASSERT_TRUE(AddCertificate(directory_, fingerprint, "anna", Role::kAuditor).has_value());
  ASSERT_TRUE(AddCertificate(directory_, HexOf(Sha256Of(AsBytes("other"))), "bob", Role::kViewer).has_value());
  EXPECT_FALSE(AddCertificate(directory_, "abc", "anna", Role::kAuditor).has_value());
  UserBook book(directory_);
  ASSERT_TRUE(book.Refresh().has_value());
  const auto identity = book.FindCertificate(fingerprint);
  ASSERT_TRUE(identity.has_value());
  EXPECT_EQ(identity->user, "anna");
  EXPECT_EQ(identity->via, "certificate");
  EXPECT_FALSE(book.FindCertificate(HexOf(Sha256Of(AsBytes("none")))).has_value());
}

TEST_F(UsersTest, AbsentFilesNameNobody) {
  UserBook book(directory_);
  EXPECT_TRUE(book.Refresh().has_value());
  EXPECT_EQ(book.FindUser("anna"), nullptr);
}

TEST_F(UsersTest, AWrongFileIsAnErrorAndTheOldContentStays) {
  Write("users.json", R"({"version":1,"users":[{"name":"anna","role":"viewer","password_hash":"$argon2id$x","sources":["fw*"]}]})");
  UserBook book(directory_);
  ASSERT_TRUE(book.Refresh().has_value());
  EXPECT_EQ(book.FindUser("anna")->sources, std::vector<std::string>{"fw*"});
  const char* wrong[] = {"", "[]", "{}", R"({"version":2,"users":[]})", R"({"version":1,"users":[{"name":"a b","role":"viewer","password_hash":"$argon2id$x"}]})",
                         R"({"version":1,"users":[{"name":"a","role":"root","password_hash":"$argon2id$x"}]})",
                         R"({"version":1,"users":[{"name":"a","role":"local-operator","password_hash":"$argon2id$x"}]})",
                         R"({"version":1,"users":[{"name":"a","role":"viewer","password_hash":"secret"}]})",
                         R"({"version":1,"users":[{"name":"a","role":"viewer","password_hash":"$argon2id$x","source":["fw"]}]})",
                         R"({"version":1,"users":[{"name":"a","role":"viewer","password_hash":"$argon2id$x","sources":"fw"}]})",
                         R"({"version":1,"users":[{"name":"a","password_hash":"$argon2id$x"}]})"};
  int serial = 0;
  for (const char* text : wrong) {
    Write("users.json", std::string(text) + std::string(static_cast<std::size_t>(++serial), ' '));  // another size each time
    EXPECT_FALSE(book.Refresh().has_value()) << text;
    EXPECT_NE(book.FindUser("anna"), nullptr) << text;
  }
  EXPECT_TRUE(book.Refresh().has_value());  // told once
}

}  // namespace
}  // namespace stele::query
