# Goal: a sealed log partition stays what it is. Method: the attack variant of the image, full root inside it (image/tests/stele_attack.cc), on NVMe
# and a SCSI disk; then a restart, after which the initial RAM disk must have sealed it again before anything could write; then the disk is looked at
# from outside.
attack_image="$root/build/image/attack"
[ -f "$attack_image/disk.img" ] || die "build the variant first: scripts/image --attack"
work="$root/build/image/tests/attack"
make_machine "$work" "$attack_image/disk.img" "$attack_image/vars.fd"
truncate -s 64M "$work/scsi.img"
machine_more=(-drive if=none,id=scsi,format=raw,file="$work/scsi.img" -device virtio-scsi-pci,id=bus -device scsi-hd,bus=bus.0,drive=scsi)
trap power_cut EXIT
bad=0
for start in 1 2; do
  start_machine "console.$start.log"
  wait_console 'attack: done' "$boot_seconds" || { tr -d '\r' <"$machine_console" | tail -n 30 >&2; warn "the attacker did not come to its end"; exit 1; }
  power_cut
  tr -d '\r' <"$machine_console" | grep -a '^attack: ' >"$work/attacks.$start"
  sed 's/^/  /' "$work/attacks.$start"
  grep -q '^attack: done .* 0 succeeded, bytes unchanged$' "$work/attacks.$start" || { warn "start $start: an attack succeeded"; bad=1; }
  if grep -q 'control FAILS\|attack: FAILS' "$work/attacks.$start"; then warn "start $start: a control failed"; bad=1; fi
done
grep -q 'sealed again by the start' "$work/attacks.2" || { warn "the seal was not applied again"; bad=1; }
log_at=$(offset_of stele-log-6)
[ "$(dd if="$work/disk.img" bs=4096 skip="$log_at" iflag=skip_bytes count=1 status=none | tr -d G | wc -c)" = 0 ] || { warn "the sealed bytes are not on the disk"; bad=1; }
exit "$bad"
