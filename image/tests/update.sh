# Goal: an update gets in only whole, signed and newer; it stays only if it serves; a power cut or a bad one costs a restart and nothing else; and once
# it stays, the image before it does not open the state partition any more. Method: one machine of version 1, images of version 2, of a version 3 that
# never serves and of a version 4 that does not find its root file system, three updates that are refused, and thirteen starts; what is on the disk is looked at from outside. (Restarts end the emulator; the next start begins it again.)
. "$root/scripts/lib/image.sh"
bad=0
images="$root/build/image/tests/update-images"
keys=$(cat "$image/keys")
expect() { if "${@:2}"; then say "  $1"; else warn "NOT: $1"; bad=1; fi; }
on_console() { grep -aqE "$1" "$machine_console"; }
finds_record() { [ "$(api "/api/v1/search?q=$1&limit=10&proofs=0" 2>/dev/null | jq '.rows | length')" -ge 1 ]; }
wait_record() { local end=$((SECONDS + 90)); until finds_record "$1"; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 1; done; }
holds_file() {  # holds_file PARTITION FILE: at its beginning
  cmp -s -n "$(stat -c %s "$2")" "$2" <(dd if="$machine_dir/disk.img" bs=1M iflag=skip_bytes skip="$(offset_of "$1")" status=none)
}
esp() { echo "$machine_dir/disk.img@@$(offset_of stele-esp)"; }
esp_has() { cmp -s "$2" <(mtype -i "$(esp)" "::$1"); }  # esp_has PATH FILE

attach() { # attach UPDATE: on a second disk, from the next start on
  "$root/image/disk/make-update-disk" "$1" -o "$images/disk.img"
  machine_more=(-drive "if=none,id=update,format=raw,readonly=on,file=$images/disk.img" -device virtio-blk-pci,drive=update)
}
detach() { machine_more=(); }
next_start() { starts=$((starts + 1)); begin=$SECONDS; start_machine "console.$starts.log"; }
timed() { say "    start $starts: $((SECONDS - begin)) s"; }
starts=0 begin=0
# refused NAME UPDATE WORDS: a start that says so before the state partition is opened, goes on, and has written nothing.
refused() {
  attach "$2"
  next_start
  wait_console 'write-once guard armed' "$boot_seconds" || { tr -d '\r' <"$machine_console" | tail -n 5 >&2; warn "NOT: $1: the start goes on"; bad=1; }
  expect "$1 is refused, and the start goes on" on_console "update-disk refused: $3"
  power_cut
  timed
}
# offer VERSION MODEL KEY: an update like the good one, but for these
offer() {
  "$root/firmware/update/make-update" --model "$2" --version "$1" --root "$good/root.erofs" --tree "$good/root.tree" --uki "$good/stele.efi" --key "$3" \
    -o "$images/offer.update"
}

version=$(cat "$image/version") model=$(sed -n 's/^IMAGE_ID=//p' "$image/root/etc/os-release")
say "  images of version $((version + 1)) and $((version + 2))"
next_version "$image" "$images/$((version + 1))"
broken="$images/broken/etc/systemd/system"
mkdir -p "$broken/stele.service.d" "$broken/stele-confirm.service.d"
printf '[Service]\nExecStart=\nExecStart=/usr/lib/stele/stele-missing\n' >"$broken/stele.service.d/broken.conf"
printf '[Service]\nExecStart=\nExecStart=/usr/lib/stele/stele-confirm --patience 20\n' >"$broken/stele-confirm.service.d/patience.conf"
next_version "$image" "$images/$((version + 2))" --overlay "$images/broken"
good="$images/$((version + 1))" never="$images/$((version + 2))" stops="$images/$((version + 3))"
rm -rf "$stops"
mkdir -p "$stops/root/etc"
cp "$good"/root.{erofs,tree} "$never/stele.efi" "$stops/"
cp "$good/root/etc/os-release" "$stops/root/etc/"
echo $((version + 3)) >"$stops/version"
make_update "$keys" "$stops"
good_update="$good/stele-$((version + 1)).update" never_update="$never/stele-$((version + 2)).update" stops_update="$stops/stele-$((version + 3)).update"

new_appliance "$root/build/image/tests/update" "$image"
forward_free_ports
trap power_cut EXIT

head -c 20000000 "$good_update" >"$images/cut.update"
attach "$images/cut.update"
next_start
wait_console 'stele: serving' "$boot_seconds" || exit 1
expect 'an update that is cut in the middle is refused, and the start goes on' on_console 'stele: update-disk refused: it is cut off in its root file system'
expect "it runs version $version in slot a" [ "$(console_value version)" = "$version in slot a" ]
known="known-record-$RANDOM-$RANDOM"
logger -n 127.0.0.1 -P "$syslog_port" -T --octet-count "$known"
expect 'a record is kept' wait_record "$known"
timed
power_off_machine 300 || warn 'it did not switch off in time'
openssl genpkey -algorithm ed25519 -out "$images/foreign.key"
offer $((version + 1)) "$model" "$images/foreign.key"
refused 'an update that somebody else signed' "$images/offer.update" 'it is not signed with the update key of this image'
offer $((version + 1)) another "$keys/update.key"
refused 'an update for another model' "$images/offer.update" "version $((version + 1)) is for the model another, this is $model"
expect 'nothing was written to slot b' eval '! holds_file stele-verity-b "$good/root.tree"'

attach "$good_update"
next_start
end=$((SECONDS + 60))
until [ -S "$machine_dir/monitor.sock" ] || [ "$SECONDS" -ge "$end" ]; do sleep 0.1; done
monitor 'block_set_io_throttle disk 0 0 4000000 0 0 0' >/dev/null  # writing takes long enough to be cut
wait_console "writing version $((version + 1)) to slot b" "$boot_seconds" || { tail -n 5 "$machine_console" >&2; exit 1; }
sleep 2  # of the eight seconds or so that the root file system takes
power_cut
timed
expect 'the power went while it was written' eval '! on_console "restarting for its trial" && ! holds_file stele-root-b "$good/root.erofs"'

next_start
machine_ends "$boot_seconds" || exit 1
timed
expect 'the next start writes it from the beginning and restarts' on_console "version $((version + 1)) is in slot b; restarting for its trial"
expect 'slot b holds it' eval 'holds_file stele-root-b "$good/root.erofs" && holds_file stele-verity-b "$good/root.tree" && esp_has /EFI/stele/b.efi "$good/stele.efi"'
expect 'what ran before is untouched' eval 'holds_file stele-root-a "$image/root.erofs" && esp_has /EFI/BOOT/BOOTX64.EFI "$image/stele.efi"'

next_start
wait_console "stele: update version $((version + 1)) confirmed" "$boot_seconds" || { tr -d '\r' <"$machine_console" | tail -n 20 >&2; exit 1; }
timed
expect 'the trial was one, and served before it was confirmed' on_console "this start is the trial of version $((version + 1))"
expect 'it runs from slot b' [ "$(console_value version)" = "$((version + 1)) in slot b" ]
expect 'PCR 4, 7, 9, 11 and 12 are the expected ones, whatever the slot' registers_are_expected "$good/expected-pcrs.json"
expect 'the record of the version before is there' wait_record "$known"
power_off_machine 300 || warn 'it did not switch off in time'

refused 'an older update' "$image/stele-$version.update" "version $version is older than what runs, version $((version + 1))"
expect 'and slot a holds what it held' holds_file stele-root-a "$image/root.erofs"

attach "$never_update"
next_start
machine_ends "$boot_seconds" || exit 1
timed
expect 'the confirmed version is started by itself' on_console "stele-init: update version $((version + 1)) confirmed"
expect 'and is what firmware without its variables starts' esp_has /EFI/BOOT/BOOTX64.EFI "$good/stele.efi"
expect 'the next update goes into slot a' on_console "version $((version + 2)) is in slot a; restarting for its trial"

next_start
machine_ends "$boot_seconds" || { warn 'NOT: an image that never serves ends its trial'; exit 1; }
timed
expect 'an image that never serves ends its trial' on_console "version $((version + 2)) does not serve after 20 s; restarting with what ran before"

attach "$stops_update"
next_start
machine_ends "$boot_seconds" || exit 1
timed
expect 'what ran before comes back' on_console "stele-init: version $((version + 1)) in slot b"
expect 'says what became of the update, and takes the next one' on_console "version $((version + 2)) did not come to serve and was left"

next_start
machine_ends "$boot_seconds" || { warn 'NOT: an image that stops ends its trial'; exit 1; }
timed
expect 'an image that stops ends its trial' on_console 'the trial failed: .*no slot holds the root file system of this image'

next_start
wait_console 'stele: serving' "$boot_seconds" || exit 1
timed
expect 'what ran before serves again' [ "$(console_value version)" = "$((version + 1)) in slot b" ]
expect 'with its records' wait_record "$known"
expect 'it says what became of the update' [ "$(console_value update)" = "version $((version + 3)) did not come to serve and was left; it is not tried again before a start without it" ]
expect 'and does not try it again' [ "$(console_value update-disk)" = "refused: version $((version + 3)) was tried already" ]
power_off_machine 300 || warn 'it did not switch off in time'

# The old image, put back by somebody who has the disk, on firmware that has lost its variables.
detach
cp "$image/vars.fd" "$machine_dir/vars.fd"
mcopy -o -i "$(esp)" "$image/stele.efi" ::/EFI/BOOT/BOOTX64.EFI
dd if="$image/root.erofs" of="$machine_dir/disk.img" bs=1M oflag=seek_bytes seek="$(offset_of stele-root-a)" conv=notrunc status=none
dd if="$image/root.tree" of="$machine_dir/disk.img" bs=1M oflag=seek_bytes seek="$(offset_of stele-verity-a)" conv=notrunc status=none
next_start
wait_console 'state partition: ' "$boot_seconds" || exit 1
timed
expect 'the old image runs' on_console "stele-init: version $version in slot a"
expect 'and does not open the state partition any more' on_console "state partition: CLOSED: this image \(version $version\) is older than one that has run here"
exit "$bad"
