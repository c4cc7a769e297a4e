# Goal: what is not exactly what was signed does not run. Method: six disks with one thing changed each. The first three must never reach the kernel
# (the firmware says Access Denied), the last three must end in verity's panic, or, where the first block cannot be checked, in a stop because no slot
# holds the root file system, and never show a service.
work="$root/build/image/tests/negative"
rm -rf "$work"
mkdir -p "$work"
trap power_cut EXIT
esp_at=$(offset_of stele-esp "$image/disk.img") root_at=$(offset_of stele-root-a "$image/disk.img") tree_at=$(offset_of stele-verity-a "$image/disk.img")
bad=0

flip() {  # flip FILE OFFSET: one bit
  python3 - "$1" "$2" <<'PYTHON'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]))
    byte = file.read(1)[0]
    file.seek(int(sys.argv[2]))
    file.write(bytes([byte ^ 1]))
PYTHON
}
with_image() { mcopy -o -i "$work/disk.img@@$esp_at" "$1" ::/EFI/BOOT/BOOTX64.EFI; }

unsigned() { with_image "$image/stele.unsigned.efi"; }
foreign_key() {
  "$root/firmware/secureboot/make-keys" "$work/foreign"
  sbsign --key "$work/foreign/db.key" --cert "$work/foreign/db.pem" --output "$work/foreign.efi" "$image/stele.unsigned.efi" 2>/dev/null
  with_image "$work/foreign.efi"
}
command_line() {
  sed 's/lockdown=confidentiality/lockdown=confidentialitY/' "$image/stele.efi" >"$work/cmdline.efi"
  [ "$(cmp -l "$image/stele.efi" "$work/cmdline.efi" | wc -l)" = 1 ] || die "the command line is not where it should be"
  with_image "$work/cmdline.efi"
}
superblock() { flip "$work/disk.img" $((root_at + 1024 + 20)); }
data() {  # the first block of systemd itself; "  0:  0..  11271 |  11271 :  11202560..  11206656 |  4096"
  local at
  at=$(dump.erofs -e --path=/usr/lib/systemd/systemd "$image/root.erofs" | sed -n 's/^ *0:.*: *\([0-9]*\)\.\..*/\1/p')
  [ -n "$at" ] || { warn 'systemd is not where dump.erofs looks'; exit 1; }
  flip "$work/disk.img" $((root_at + at + 100))
}
hash_tree() { flip "$work/disk.img" $((tree_at + 8)); }

# refused NAME CHANGE REASON...: REASON is what the console must say.
refused() {
  local name=$1 change=$2 reason=$3 begin=$SECONDS word=ok
  rm -rf "$work/disk.img"
  cp --sparse=always "$image/disk.img" "$work/disk.img"
  "$change"
  make_machine "$work/machine" "$work/disk.img" "$image/vars.fd"
  start_machine
  wait_console "$reason|stele: serving|stele: starting" "$boot_seconds" || word='no word of a refusal'
  # the panic's restart ends the machine; a firmware that refused goes on and must not find another way
  [ "$word" != ok ] || sleep 3
  if grep -aqE 'stele: (serving|starting)' "$machine_console"; then word='IT RAN'; fi
  if [ "$change" != superblock ] && [ "$change" != data ] && [ "$change" != hash_tree ] && grep -aq 'Linux version\|Run /init' "$machine_console"; then word='THE KERNEL RAN'; fi
  grep -aqE "$reason" "$machine_console" || word="${word/ok/no word of a refusal}"
  power_cut
  cp "$machine_console" "$work/$change.log"
  if [ "$word" = ok ]; then say "  $name: refused in $((SECONDS - begin)) s ($(grep -aoE "$reason" "$work/$change.log" | head -n 1))"; else warn "$name: $word"; bad=1; fi
}
refused 'unsigned image' unsigned 'Access Denied|Security Violation'
refused 'image signed with a foreign key' foreign_key 'Access Denied|Security Violation'
refused 'one byte of the command line changed' command_line 'Access Denied|Security Violation'
refused 'one bit of the root superblock changed' superblock 'STOPPED: .*no slot holds the root file system'
refused 'one bit of root data changed' data 'dm-verity device (has )?corrupted'
refused 'one bit of the hash tree changed' hash_tree 'STOPPED: .*no slot holds the root file system'
exit "$bad"
