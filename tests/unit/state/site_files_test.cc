// Goal: what a site brings is copied whole, readable to whom it is for, and can neither replace nor read what is the
// appliance's own. Method: real folders in a temporary directory, owned by whoever runs the test.
#include "firmware/state/site_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace stele::state {
namespace {

namespace fs = std::filesystem;

class SiteFiles : public testing::Test {
 protected:
  SiteFiles() {
    std::string name = (fs::temp_directory_path() / "stele-site.XXXXXX").string();
    root_ = ::mkdtemp(name.data());
    fs::create_directory(from_ = root_ / "from");
    fs::create_directory(to_ = root_ / "to");
  }
  ~SiteFiles() override { fs::remove_all(root_); }

  static void Write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  static std::string Read(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static unsigned ModeOf(const fs::path& path) {
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0 ? status.st_mode & 07777U : 0;
  }
  Result<std::size_t> Copy() const { return CopySiteFiles(from_, to_, {::getuid(), ::getgid()}); }
  void ExpectRefused(const std::string& name) {
    Write(from_ / "stele.toml", "new");
    Write(to_ / "stele.toml", "old");
    const auto copied = Copy();
    ASSERT_FALSE(copied.has_value());
    EXPECT_EQ(copied.error().code, Code::kDenied);
    EXPECT_NE(copied.error().context.find(name), std::string::npos) << copied.error().context;
    EXPECT_EQ(Read(to_ / "stele.toml"), "old") << "something was written all the same";
  }

  fs::path root_, from_, to_;
};

TEST_F(SiteFiles, AreCopiedWithTheModesThatTheirReadersNeed) {
  Write(from_ / "stele.toml", "[viewer]\n");
  Write(from_ / "keys" / "ca.key", "secret");
  Write(from_ / "network" / "10-lan.network", "[Match]\n");
  Write(from_ / "time" / "site.sources", "server 192.0.2.1 nts\n");
  Write(from_ / "tls" / "empty.pem", "");
  const auto copied = Copy();
  ASSERT_TRUE(copied.has_value()) << Describe(copied.error());
  EXPECT_EQ(*copied, 5U);
  EXPECT_EQ(Read(to_ / "stele.toml"), "[viewer]\n");
  EXPECT_EQ(Read(to_ / "time" / "site.sources"), "server 192.0.2.1 nts\n");
  EXPECT_TRUE(fs::exists(to_ / "tls" / "empty.pem"));
  EXPECT_EQ(ModeOf(to_ / "stele.toml"), 0600U);
  EXPECT_EQ(ModeOf(to_ / "keys"), 0700U);
  EXPECT_EQ(ModeOf(to_ / "keys" / "ca.key"), 0600U);
  EXPECT_EQ(ModeOf(to_ / "network"), 0755U);
  EXPECT_EQ(ModeOf(to_ / "network" / "10-lan.network"), 0644U);
}

TEST_F(SiteFiles, ReplaceNetworkAndTimeAsWholesAndDeleteNothingElse) {
  Write(to_ / "network" / "old.network", "old");
  Write(to_ / "time" / "old.sources", "old");
  Write(to_ / "keys" / "auditor.pem", "kept");
  Write(to_ / "store" / "segment", "kept");
  Write(from_ / "network" / "new.network", "new");
  Write(from_ / "keys" / "ca.pem", "new");
  ASSERT_TRUE(Copy().has_value());
  EXPECT_FALSE(fs::exists(to_ / "network" / "old.network"));
  EXPECT_EQ(Read(to_ / "time" / "old.sources"), "old") << "the site brought no folder time";
  EXPECT_EQ(Read(to_ / "keys" / "auditor.pem"), "kept");
  EXPECT_EQ(Read(to_ / "keys" / "ca.pem"), "new");
  EXPECT_EQ(Read(to_ / "store" / "segment"), "kept");
}

TEST_F(SiteFiles, EndTheSameWhenTheyAreCopiedTwice) {
  Write(from_ / "network" / "new.network", "new");
  Write(from_ / "stele.toml", "new");
  Write(to_ / "stele.toml.new", "cut off");
  ASSERT_TRUE(Copy().has_value());
  ASSERT_TRUE(Copy().has_value());
  EXPECT_EQ(std::distance(fs::directory_iterator(to_ / "network"), fs::directory_iterator()), 1);
  EXPECT_EQ(Read(to_ / "stele.toml"), "new");
  EXPECT_FALSE(fs::exists(to_ / "stele.toml.new"));
}

TEST_F(SiteFiles, OfTheFileSystemAndTheRecoveryAreNotCopied) {
  Write(from_ / "recovery.key", "0000");
  fs::create_directory(from_ / "lost+found");
  const auto copied = Copy();
  ASSERT_TRUE(copied.has_value()) << Describe(copied.error());
  EXPECT_EQ(*copied, 0U);
  EXPECT_TRUE(fs::is_empty(to_));
}

TEST_F(SiteFiles, ThatAreTheAppliancesOwnAreRefused) {
  for (const char* name : {"store/segment", "state/slot-a", "tpm/state", "run/ready.json", "keys/seed",
                           "keys/seed-1.sealed", "keys/tpm-auths.json", "keys/alerts.seed"}) {
    Write(from_ / name, "x");
    ExpectRefused(fs::path(name).has_parent_path() && fs::path(name).parent_path() != "keys"
                      ? fs::path(name).parent_path().string()
                      : name);
    fs::remove_all(from_);
    fs::create_directory(from_);
  }
}

TEST_F(SiteFiles, ThatAreNoPlainFilesAreRefused) {
  fs::create_symlink("/etc/passwd", from_ / "hostname");
  ExpectRefused("hostname");
  fs::remove(from_ / "hostname");
  fs::create_directory_symlink("/etc", from_ / "tls");
  ExpectRefused("tls");
  fs::remove(from_ / "tls");
  fs::create_directories(from_ / "network" / "deeper");
  ExpectRefused("network/deeper");
  fs::remove(from_ / "network" / "deeper");
  ASSERT_EQ(::mkfifo((from_ / "network" / "pipe").c_str(), 0600), 0);
  ExpectRefused("network/pipe");
}

TEST_F(SiteFiles, AreNotCopiedThroughALinkInTheirWay) {
  fs::create_directory(root_ / "elsewhere");
  fs::create_directory_symlink(root_ / "elsewhere", to_ / "keys");
  Write(from_ / "keys" / "ca.pem", "new");
  EXPECT_FALSE(Copy().has_value());
  EXPECT_TRUE(fs::is_empty(root_ / "elsewhere"));
}

TEST_F(SiteFiles, AreNotCopiedThroughALinkWhereTheyAreWritten) {
  Write(root_ / "victim", "mine");
  fs::create_symlink(root_ / "victim", to_ / "stele.toml.new");
  Write(from_ / "stele.toml", "new");
  ASSERT_TRUE(Copy().has_value());
  EXPECT_EQ(Read(root_ / "victim"), "mine");
  EXPECT_EQ(Read(to_ / "stele.toml"), "new");
  EXPECT_FALSE(fs::is_symlink(to_ / "stele.toml"));
}

TEST_F(SiteFiles, ThatAreTooLargeOrTooManyAreRefused) {
  Write(from_ / "large", std::string((1U << 20U) + 1, 'x'));
  ExpectRefused("large");
  fs::remove(from_ / "large");
  for (int i = 0; i < 1024; ++i) Write(from_ / "many" / std::to_string(i), "");
  ExpectRefused("1,024");
}

}  // namespace
}  // namespace stele::state
