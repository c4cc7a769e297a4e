// The kernel's structures as far as the guard looks at them. The names matter, offsets do not: they are filled in from
// the running kernel's own type information when the program is loaded (CO-RE). A member that is gone makes the load
// fail, never a wrong read.
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef unsigned int u32;

enum bpf_map_type { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2 };
enum { BPF_ANY = 0 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct super_block {
  unsigned long s_magic;
  struct block_device* s_bdev;
};
struct inode {
  unsigned short i_mode;
  u32 i_rdev;
  unsigned long i_ino;
  struct super_block* i_sb;
};
struct qstr {
  union {
    struct {
      u32 hash;
      u32 len;
    };
  };
};
struct dentry {
  struct qstr d_name;
  unsigned char d_iname[32];
};
struct vfsmount {
  struct super_block* mnt_sb;
};
struct path {
  struct vfsmount* mnt;
  struct dentry* dentry;
};
struct file {
  struct path f_path;
  struct inode* f_inode;
  unsigned int f_mode;
};
struct bpf_map {
  u32 id;
};
struct ns_common {
  unsigned int inum;
};
struct mnt_namespace {
  struct ns_common ns;
};
struct nsproxy {
  struct mnt_namespace* mnt_ns;
};
struct task_struct {
  struct nsproxy* nsproxy;
};
struct io_uring_cmd;
union bpf_attr;
#pragma clang attribute pop
