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
constexpr std::uint64_t kSectorsPerBlock = 8;

struct Request {
  dm_ioctl header{};
  dm_target_spec target{};
  std::array<char, 1024> table{};
};

Request NewRequest(std::uint32_t flags) {
  Request request;
  request.header.version[0] = DM_VERSION_MAJOR;
  request.header.data_size = sizeof request;
  request.header.data_start = sizeof(dm_ioctl);
  request.header.flags = flags;
  std::memcpy(request.header.name, kName, sizeof kName);
  return request;
}

}  // namespace

Result<std::string> OpenVerity(const RootDescription& root, const std::string& data_node,
                               const std::string& hash_node) {
  const UniqueFd control(::open("/dev/mapper/control", O_RDWR | O_CLOEXEC));
  if (!control.valid()) return FailErrno("open /dev/mapper/control");
  Request create = NewRequest(DM_READONLY_FLAG);
  if (::ioctl(control.get(), DM_DEV_CREATE, &create) != 0) return FailErrno("make the verity device");

  Request load = NewRequest(DM_READONLY_FLAG);
  load.header.target_count = 1;
  load.target.length = root.blocks * kSectorsPerBlock;
  std::memcpy(load.target.target_type, "verity", sizeof "verity");
  const std::string table = VerityTable(root, data_node, hash_node);
  if (table.size() >= load.table.size()) return Fail(Code::kInvalid, "the verity table is too long");
  std::memcpy(load.table.data(), table.c_str(), table.size() + 1);
  if (::ioctl(control.get(), DM_TABLE_LOAD, &load) != 0) return FailErrno("load the verity table");

  Request resume = NewRequest(0);
  if (::ioctl(control.get(), DM_DEV_SUSPEND, &resume) != 0) return FailErrno("start the verity device");
  return "/dev/dm-" + std::to_string(minor(create.header.dev));
}

}  // namespace stele::initrd
