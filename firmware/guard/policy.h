// What the write-once guard and its loader agree on; plain C, because one of them is BPF.
//
// Every block device is closed for writing unless its number is in the map `devices` as kLogOpen. The first BLKROSET of
// a log partition makes it kLogSealed; nothing makes it open again before the next boot.
#pragma once

enum guard_device_state {
  kLogOpen = 1,    // a log partition that is not full: may be opened for writing, may be sealed
  kLogSealed = 2,  // write-once: has been written
};

#define GUARD_ANY_MINOR 0xfffffu  // in a key of `open_characters`: every minor of this major
#define GUARD_DEVICES_MAX 256
#define GUARD_CHARACTERS_MAX 256
#define GUARD_MAPS 3

struct guard_settings {
  unsigned armed;             // 0 while the initial RAM disk still sets things up
  unsigned mount_namespace;   // inode number of PID 1's: nothing is moved in it
  unsigned long long variable;  // inode number of the one firmware variable that may be written; 0: none
  unsigned maps[GUARD_MAPS];  // numbers of the guard's own maps: nobody gets a descriptor of them
};
