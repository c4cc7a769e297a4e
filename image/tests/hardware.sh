# Goal: the image for hardware runs on a board that has nothing of a virtual machine's devices, its site says which network card is which, and a USB disk
# is found. Method: the generic image on a machine with SATA, two Intel cards, a TPM by registers and USB. Its disk is written as a device that was used
# before, its firmware is in set-up mode. A start from a USB disk enrols the keys; the next one takes records, anchors and has the expected PCR values. Then an
# update for the other kind of image comes by USB, and a good one whose trial hangs: its processors are stopped from outside, and the chipset's watchdog must bring
# back what ran before.
. "$root/scripts/lib/image.sh"
hardware_image="$root/build/image/generic"
[ -f "$hardware_image/disk.img" ] || die "build the variant first: scripts/image --kernel generic"
bad=0
expect() { if "${@:2}"; then say "  $1"; else warn "NOT: $1"; bad=1; fi; }
on_console() { grep -aqE "$1" "$machine_console"; }
finds_record() { [ "$(api "/api/v1/search?q=$1&limit=10&proofs=0" 2>/dev/null | jq '.rows | length')" -ge 1 ]; }
wait_record() { local end=$((SECONDS + 90)); until finds_record "$1"; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 1; done; }

dir="$root/build/image/tests/hardware"
rm -rf "$dir" "$dir.site"
mkdir -p "$dir.site/network"
printf '[Match]\nMACAddress=52:54:00:00:00:10\n[Link]\nName=ingest0\n' >"$dir.site/network/10-ingest.link"
printf '[Match]\nMACAddress=52:54:00:00:00:11\n[Link]\nName=operator0\n' >"$dir.site/network/11-operator.link"
machine_board=hardware
disk_by_device=1 site_more="$dir.site" new_appliance "$dir" "$hardware_image"
forward_free_ports
trap power_cut EXIT

cp /usr/share/OVMF/OVMF_VARS_4M.fd "$dir/vars.fd"
"$root/image/disk/make-enrol-disk" "$(cat "$hardware_image/keys")" -o "$dir/enrol.img"
machine_more=(-drive "if=none,id=enrol,format=raw,readonly=on,file=$dir/enrol.img" -device usb-storage,bus=usb.0,drive=enrol,bootindex=0)
start_machine console.enrol.log
machine_ends "$boot_seconds" || { warn 'NOT: the keys are enrolled and the machine restarts'; bad=1; }
machine_more=()
start_appliance console.1.log || exit 1
expect 'its root file system is on the SATA disk' on_console 'stele-init: root /dev/sda[0-9]+ behind verity'
expect 'the state partition is encrypted and sealed to the TPM' [ "$(console_value state)" = 'encrypted, sealed to this TPM; made at this start' ]
expect 'the network cards have the addresses that the site gives them' eval '[ "$(console_value "address ingest0")" = 10.0.2.15 ] && [ "$(console_value "address operator0")" = 10.0.3.15 ]'
known="known-record-$RANDOM-$RANDOM"
logger -n 127.0.0.1 -P "$syslog_port" -T --octet-count "$known"
expect 'a record is kept' wait_record "$known"
expect 'it is anchored' wait_api '.anchor.state == "anchored"' 200
expect 'PCR 4, 7, 9, 11 and 12 are the expected ones' registers_are_expected "$hardware_image/expected-pcrs.json"
power_off_machine 300 || { warn 'it did not switch off in time'; bad=1; }

attach() {  # attach UPDATE: on a USB disk, from the next start on
  "$root/image/disk/make-update-disk" "$1" -o "$dir/update.img"
  machine_more=(-drive "if=none,id=update,format=raw,readonly=on,file=$dir/update.img" -device usb-storage,bus=usb.0,drive=update)
}
attach "$image/stele-$(cat "$image/version").update"
start_appliance console.2.log || exit 1
expect 'an update that comes by USB is read, and refused: it is for virtual machines' on_console 'update-disk refused: version [0-9]+ is for the model stele-cloud-amd64, this is stele-generic-amd64'
expect 'the record is there' wait_record "$known"
expect 'the watchdog of the chipset is on' [ "$(console_value watchdog)" = 'iTCO_wdt, active, restarts a machine that hangs for 120 s' ]
power_off_machine 300 || { warn 'it did not switch off in time'; bad=1; }

version=$(cat "$hardware_image/version")
next="$dir/$((version + 1))"
mkdir -p "$dir/soon/etc/systemd/system.conf.d"
printf '[Manager]\nRuntimeWatchdogSec=20\n' >"$dir/soon/etc/systemd/system.conf.d/watchdog.conf"
next_version "$hardware_image" "$next" --overlay "$dir/soon"
attach "$next/stele-$((version + 1)).update"
start_machine console.3.log
machine_ends "$boot_seconds" || exit 1
expect 'an update that comes by USB is written to the other slot' on_console "version $((version + 1)) is in slot b; restarting for its trial"
machine_has_door=1
start_machine console.4.log
wait_console 'stele: watchdog iTCO_wdt, active, .* 20 s' "$boot_seconds" || { tr -d '\r' <"$machine_console" | tail -n 20 >&2; exit 1; }
expect 'its trial is watched from before its root file system on' on_console 'stele-init: the watchdog is on, for 600 s'
expect 'it is made to hang' hang_machine
expect 'the watchdog restarts it' machine_ends 180
machine_has_door=0 machine_more=()
start_appliance console.5.log || exit 1
expect 'what ran before comes back' [ "$(console_value version)" = "$version in slot a" ]
expect 'and says what became of the update' [ "$(console_value update)" = "version $((version + 1)) did not come to serve and was left; it may be offered again" ]
expect 'the record is there still' wait_record "$known"
power_off_machine 300 || { warn 'it did not switch off in time'; bad=1; }
exit "$bad"
