#include "tests/unit/tpm/testbed.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tpm/signing.h"
#include "tpm/tcti_fd.h"

namespace stele::tpm::test {

TemporaryDirectory::TemporaryDirectory() {
  char name[] = "/tmp/stele-tpm-XXXXXX";
  STELE_CHECK(::mkdtemp(name) != nullptr);
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Testbed::Testbed() {
  ::setenv("TSS2_LOG", "all+none", 0);
  const auto made = MakeSwtpmState(directory() / "tpm");
  if (!made) ADD_FAILURE() << Describe(made.error());
  auto started = StartSwtpm(directory() / "tpm", directory() / "s");
  if (!started) ADD_FAILURE() << Describe(started.error());
  if (started) process_ = *started;
}

Testbed::~Testbed() {
  KillSwtpm(process_);
  if (!testing::Test::HasFailure()) return;
  const auto log = ReadFile(directory() / "tool.log", 1 << 20);
  if (log) std::fprintf(stderr, "%.*s\n", static_cast<int>(log->size()), AsText(*log).data());
}

UniqueFd Testbed::Connect() const {
  auto fd = ConnectSwtpm(directory() / "s");
  if (!fd) {
    ADD_FAILURE() << Describe(fd.error());
    return UniqueFd();
  }
  return std::move(*fd);
}

void Testbed::Provision() {
  key_pem = MakeSigningKey().value();
  ProvisionOptions options;
  options.provisioning_key_pem = key_pem;
  SystemEntropy entropy;
  auto made = stele::tpm::Provision(Connect(), options, entropy);
  ASSERT_TRUE(made.has_value()) << Describe(made.error());
  result = std::move(*made);
}

std::unique_ptr<AnchorDevice> Testbed::Device() const {
  auto device = AnchorDevice::Open(Connect(), ConfigOf(result));
  if (!device) {
    ADD_FAILURE() << Describe(device.error());
    return nullptr;
  }
  return std::move(*device);
}

void Testbed::Reboot() {
  const auto stopped = StopSwtpm(process_);
  EXPECT_TRUE(stopped.has_value()) << Describe(stopped.error());
  auto started = StartSwtpm(directory() / "tpm", directory() / "s");
  ASSERT_TRUE(started.has_value()) << Describe(started.error());
  process_ = *started;
}

void Testbed::PowerCut() {
  KillSwtpm(process_);
  auto started = StartSwtpm(directory() / "tpm", directory() / "s");
  ASSERT_TRUE(started.has_value()) << Describe(started.error());
  process_ = *started;
}

int Testbed::Tool(const std::string& command) const {
  const std::string line = "export TPM2TOOLS_TCTI=swtpm:path=" + (directory() / "s").string() + "; cd " +
                           directory().string() + " && { " + command + "; } >>tool.log 2>&1";
  const int status = std::system(line.c_str());  // NOLINT(cert-env33-c): a test, fixed commands
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::filesystem::path Testbed::File(const std::string& name, ByteView content) const {
  std::ofstream out(directory() / name, std::ios::binary);
  out.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
  return directory() / name;
}

Meddler::Meddler(UniqueFd to_tpm) : to_tpm_(std::move(to_tpm)) {
  int pair[2] = {-1, -1};
  STELE_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  device_end_.reset(pair[0]);
  our_end_.reset(pair[1]);
  thread_ = std::thread([this] {
    (void)Pump(our_end_.get(), to_tpm_.get(), *this, nullptr);
    (void)::shutdown(our_end_.get(), SHUT_RDWR);
    (void)::shutdown(to_tpm_.get(), SHUT_RDWR);
  });
}

Meddler::~Meddler() { Close(); }

void Meddler::Close() {
  if (!thread_.joinable()) return;
  device_end_.reset();
  (void)::shutdown(our_end_.get(), SHUT_RDWR);
  thread_.join();
  to_tpm_.reset();
}

Hash Filled(std::uint8_t value) {
  Hash out;
  out.fill(static_cast<std::byte>(value));
  return out;
}

}  // namespace stele::tpm::test
