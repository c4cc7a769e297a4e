// The write-once guard: security hooks (BPF LSM) that hold against full root in user space until the machine restarts.
//
// What stays possible after it is armed: read any block device, append to log partitions that are not sealed, seal them. Everything
// else is refused by default: a device number the guard does not know, a character device it does not know (SCSI generic, bsg, NVMe
// passthrough, device-mapper, loop control), an ioctl it does not know, io_uring commands to drivers, mounts of block devices, writes
// to sysfs (unbinding a driver would number the devices anew), to the firmware's variables (but the boot order, in the trial of an update).
//
// Kernel pointers are followed by typed loads only, never by bpf_probe_read: lockdown=confidentiality refuses that helper.
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "policy.h"

char kLicense[] SEC("license") = "GPL";  // demanded by the kernel of every LSM program

enum {
  kEperm = 1,
  kFileWrite = 0x2,       // FMODE_WRITE
  kMayWrite = 0x2,        // MAY_WRITE
  kTypeMask = 0170000,    // S_IFMT
  kCharacter = 0020000,   // S_IFCHR
  kBlock = 0060000,       // S_IFBLK
  kMapShared = 0x1,       // MAP_SHARED, also part of MAP_SHARED_VALIDATE
  kMountMove = 0x2000,    // MS_MOVE
};
#define SYSFS_MAGIC 0x62656572u
#define BPF_FS_MAGIC 0xcafe4a11u
#define EFIVARFS_MAGIC 0xde5e81e4u
#define BLKROSET 0x125du

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, GUARD_DEVICES_MAX);
  __type(key, __u32);  // dev_t as the kernel has it: major << 20 | minor
  __type(value, __u32);
} devices SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, GUARD_CHARACTERS_MAX);
  __type(key, __u32);
  __type(value, __u32);
} open_characters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct guard_settings);
} settings SEC(".maps");

static __always_inline const struct guard_settings *armed(void) {
  __u32 zero = 0;
  const struct guard_settings *found = bpf_map_lookup_elem(&settings, &zero);
  return found && found->armed ? found : 0;
}

static __always_inline int is_block(const struct inode *inode) { return (inode->i_mode & kTypeMask) == kBlock; }

static __always_inline int may_be_written(__u32 device) {
  const __u32 *state = bpf_map_lookup_elem(&devices, &device);
  return state && *state == kLogOpen;
}

static __always_inline int character_is_open(__u32 device) {
  if (bpf_map_lookup_elem(&open_characters, &device)) return 1;
  __u32 whole_major = device | GUARD_ANY_MINOR;
  return bpf_map_lookup_elem(&open_characters, &whole_major) != 0;
}

// udev asks for events by writing to files of this name; no other file of sysfs needs a writer after the start.
static __always_inline int is_uevent(const struct dentry *entry) {
  const unsigned char *name = entry->d_iname;
  return entry->d_name.len == 6 && name[0] == 'u' && name[1] == 'e' && name[2] == 'v' && name[3] == 'e' && name[4] == 'n' &&
         name[5] == 't';
}

SEC("lsm/file_open")
int BPF_PROG(guard_file_open, struct file *file) {
  const struct guard_settings *now = armed();
  if (!now) return 0;
  const struct inode *inode = file->f_inode;
  const __u32 type = inode->i_mode & kTypeMask;
  if (type == kCharacter) return character_is_open(inode->i_rdev) ? 0 : -kEperm;
  if (!(file->f_mode & kFileWrite)) return 0;
  if (type == kBlock) return may_be_written(inode->i_rdev) ? 0 : -kEperm;
  if (inode->i_sb->s_magic == SYSFS_MAGIC) return is_uevent(file->f_path.dentry) ? 0 : -kEperm;
  if (inode->i_sb->s_magic == EFIVARFS_MAGIC) return now->variable && inode->i_ino == now->variable ? 0 : -kEperm;
  return 0;
}

// Every write, whatever the way: write, pwritev, io_uring, splice, fallocate. Old descriptors end here.
SEC("lsm/file_permission")
int BPF_PROG(guard_file_permission, struct file *file, int mask) {
  if (!(mask & kMayWrite) || !is_block(file->f_inode) || !armed()) return 0;
  return may_be_written(file->f_inode->i_rdev) ? 0 : -kEperm;
}

// A page dirtied through a mapping never passes file_permission, and a mapping may be made writable later.
SEC("lsm/mmap_file")
int BPF_PROG(guard_mmap_file, struct file *file, unsigned long wanted, unsigned long given, unsigned long flags) {
  if (!file || !(flags & kMapShared) || !(file->f_mode & kFileWrite)) return 0;
  return is_block(file->f_inode) && armed() ? -kEperm : 0;
}

static __always_inline int only_asks(unsigned int command) {
  switch (command) {
    case 0x125e:      // BLKROGET
    case 0x1260:      // BLKGETSIZE
    case 0x1261:      // BLKFLSBUF: writes back and forgets what is cached
    case 0x1263:      // BLKRAGET
    case 0x1267:      // BLKSECTGET
    case 0x1268:      // BLKSSZGET
    case 0x1278:      // BLKIOMIN
    case 0x1279:      // BLKIOOPT
    case 0x127a:      // BLKALIGNOFF
    case 0x127b:      // BLKPBSZGET
    case 0x127c:      // BLKDISCARDZEROES
    case 0x127e:      // BLKROTATIONAL
    case 0x80081280:  // BLKGETDISKSEQ
    case 0x80081270:  // BLKBSZGET
    case 0x80081272:  // BLKGETSIZE64
    case 0x301:       // HDIO_GETGEO
      return 1;
    default:
      return 0;
  }
}

// The seal: it must come from somebody who may write, and say 1. From here on the guard itself refuses every write; the kernel's own
// read-only flag, which the command then sets, is a second lock and no longer the only one.
SEC("lsm.s/file_ioctl")
int BPF_PROG(guard_file_ioctl, struct file *file, unsigned int command, unsigned long argument) {
  if (!is_block(file->f_inode) || !armed() || only_asks(command)) return 0;
  __u32 device = file->f_inode->i_rdev;
  if (command != BLKROSET || !(file->f_mode & kFileWrite) || !may_be_written(device)) return -kEperm;
  int read_only = 0;
  if (bpf_copy_from_user(&read_only, sizeof(read_only), (const void *)argument) || read_only != 1) return -kEperm;
  __u32 sealed = kLogSealed;
  return bpf_map_update_elem(&devices, &device, &sealed, BPF_ANY) ? -kEperm : 0;
}

SEC("lsm/file_ioctl_compat")
int BPF_PROG(guard_file_ioctl_compat, struct file *file, unsigned int command) {
  return is_block(file->f_inode) && armed() && !only_asks(command) ? -kEperm : 0;
}

SEC("lsm/uring_cmd")
int BPF_PROG(guard_uring_cmd, struct io_uring_cmd *command) {
  return armed() ? -kEperm : 0;
}

// A file system that the kernel writes for somebody is a way to a device as well. Everything this system mounts is mounted by now.
SEC("lsm/sb_kern_mount")
int BPF_PROG(guard_sb_kern_mount, struct super_block *mounted) {
  return mounted->s_bdev && armed() ? -kEperm : 0;
}

// What follows keeps the guard itself in place: its links are pinned in a bpffs below the hidden first root.

SEC("lsm/bpf")
int BPF_PROG(guard_bpf, int command, union bpf_attr *attributes, unsigned int size) {
  if (!armed()) return 0;
  return (bpf_get_current_pid_tgid() >> 32) == 1 ? 0 : -kEperm;  // PID 1 confines its services with it
}

SEC("lsm/bpf_map")
int BPF_PROG(guard_bpf_map, struct bpf_map *map, unsigned int mode) {
  const struct guard_settings *now = armed();
  if (!now) return 0;
  return map->id == now->maps[0] || map->id == now->maps[1] || map->id == now->maps[2] ? -kEperm : 0;
}

SEC("lsm/inode_unlink")
int BPF_PROG(guard_inode_unlink, struct inode *folder, struct dentry *entry) {
  const unsigned long type = folder->i_sb->s_magic;
  return (type == BPF_FS_MAGIC || type == EFIVARFS_MAGIC) && armed() ? -kEperm : 0;
}

SEC("lsm/inode_rename")
int BPF_PROG(guard_inode_rename, struct inode *from, struct dentry *entry, struct inode *to, struct dentry *target) {
  return from->i_sb->s_magic == BPF_FS_MAGIC && armed() ? -kEperm : 0;
}

SEC("lsm/sb_umount")
int BPF_PROG(guard_sb_umount, struct vfsmount *mounted, int flags) {
  return mounted->mnt_sb->s_magic == BPF_FS_MAGIC && armed() ? -kEperm : 0;
}

// Moved below another mount, the bpffs would go away together with that one.
SEC("lsm/move_mount")
int BPF_PROG(guard_move_mount, const struct path *from, const struct path *to) {
  return from->mnt->mnt_sb->s_magic == BPF_FS_MAGIC && armed() ? -kEperm : 0;
}

SEC("lsm/sb_mount")
int BPF_PROG(guard_sb_mount, const char *device, const struct path *path, const char *type, unsigned long flags) {
  const struct guard_settings *now = armed();
  if (!now || !(flags & kMountMove)) return 0;
  const struct task_struct *task = bpf_get_current_task_btf();
  return task->nsproxy->mnt_ns->ns.inum == now->mount_namespace ? -kEperm : 0;
}
