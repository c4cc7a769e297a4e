#include "appliance/sandbox/profiles.h"

#include <linux/capability.h>

#include <utility>

#include "appliance/base/limits.h"

namespace stele::sandbox {
namespace {

constexpr std::size_t kOwnDescriptors = 256;  // channels, timers, segments: everything that is not a connection

}  // namespace

Profile ReceiveProfile() {
  return {
      .name = "stele-receive",
      .promises = {Promise::kCore, Promise::kStream, Promise::kEvents, Promise::kAccept},
      .paths = {},
      .descriptors_max = 2 * limits::kConnections + kOwnDescriptors};  // plain TCP, and all the TLS listeners together
}

Profile LedgerProfile(const std::filesystem::path& store_dir) {
  return {.name = "stele-ledger",
          .promises = {Promise::kCore, Promise::kStream, Promise::kEvents, Promise::kReadFile, Promise::kWriteFile},
          .paths = {{store_dir, Access::kAppend}},
          .descriptors_max = 0};  // a long log has many segments
}

Profile LedgerOnPartitionsProfile() {
  return {.name = "stele-ledger",
          .promises = {Promise::kCore, Promise::kStream, Promise::kEvents, Promise::kPartitions},
          .paths = {},
          .descriptors_max = 0};  // as many as it has partitions
}

Profile AnchorProfile(const std::filesystem::path& state_dir, const std::vector<std::filesystem::path>& read_only) {
  Profile profile{.name = "stele-anchor",
                  .promises = {Promise::kCore, Promise::kStream, Promise::kEvents, Promise::kReadFile,
                               Promise::kWriteFile, Promise::kReplaceFile},
                  .paths = {{state_dir, Access::kReplace}},
                  .descriptors_max = kOwnDescriptors};
  for (const auto& path : read_only) profile.paths.push_back({path, Access::kRead});
  return profile;
}

Profile QueryProfile(const std::filesystem::path& store_dir, const std::filesystem::path& state_dir) {
  return {.name = "stele-query",
          .promises = {Promise::kCore, Promise::kStream, Promise::kEvents, Promise::kAccept, Promise::kReadFile},
          .paths = {{store_dir, Access::kRead}, {state_dir, Access::kRead}},
          .descriptors_max = 0};
}

Profile WebProfile() {
  return {.name = "stele-web",
          .promises = {Promise::kCore, Promise::kStream, Promise::kEvents, Promise::kAccept},
          .paths = {},
          .descriptors_max = limits::kConnections + kOwnDescriptors};
}

Profile GuardWatchProfile(std::size_t sockets) {
  return {.name = "stele-guard-watch",
          .promises = {Promise::kCore, Promise::kStream, Promise::kEvents},
          .paths = {},
          .descriptors_max = sockets + kOwnDescriptors};
}

Profile CourierProfile(const std::filesystem::path& state_dir, std::vector<std::uint16_t> ports) {
  return {.name = "stele-courier",
          .promises = {Promise::kCore, Promise::kStream, Promise::kEvents, Promise::kConnect, Promise::kReadFile,
                       Promise::kWriteFile, Promise::kReplaceFile},
          .paths = {{state_dir, Access::kReplace}},
          .descriptors_max = kOwnDescriptors,
          .connect_ports = std::move(ports)};
}

Profile GuardProfile(const std::filesystem::path& state_dir) {
  Profile profile{.name = "stele-guard",
                  .promises = {Promise::kCore, Promise::kStream, Promise::kEvents, Promise::kNetfilter, Promise::kAccept,
                               Promise::kReadFile, Promise::kWriteFile, Promise::kReplaceFile},
                  .paths = {{state_dir, Access::kReplace}},
                  .descriptors_max = kOwnDescriptors,
                  .capabilities = {CAP_NET_ADMIN}};
  std::error_code failed;
  for (const char* path : {"/etc/protocols", "/etc/nsswitch.conf", "/etc/passwd"}) {
    if (std::filesystem::exists(path, failed)) profile.paths.push_back({path, Access::kRead});
  }
  return profile;
}

Profile WitnessProfile(const std::filesystem::path& state_dir) {
  return {.name = "stele witness",
          .promises = {Promise::kCore, Promise::kStream, Promise::kEvents, Promise::kAccept, Promise::kReadFile,
                       Promise::kWriteFile, Promise::kReplaceFile},
          .paths = {{state_dir, Access::kReplace}},
          .descriptors_max = kOwnDescriptors};
}

}  // namespace stele::sandbox
