#include "firmware/initrd/logs.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>

#include "appliance/base/fd.h"
#include "firmware/guard/log_label.h"
#include "firmware/guard/policy.h"
#include "firmware/guard/seal_mark.h"
#include "firmware/initrd/system.h"

namespace stele::initrd {
namespace {

constexpr const char* kNodes = "/dev/stele-log";

Result<std::array<std::byte, 4096>> ReadBlock(int device, const std::string& node, std::uint64_t at) {
  std::array<std::byte, 4096> block{};
  if (::pread(device, block.data(), block.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(block.size()))
    return FailErrno("read " + node);
  return block;
}

Result<guard::LogContent> ContentOf(const Partition& log) {
  const UniqueFd device(::open(log.node.c_str(), O_RDONLY | O_CLOEXEC));
  if (!device.valid()) return FailErrno("open " + log.node);
  const auto at = guard::SealMarkAt(log.size_bytes);
  if (!at) return Fail(Code::kInvalid, log.name + " is too small");
  STELE_TRY(const auto mark, ReadBlock(device.get(), log.node, *at));
  STELE_TRY(const auto superblock, ReadBlock(device.get(), log.node, 0));
  return guard::LogContent{guard::DecodeSealMark(mark).has_value(), guard::DecodeLogLabel(superblock)};
}

// A second lock beside the guard's map, and what everybody who asks the device gets to hear.
void SetReadOnly(const Partition& log) {
  const UniqueFd device(::open(log.node.c_str(), O_RDONLY | O_CLOEXEC));
  const int read_only = 1;
  if (::ioctl(device.get(), BLKROSET, &read_only) != 0) Say(log.name + ": the kernel does not set it read-only");
}

std::string NodeFor(const Partition& log) {
  return std::string(kNodes) + "/" + log.name.substr(log.name.rfind('-') + 1);
}

// A node of its own, in a folder of its own: a unit can be given the folder and sees no other device, udev does not
// know the nodes, and the names stay whatever the disks are called.
Result<void> MakeNode(const Partition& log, bool sealed) {
  const std::string node = NodeFor(log);
  const dev_t device = ::makedev(log.device >> 20, log.device & 0xfffff);
  if (::mknod(node.c_str(), S_IFBLK | 0400, device) != 0 || ::chown(node.c_str(), sealed ? 0 : kStele, kStele) != 0 ||
      ::chmod(node.c_str(), sealed ? 0440 : 0600) != 0) {
    return FailErrno("make " + node);
  }
  return {};
}

// Everything else is closed to these units.
void AllowTo(const char* unit, const std::string& devices) {
  const std::string folder = std::string("/run/systemd/system/") + unit + ".d";
  for (const std::string& each : {std::string("/run/systemd"), std::string("/run/systemd/system"), folder})
    (void)::mkdir(each.c_str(), 0755);  // the next line fails if it is not there
  if (const auto written = WriteText(folder + "/logs.conf", "[Service]\n" + devices); !written)
    Say(Describe(written.error()));
}

}  // namespace

LogsOutcome HandOverLogs(const Partitions& partitions) {
  LogsOutcome outcome;
  std::vector<std::string> refused;
  std::vector<Partition> logs;
  std::vector<guard::LogContent> contents;
  for (Partition& log : partitions.Logs(refused)) {
    const auto content =
        logs.size() < GUARD_DEVICES_MAX ? ContentOf(log) : Fail(Code::kDenied, log.name + " is too many");
    if (!content) {
      Say(Describe(content.error()));
      refused.push_back(log.name);
      continue;
    }
    contents.push_back(*content);
    logs.push_back(std::move(log));
  }
  (void)::mkdir(kNodes, 0755);  // the first node fails if it is not there
  const std::vector<bool> is_sealed = guard::WhichAreSealed(contents);
  std::size_t sealed = 0;
  std::string unmarked;
  std::string reading;
  std::string writing;
  for (std::size_t i = 0; i < logs.size(); ++i) {
    if (is_sealed[i]) {
      ++sealed;
      SetReadOnly(logs[i]);
      if (!contents[i].bears_mark) unmarked += ", " + logs[i].name + " has lost its seal mark";
    }
    if (const auto made = MakeNode(logs[i], is_sealed[i]); !made) Say(Describe(made.error()));
    reading += "DeviceAllow=" + NodeFor(logs[i]) + " r\n";
    writing += "DeviceAllow=" + NodeFor(logs[i]) + (is_sealed[i] ? " r\n" : " rw\n");
    outcome.logs.push_back({logs[i].device, is_sealed[i]});
  }
  AllowTo("stele-ledger@.service", writing);
  AllowTo("stele-query@.service", reading);
  AllowTo("stele.service", reading);
  outcome.words = std::to_string(logs.size()) + " log partitions, " + std::to_string(sealed) + " sealed" + unmarked;
  for (const std::string& name : refused) outcome.words += ", " + name + " refused";
  return outcome;
}

}  // namespace stele::initrd
