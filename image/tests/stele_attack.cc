// stele-attack: full root inside the appliance tries to change a sealed log partition. Only in the attack variant of
// the image.
//
// Goal: every attack is refused, and the partition's bytes are those that were sealed. Method: seal stele-log-6, which
// the ledger has not come to (first start; at the second the initial RAM disk must have sealed it again), keep
// descriptors and mappings from before, then try each way. One line for each attack on the console, read by
// scripts/boot:
//
//   attack: refused|unreachable|SUCCEEDED|impossible NAME: errno text     unreachable: no path leads there; impossible:
//   no such device here attack: done N attempts, M succeeded, bytes unchanged|CHANGED
//
// The controls must succeed: a suite in which nothing works proves nothing.
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/blkzoned.h>
#include <linux/bpf.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/loop.h>
#include <linux/nvme_ioctl.h>
#include <scsi/sg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/fd.h"
#include "firmware/guard/seal_mark.h"
#include "firmware/initrd/partitions.h"

namespace {

using stele::UniqueFd;
using stele::initrd::Partition;

constexpr std::size_t kBlock = 4096;
constexpr int kImpossible = -1;

int attempts = 0;
int succeeded = 0;

// What an attack says: 0 = it went through, an errno = refused, kImpossible.
using Attack = std::function<int()>;

int Errno(bool done) { return done ? 0 : errno; }

void Try(const char* name, const Attack& attack) {
  const int outcome = attack();
  const char* word = outcome == 0             ? "SUCCEEDED"
                     : outcome == kImpossible ? "impossible"
                     : outcome == ENOENT      ? "unreachable"
                                              : "refused";
  ++attempts;
  if (outcome == 0) ++succeeded;
  std::printf("attack: %s %s%s%s\r\n", word, name, outcome > 0 ? ": " : "", outcome > 0 ? std::strerror(outcome) : "");
  std::fflush(stdout);
}

void Control(const char* name, int outcome) {
  std::printf("attack: control %s %s%s%s\r\n", outcome == 0 ? "works" : "FAILS", name, outcome == 0 ? "" : ": ",
              outcome == 0 ? "" : std::strerror(outcome));
  std::fflush(stdout);
}

UniqueFd Open(const std::string& path, int flags) { return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC)); }

struct Aligned {
  alignas(kBlock) std::array<char, kBlock> bytes{};
};

Aligned Pattern(char letter) {
  Aligned block;
  block.bytes.fill(letter);
  return block;
}

int WriteBlock(int fd, off_t at) {
  const Aligned evil = Pattern('E');
  return Errno(::pwrite(fd, evil.bytes.data(), kBlock, at) == static_cast<ssize_t>(kBlock) && ::fsync(fd) == 0);
}

// The first block of a partition as the disk has it, not the page cache.
std::array<char, kBlock> OnDisk(const std::string& node) {
  const UniqueFd fd = Open(node, O_RDONLY | O_DIRECT);
  Aligned block;
  if (::pread(fd.get(), block.bytes.data(), kBlock, 0) != static_cast<ssize_t>(kBlock)) block.bytes.fill('?');
  return block.bytes;
}

int Seal(const Partition& log, int fd) {
  const Aligned good = Pattern('G');
  const auto mark = stele::guard::EncodeSealMark(kBlock);
  Aligned end;
  std::memcpy(end.bytes.data(), mark.data(), mark.size());
  const auto last = static_cast<off_t>(log.size_bytes - kBlock);
  if (::pwrite(fd, good.bytes.data(), kBlock, 0) != static_cast<ssize_t>(kBlock)) return errno;
  if (::pwrite(fd, end.bytes.data(), kBlock, last) != static_cast<ssize_t>(kBlock) || ::fsync(fd) != 0) return errno;
  int yes = 1;
  return Errno(::ioctl(fd, BLKROSET, &yes) == 0);
}

std::string DiskOf(
    const std::string& partition_node) {  // "/dev/nvme0n1p7" -> "/dev/nvme0n1", "/dev/sda1" -> "/dev/sda"
  std::string disk = partition_node;
  while (!disk.empty() && disk.back() >= '0' && disk.back() <= '9') disk.pop_back();
  if (disk.ends_with('p')) disk.pop_back();
  return disk;
}

std::uint64_t StartBytes(const Partition& log) {
  const std::string name = log.node.substr(5);
  FILE* file = std::fopen(("/sys/class/block/" + name + "/start").c_str(), "re");
  unsigned long long sectors = 0;
  if (file == nullptr || std::fscanf(file, "%llu", &sectors) != 1) sectors = 0;
  if (file != nullptr) (void)std::fclose(file);  // only read from
  return sectors * 512;
}

int WriteFile(const std::string& path, const std::string& text) {
  const UniqueFd fd = Open(path, O_WRONLY);
  return Errno(fd.valid() && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

long Bpf(bpf_cmd command, bpf_attr& attributes) { return ::syscall(SYS_bpf, command, &attributes, sizeof attributes); }

int NvmeWrite(const std::string& node, std::uint64_t lba) {
  const UniqueFd fd = Open(node, O_RDWR);
  const UniqueFd reader = fd.valid() ? UniqueFd() : Open(node, O_RDONLY);
  const int used = fd.valid() ? fd.get() : reader.get();
  if (used < 0) return errno == ENOENT ? kImpossible : errno;
  Aligned evil = Pattern('E');
  nvme_passthru_cmd command{};
  command.opcode = 1;  // write
  command.nsid = 1;
  command.addr = reinterpret_cast<std::uint64_t>(evil.bytes.data());
  command.data_len = kBlock;
  command.cdw10 = static_cast<std::uint32_t>(lba);
  command.cdw11 = static_cast<std::uint32_t>(lba >> 32);
  command.cdw12 = kBlock / 512 - 1;
  return Errno(::ioctl(used, NVME_IOCTL_IO_CMD, &command) == 0);
}

// io_uring by hand: one command to the NVMe driver's generic device.
int UringCommand(const std::string& node) {
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_SQE128 | IORING_SETUP_CQE32;
  const UniqueFd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 1, &parameters)));
  if (!ring.valid()) return errno;
  const UniqueFd target = Open(node, O_RDONLY);
  if (!target.valid()) return errno == ENOENT ? kImpossible : errno;
  const std::size_t ring_bytes = parameters.cq_off.cqes + parameters.cq_entries * 2 * sizeof(io_uring_cqe);
  void* rings = ::mmap(nullptr, ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring.get(), IORING_OFF_SQ_RING);
  void* entries =
      ::mmap(nullptr, 2 * sizeof(io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring.get(), IORING_OFF_SQES);
  if (rings == MAP_FAILED || entries == MAP_FAILED) return errno;
  auto* bytes = static_cast<char*>(rings);
  auto* entry = static_cast<io_uring_sqe*>(entries);
  std::memset(entries, 0, 2 * sizeof(io_uring_sqe));
  entry->opcode = IORING_OP_URING_CMD;
  entry->fd = target.get();
  entry->cmd_op = _IOWR('N', 0x80, nvme_passthru_cmd);
  reinterpret_cast<std::uint32_t*>(bytes + parameters.sq_off.array)[0] = 0;
  *reinterpret_cast<std::uint32_t*>(bytes + parameters.sq_off.tail) = 1;
  if (::syscall(SYS_io_uring_enter, ring.get(), 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) < 0) return errno;
  const auto* done = reinterpret_cast<const io_uring_cqe*>(bytes + parameters.cq_off.cqes);
  return done->res == 0 ? 0 : -done->res;
}

int ScsiWrite(const std::string& node) {
  const UniqueFd fd = Open(node, O_RDWR);
  const UniqueFd reader = fd.valid() ? UniqueFd() : Open(node, O_RDONLY);
  const int used = fd.valid() ? fd.get() : reader.get();
  if (used < 0) return errno == ENOENT ? kImpossible : errno;
  Aligned evil = Pattern('E');
  std::array<unsigned char, 10> command{0x2a, 0, 0, 0, 8, 0, 0, 0, 8, 0};  // WRITE(10), 8 blocks at 2048
  sg_io_hdr header{};
  header.interface_id = 'S';
  header.dxfer_direction = SG_DXFER_TO_DEV;
  header.cmd_len = command.size();
  header.cmdp = command.data();
  header.dxferp = evil.bytes.data();
  header.dxfer_len = kBlock;
  header.timeout = 2000;
  return Errno(::ioctl(used, SG_IO, &header) == 0 && header.status == 0);
}

int LoopOver(const std::string& disk, int flags) {
  const UniqueFd loop = Open("/dev/loop0", O_RDWR);
  const UniqueFd reader = loop.valid() ? UniqueFd() : Open("/dev/loop0", O_RDONLY);
  const int used = loop.valid() ? loop.get() : reader.get();
  if (used < 0) return errno == ENOENT ? kImpossible : errno;
  const UniqueFd target = Open(disk, flags);
  if (!target.valid()) return errno;
  return Errno(::ioctl(used, LOOP_SET_FD, target.get()) == 0);
}

int MapperLinear() {
  const UniqueFd control = Open("/dev/mapper/control", O_RDWR);
  if (!control.valid()) return errno;
  dm_ioctl make{};
  make.version[0] = DM_VERSION_MAJOR;
  make.data_size = sizeof make;
  std::strcpy(make.name, "evil");
  return Errno(::ioctl(control.get(), DM_DEV_CREATE, &make) == 0);
}

int Partitioning(const Partition& log, int operation) {
  const std::string disk = DiskOf(log.node);
  const UniqueFd fd = Open(disk, O_RDONLY);
  blkpg_partition partition{};
  partition.pno = std::stoi(log.node.substr(log.node.find_last_not_of("0123456789") + 1));
  blkpg_ioctl_arg argument{};
  argument.op = operation;
  argument.datalen = sizeof partition;
  argument.data = &partition;
  return Errno(fd.valid() && ::ioctl(fd.get(), BLKPG, &argument) == 0);
}

int RangeCommand(const std::string& node, unsigned long command) {
  const UniqueFd writer = Open(node, O_RDWR);
  const UniqueFd reader = writer.valid() ? UniqueFd() : Open(node, O_RDONLY);
  std::array<std::uint64_t, 2> range{0, kBlock};
  return Errno(::ioctl(writer.valid() ? writer.get() : reader.get(), command, range.data()) == 0);
}

int MknodWrite(const Partition& log) {
  const std::string node = "/dev/evil";  // where nodes are devices
  (void)::unlink(node.c_str());
  if (::mknod(node.c_str(), S_IFBLK | 0600, ::makedev(log.device >> 20, log.device & 0xfffff)) != 0) return errno;
  const UniqueFd fd = Open(node, O_RDWR);
  return fd.valid() ? WriteBlock(fd.get(), 0) : errno;
}

// The guard's own doors. Its pins lie below the first root, which no process has any more; if one had, a kernel thread
// would.
void AttackTheGuard() {
  const std::string pins = "/proc/2/root/guard";
  Try("remove the guard's pins", [&] { return Errno(::unlink((pins + "/guard_file_open").c_str()) == 0); });
  Try("rename the guard's pins",
      [&] { return Errno(::rename((pins + "/guard_file_open").c_str(), (pins + "/x").c_str()) == 0); });
  Try("unmount the guard's bpffs", [&] { return Errno(::umount2(pins.c_str(), MNT_DETACH) == 0); });
  Try("move the guard's bpffs", [&] { return Errno(::mount(pins.c_str(), "/tmp", nullptr, MS_MOVE, nullptr) == 0); });
  Try("move the guard's bpffs (move_mount)",
      [&] { return Errno(::syscall(SYS_move_mount, AT_FDCWD, pins.c_str(), AT_FDCWD, "/tmp", 0) == 0); });
  Try("unmount a bpffs that is in reach", [] { return Errno(::umount2("/sys/fs/bpf", MNT_DETACH) == 0); });
  Try("bpf(): get the guard's maps", [] {
    bpf_attr attributes{};
    for (attributes.map_id = 1; attributes.map_id < 64; ++attributes.map_id) {
      if (Bpf(BPF_MAP_GET_FD_BY_ID, attributes) >= 0) return 0;
    }
    return errno;
  });
  Try("bpf(): open a pin", [&] {
    const std::string pin = pins + "/guard_file_open";
    bpf_attr attributes{};
    attributes.pathname = reinterpret_cast<std::uint64_t>(pin.c_str());
    return Errno(Bpf(BPF_OBJ_GET, attributes) >= 0);
  });
  Try("attach to PID 1", [] { return Errno(::ptrace(PTRACE_ATTACH, 1, nullptr, nullptr) == 0); });
  Try("write to the memory of PID 1", [] { return Errno(Open("/proc/1/mem", O_RDWR).valid()); });
  Try("allow ptrace again", [] { return WriteFile("/proc/sys/kernel/yama/ptrace_scope", "0"); });
  Try("load modules again", [] { return WriteFile("/proc/sys/kernel/modules_disabled", "0"); });
  Try("allow kexec again", [] { return WriteFile("/proc/sys/kernel/kexec_load_disabled", "0"); });
  const std::string variables = "/sys/firmware/efi/efivars/";
  const std::string global = "-8be4df61-93ca-11d2-aa0d-00e098032b8c";
  Try("change the boot order",
      [&] { return WriteFile(variables + "BootOrder" + global, std::string("\7\0\0\0\0\0", 6)); });
  Try("order another start", [&] {
    const UniqueFd next(::open((variables + "BootNext" + global).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    const std::string value("\7\0\0\0\0\0", 6);
    return Errno(next.valid() && ::write(next.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size()));
  });
  Try("remove the boot order", [&] { return Errno(::unlink((variables + "BootOrder" + global).c_str()) == 0); });
  Try("write to /dev/mem", [] { return Errno(Open("/dev/mem", O_RDWR).valid()); });
  Try("write to /dev/port", [] { return Errno(Open("/dev/port", O_RDWR).valid()); });
}

void AttackTheLog(const Partition& log, int old_fd) {
  const std::string disk = DiskOf(log.node);
  const auto start = static_cast<off_t>(StartBytes(log));
  if (old_fd >= 0) {
    Try("write, descriptor from before the seal", [&] { return WriteBlock(old_fd, 0); });
    Try("BLKROSET 0, descriptor from before", [&] {
      int no = 0;
      return Errno(::ioctl(old_fd, BLKROSET, &no) == 0);
    });
    Try("fallocate zeroes, descriptor from before",
        [&] { return Errno(::fallocate(old_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kBlock) == 0); });
    Try("map shared, descriptor from before",
        [&] { return Errno(::mmap(nullptr, kBlock, PROT_READ | PROT_WRITE, MAP_SHARED, old_fd, 0) != MAP_FAILED); });
  }
  Try("open for writing", [&] { return Errno(Open(log.node, O_RDWR).valid()); });
  Try("BLKROSET 0, then write", [&] {
    const UniqueFd fd = Open(log.node, O_RDONLY);
    int no = 0;
    if (::ioctl(fd.get(), BLKROSET, &no) != 0) return errno;
    const UniqueFd writer = Open(log.node, O_RDWR);
    return writer.valid() ? WriteBlock(writer.get(), 0) : errno;
  });
  Try("a device node of one's own", [&] { return MknodWrite(log); });
  Try("write through the whole disk", [&] {
    const UniqueFd fd = Open(disk, O_RDWR);
    return fd.valid() ? WriteBlock(fd.get(), start) : errno;
  });
  Try("map the whole disk shared", [&] {
    const UniqueFd fd = Open(disk, O_RDWR);
    return Errno(fd.valid() &&
                 ::mmap(nullptr, kBlock, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), start) != MAP_FAILED);
  });
  Try("loop device over the disk", [&] { return LoopOver(disk, O_RDWR); });
  Try("loop device over a reading descriptor", [&] { return LoopOver(disk, O_RDONLY); });
  Try("device-mapper", [] { return MapperLinear(); });
  Try("BLKPG delete partition", [&] { return Partitioning(log, BLKPG_DEL_PARTITION); });
  Try("BLKPG add partition", [&] { return Partitioning(log, BLKPG_ADD_PARTITION); });
  Try("BLKRRPART", [&] { return Errno(::ioctl(Open(disk, O_RDONLY).get(), BLKRRPART) == 0); });
  Try("BLKDISCARD", [&] { return RangeCommand(log.node, BLKDISCARD); });
  Try("BLKZEROOUT", [&] { return RangeCommand(log.node, BLKZEROOUT); });
  Try("BLKSECDISCARD on the disk", [&] { return RangeCommand(disk, BLKSECDISCARD); });
  Try("BLKRESETZONE", [&] { return RangeCommand(disk, BLKRESETZONE); });
  Try("swap on the partition", [&] { return Errno(::swapon(log.node.c_str(), 0) == 0); });
  Try("mount it", [&] { return Errno(::mount(log.node.c_str(), "/tmp", "ext4", 0, nullptr) == 0); });
  Try("mount the state partition again", [] { return Errno(::mount("/dev/dm-1", "/tmp", "ext4", 0, nullptr) == 0); });
  Try("NVMe passthrough, block device", [&] { return NvmeWrite(disk, static_cast<std::uint64_t>(start) / 512); });
  Try("NVMe passthrough, generic device",
      [&] { return NvmeWrite("/dev/ng0n1", static_cast<std::uint64_t>(start) / 512); });
  Try("NVMe passthrough, controller", [&] { return NvmeWrite("/dev/nvme0", static_cast<std::uint64_t>(start) / 512); });
  Try("io_uring command, generic device", [] { return UringCommand("/dev/ng0n1"); });
  Try("unbind the disk's driver", [] { return WriteFile("/sys/bus/pci/drivers/nvme/unbind", "0000:00:01.0"); });
  Try("remove the disk's PCI device", [] { return WriteFile("/sys/bus/pci/devices/0000:00:01.0/remove", "1"); });
  Try("rescan the disk", [] { return WriteFile("/sys/class/nvme/nvme0/rescan_controller", "1"); });
  Try("SCSI: SG_IO on the block device", [] { return ScsiWrite("/dev/sda"); });
  Try("SCSI: generic device", [] { return ScsiWrite("/dev/sg0"); });
  Try("SCSI: bsg device", [] {
    for (const auto& entry : std::filesystem::directory_iterator("/dev/bsg")) {
      return Errno(Open(entry.path().string(), O_RDWR).valid() || Open(entry.path().string(), O_RDONLY).valid());
    }
    return kImpossible;
  });
  Try("SCSI: write to the disk", [] {
    const UniqueFd fd = Open("/dev/sda", O_RDWR);
    return fd.valid() ? WriteBlock(fd.get(), 1 << 20) : errno;
  });
}

}  // namespace

int main() {
  const auto partitions = stele::initrd::Partitions::OfThisMachine();
  const auto log = partitions.Only("stele-log-6");
  const auto open_log = partitions.Only("stele-log-7");
  if (!log || !open_log) {
    std::printf("attack: FAILS there are no log partitions\r\n");
    return 1;
  }
  UniqueFd old = Open(log->node, O_RDWR);
  if (old.valid()) {
    std::printf("attack: first start\r\n");
    Try("map shared before the seal",
        [&] { return Errno(::mmap(nullptr, kBlock, PROT_READ | PROT_WRITE, MAP_SHARED, old.get(), 0) != MAP_FAILED); });
    Try("seal through a reading descriptor", [&] {
      int yes = 1;
      return Errno(::ioctl(Open(open_log->node, O_RDONLY).get(), BLKROSET, &yes) == 0);
    });
    Control("seal a log partition", Seal(*log, old.get()));
  } else {
    std::printf("attack: sealed again by the start\r\n");
  }
  const auto before = OnDisk(log->node);
  Control("the sealed bytes are those that were written", before == Pattern('G').bytes ? 0 : EIO);
  Control("write to a log partition that is not sealed", [&] {
    const UniqueFd fd = Open(open_log->node, O_RDWR);
    return fd.valid() ? WriteBlock(fd.get(), 0) : errno;
  }());
  AttackTheLog(*log, old.get());
  AttackTheGuard();
  Try("open for writing, after everything", [&] { return Errno(Open(log->node, O_RDWR).valid()); });
  std::printf("attack: done %d attempts, %d succeeded, bytes %s\r\n", attempts, succeeded,
              OnDisk(log->node) == before ? "unchanged" : "CHANGED");
  return 0;
}
