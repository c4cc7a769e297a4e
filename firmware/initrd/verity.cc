#include "firmware/initrd/verity.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include <array>
#include <cstring>

#include "appliance/base/fd.h"

namespace stele::initrd {
namespace {

constexpr char kName[] = "stele-root";
constexpr char kProbe[] = "stele-probe";
constexpr std::uint64_t kSectorsPerBlock = 8;
constexpr std::size_t kBlockBytes = 4096;

struct Request {
  dm_ioctl header{};
  dm_target_spec target{};
  std::array<char, 1024> table{};
};

Request NewRequest(const char* name, std::uint32_t flags) {
  Request request;
  request.header.version[0] = DM_VERSION_MAJOR;
  request.header.data_size = sizeof request;
  request.header.data_start = sizeof(dm_ioctl);
  request.header.flags = flags;
  std::strncpy(request.header.name, name, sizeof request.header.name - 1);
  return request;
}

Result<UniqueFd> OpenControl() {
  UniqueFd control(::open("/dev/mapper/control", O_RDWR | O_CLOEXEC));
  if (!control.valid()) return FailErrno("open /dev/mapper/control");
  return control;
}

Result<std::string> MakeDevice(const UniqueFd& control, const char* name, std::uint64_t blocks,
                               const std::string& table) {
  Request create = NewRequest(name, DM_READONLY_FLAG);
  if (::ioctl(control.get(), DM_DEV_CREATE, &create) != 0) return FailErrno("make the verity device");

  Request load = NewRequest(name, DM_READONLY_FLAG);
  load.header.target_count = 1;
  load.target.length = blocks * kSectorsPerBlock;
  std::memcpy(load.target.target_type, "verity", sizeof "verity");
  if (table.size() >= load.table.size()) return Fail(Code::kInvalid, "the verity table is too long");
  std::memcpy(load.table.data(), table.c_str(), table.size() + 1);
  if (::ioctl(control.get(), DM_TABLE_LOAD, &load) != 0) return FailErrno("load the verity table");

  Request resume = NewRequest(name, 0);
  if (::ioctl(control.get(), DM_DEV_SUSPEND, &resume) != 0) return FailErrno("start the verity device");
  return "/dev/dm-" + std::to_string(minor(create.header.dev));
}

bool FirstBlockIsRight(const std::string& node) {
  const UniqueFd device(::open(node.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<std::byte, kBlockBytes> block{};
  return device.valid() && ::pread(device.get(), block.data(), block.size(), 0) == static_cast<ssize_t>(block.size());
}

}  // namespace

bool HoldsRoot(const RootDescription& root, const std::string& data_node, const std::string& hash_node) {
  const auto control = OpenControl();
  if (!control) return false;
  const std::string table = VerityTable(root, data_node, hash_node, OnCorruption::kFail);
  const auto node = MakeDevice(*control, kProbe, root.blocks, table);
  const bool holds = node && FirstBlockIsRight(*node);
  Request remove = NewRequest(kProbe, 0);
  (void)::ioctl(control->get(), DM_DEV_REMOVE, &remove);  // one that was never made, too
  return holds;
}

Result<std::string> OpenVerity(const RootDescription& root, const std::string& data_node,
                               const std::string& hash_node) {
  STELE_TRY(const UniqueFd control, OpenControl());
  return MakeDevice(control, kName, root.blocks, VerityTable(root, data_node, hash_node, OnCorruption::kPanic));
}

}  // namespace stele::initrd
