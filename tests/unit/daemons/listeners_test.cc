// Goal: listeners bind what they are told, say what they bound, and refuse clearly; the directory has one owner.
#include "appliance/daemons/listeners.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "appliance/daemons/home.h"

namespace stele::daemons {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "stele-home-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TEST(Listeners, PortZeroTakesAFreeOneAndSaysWhich) {
  for (const char* transport : {"udp", "tcp"}) {
    const auto bound = BindListener("x", transport, "127.0.0.1", 0);
    ASSERT_TRUE(bound) << Describe(bound.error());
    EXPECT_NE(bound->port, 0);
    EXPECT_EQ(bound->address, "127.0.0.1:" + std::to_string(bound->port));
    EXPECT_EQ(bound->DetailJson(), R"({"address":")" + bound->address + R"(","transport":")" + transport + "\"}");
  }
}

TEST(Listeners, AllAddressesOfBothFamiliesAreOneListener) {
  for (const char* transport : {"udp", "tcp"}) {
    const auto bound = BindListener("x", transport, "::", 0);
    ASSERT_TRUE(bound) << Describe(bound.error());
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v4.sin_port = htons(bound->port);
    const UniqueFd client(::socket(AF_INET, std::string(transport) == "udp" ? SOCK_DGRAM : SOCK_STREAM, 0));
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&v4), sizeof v4), 0) << transport;
    EXPECT_EQ(::send(client.get(), "x", 1, MSG_NOSIGNAL), 1) << transport;
    if (std::string(transport) != "udp") continue;
    char octet = 0;
    EXPECT_EQ(::recv(bound->descriptor.get(), &octet, 1, 0), 1);
  }
}

TEST(Listeners, APortInUseIsNamed) {
  const auto first = BindListener("x", "tcp", "127.0.0.1", 0);
  ASSERT_TRUE(first);
  const auto second = BindListener("y", "tcp", "127.0.0.1", first->port);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().detail, static_cast<std::uint32_t>(EADDRINUSE));
  EXPECT_NE(second.error().context.find(first->address), std::string::npos);
  EXPECT_EQ(BindListener("z", "tcp", "not-an-address", 0).error().code, Code::kInvalid);
}

TEST(Listeners, AUnixSocketInADeepDirectoryWorks) {
  const Folder folder;
  fs::path deep = folder.path();
  for (int i = 0; i < 8; ++i) deep /= "a-rather-long-directory-name";
  fs::create_directories(deep);
  const fs::path socket = deep / "query.sock";
  EXPECT_EQ(ConnectUnix(socket).error().code, Code::kUnavailable);
  {
    const auto listener = BindUnixListener(socket);
    ASSERT_TRUE(listener) << Describe(listener.error());
    EXPECT_TRUE(ConnectUnix(socket));
    struct stat status {};
    ASSERT_EQ(::stat(socket.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
  }
  EXPECT_EQ(ConnectUnix(socket).error().code, Code::kUnavailable);
  EXPECT_TRUE(BindUnixListener(socket));  // in place of the leftover
}

TEST(Home, FoldersArePrivateAndOneSteleRunsInThem) {
  const Folder folder;
  const Home home{folder.path() / "a" / "b"};
  ASSERT_TRUE(MakeHome(home));
  ASSERT_TRUE(MakeHome(home));
  struct stat status {};
  ASSERT_EQ(::stat(home.Keys().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
  EXPECT_FALSE(IsRunning(home));
  {
    const auto lock = LockHome(home);
    ASSERT_TRUE(lock);
    EXPECT_TRUE(IsRunning(home));
    EXPECT_EQ(LockHome(home).error().code, Code::kDenied);
  }
  EXPECT_FALSE(IsRunning(home));
}

TEST(Home, ADirectoryOpenToOthersIsRefused) {
  const Folder folder;
  const Home home{folder.path()};
  fs::permissions(folder.path(), fs::perms::owner_all | fs::perms::group_read);
  const auto made = MakeHome(home);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kDenied);
}

}  // namespace
}  // namespace stele::daemons
