# Goal: the state partition opens for this image on this machine and for nobody else, and a start that cannot open it says why, runs, and changes
# nothing. Method: one machine started nine times: first start, second start, with another TPM, with its own cleared, without any, with a forged header, with an unsigned credential on the ESP, as it was,
# and with the other TPM and the recovery key; between the starts the disk is looked at from outside.
new_appliance "$root/build/image/tests/state" "$image"
forward_free_ports
trap power_cut EXIT
bad=0
expect() { if "${@:2}"; then say "  $1"; else warn "NOT: $1"; bad=1; fi; }
copy_of() { dd if="$machine_dir/disk.img" of="$2" bs=1M iflag=skip_bytes,count_bytes skip="$(offset_of "$1")" count="$(place_of "$1" | cut -d' ' -f2)" conv=sparse status=none; }
# written [PARTITION]: what was ever written there, or anywhere on the disk, in pieces with their places; the rest is a hole in the file.
written() {
  local place; place=$([ $# = 0 ] && echo 0 "$(stat -c %s "$machine_dir/disk.img")" || place_of "$1")
  python3 - "$machine_dir/disk.img" $place <<'PYTHON'
import errno, os, sys
at, end, step, before = int(sys.argv[2]), int(sys.argv[2]) + int(sys.argv[3]), 1 << 20, -1
disk = os.open(sys.argv[1], os.O_RDONLY)
while at < end:
    try:
        at = max(at, os.lseek(disk, at, os.SEEK_DATA) // step * step)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        break  # no data behind
    piece = os.pread(disk, min(step, end - at), at) if at < end else b""
    if piece.count(0) != len(piece):
        if at != before:
            sys.stdout.buffer.write(b"\n@%d\n" % at)
        sys.stdout.buffer.write(piece)
        before = at + step
    at += step
PYTHON
}
sum_of_state() { written stele-state | sha256sum; }
holds() { [ "$(written "${@:2}" | grep -acF "$1")" != 0 ]; }  # holds WORDS [PARTITION]; counted to the end: a writer that is cut off fails the pipe
is_zeros() { [ "$(written "$1" | wc -c)" = 0 ]; }
finds_record() { [ "$(api "/api/v1/search?q=$1&limit=10&proofs=0" 2>/dev/null | jq '.rows | length')" -ge 1 ]; }
wait_record() { local end=$((SECONDS + 90)); until finds_record "$1"; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 1; done; }

# degraded NAME LOG WORDS: a start that must say WORDS, come up all the same, and leave the state partition as it was.
degraded() {
  local name=$1 log=$2 words=$3 before
  before=$(sum_of_state)
  start_machine "$log"
  wait_console 'stele: (NOT SERVING|serving|starting)' "$boot_seconds" || { tr -d '\r' <"$machine_console" | tail -n 20 >&2; warn "$name: it does not come up"; bad=1; }
  expect "$name: it starts and says why it does not serve" grep -aq 'stele: NOT SERVING there is no place for the log' "$machine_console"
  expect "$name: $(tr -d '\r' <"$machine_console" | grep -ao 'stele: state CLOSED.*' | head -n 1)" grep -aqE "stele: state CLOSED: .*$words" "$machine_console"
  power_cut
  expect "$name: the state partition is untouched" [ "$(sum_of_state)" = "$before" ]
}

expect 'before the first start the state partition is empty' is_zeros stele-state
start_appliance console.1.log || exit 1
expect 'the first start made it' grep -aq 'stele: state encrypted, sealed to this TPM; made at this start' "$machine_console"
recovery_key=$(tr -d '\r' <"$machine_console" | sed -nE 's/.*RECOVERY KEY .*: ([0-9a-f-]{39})$/\1/p')
expect 'it showed the recovery key once' [ "${#recovery_key}" = 39 ]
expect 'and the seed is wiped' is_zeros stele-seed
known="known-record-$RANDOM-$RANDOM"
logger -n 127.0.0.1 -P "$syslog_port" -T --octet-count "$known"
expect 'a record is kept' wait_record "$known"
power_off_machine 300 || warn 'it did not switch off in time'
for key in ca auditor; do
  secret=$(sed -n 2p "$machine_dir/keys/$key.key")
  expect "the key $key.key is nowhere on the disk in clear" eval '[ ${#secret} = 64 ] && ! holds "$secret"'
done
expect 'nor is the configuration' eval '! holds allowed_sources stele-state'
expect 'the log is in none but the log partitions' eval '! holds "$known" stele-state'
expect 'what is in clear would be found: the header of the encryption' holds LUKS stele-state
copy_of stele-state "$machine_dir/state.raw"
expect 'the recovery key opens it elsewhere' cryptsetup luksOpen --test-passphrase --key-file <(printf %s "$recovery_key") "$machine_dir/state.raw"
expect 'another does not' eval '! cryptsetup luksOpen --test-passphrase --key-file <(printf %s "0${recovery_key:1}x") "$machine_dir/state.raw" 2>/dev/null'
rm "$machine_dir/state.raw"

start_appliance console.2.log || exit 1
expect 'the second start opens it without a question' [ "$(console_value state)" = 'encrypted, sealed to this TPM' ]
expect 'the record is there' wait_record "$known"
power_off_machine 300 || warn 'it did not switch off in time'

mv "$machine_dir/tpm" "$machine_dir/tpm.own"
make_tpm
degraded 'another TPM' console.3.log 'another TPM'
mv "$machine_dir/tpm" "$machine_dir/tpm.other"
mv "$machine_dir/tpm.own" "$machine_dir/tpm"

clear_tpm() {  # TPM2_ClearControl and TPM2_Clear with the platform hierarchy: what a firmware's menu does
  python3 - "$machine_dir/tpm" "$machine_dir/clear.sock" <<'PYTHON'
import os, socket, subprocess, sys, time
tpm = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + sys.argv[1], "--server", "type=unixio,path=" + sys.argv[2],
                        "--flags", "not-need-init,startup-clear", "--terminate"])
for _ in range(100):
    if os.path.exists(sys.argv[2]):
        break
    time.sleep(0.1)
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[2])
    for command in ("8002 0000001c 00000127 4000000c 00000009 40000009 0000 00 0000 00", "8002 0000001b 00000126 4000000c 00000009 40000009 0000 00 0000"):
        connection.sendall(bytes.fromhex(command))
        answer = connection.recv(4096)
tpm.wait(20)
assert answer[6:10] == bytes(4), answer.hex()
PYTHON
}
cp -r "$machine_dir/tpm" "$machine_dir/tpm.own"
expect 'the TPM is cleared' clear_tpm
degraded 'a TPM that was cleared' console.cleared.log 'this one was cleared'
rm -r "$machine_dir/tpm"
mv "$machine_dir/tpm.own" "$machine_dir/tpm"

machine_has_tpm=0
degraded 'no TPM' console.no-tpm.log 'there is no TPM'
expect 'no TPM: the console says so' grep -aq 'stele: tpm MISSING' "$machine_console"
machine_has_tpm=1

# The header as it is, but with key slots that are not encrypted: whoever has that could bring a key of his own (both copies, with their checksums).
forge_key_slots() {
  python3 - "$machine_dir/disk.img" "$(offset_of stele-state)" <<'PYTHON'
import hashlib, struct, sys
with open(sys.argv[1], "r+b") as disk:
    for copy in (0, 1):
        at = int(sys.argv[2])
        disk.seek(at + 8)
        size = struct.unpack(">Q", disk.read(8))[0]
        at += copy * size
        disk.seek(at)
        header = bytearray(disk.read(size))
        slots, rest = bytes(header).split(b'"segments"', 1)
        assert slots.count(b"aes-xts-plain64") == 2, "there are not two key slots"
        header[:] = slots.replace(b"aes-xts-plain64", b"cipher_null-ecb") + b'"segments"' + rest
        header[448:512] = bytes(64)
        header[448:480] = hashlib.sha256(header).digest()
        disk.seek(at)
        disk.write(header)
PYTHON
}
read -r state_at _ < <(place_of stele-state)
dd if="$machine_dir/disk.img" of="$machine_dir/header" bs=1M iflag=skip_bytes skip="$state_at" count=1 status=none
forge_key_slots
degraded 'key slots without encryption' console.forged.log 'something that is not ours'
dd if="$machine_dir/header" of="$machine_dir/disk.img" bs=1M oflag=seek_bytes seek="$state_at" conv=notrunc status=none

esp="$machine_dir/disk.img@@$(offset_of stele-esp)"
printf hello >"$machine_dir/hello.cred"
mmd -i "$esp" ::/EFI/BOOT/BOOTX64.EFI.extra.d
mcopy -i "$esp" "$machine_dir/hello.cred" ::/EFI/BOOT/BOOTX64.EFI.extra.d/hello.cred
degraded 'an unsigned credential on the ESP' console.4.log 'PCR 12'
mdeltree -i "$esp" ::/EFI/BOOT/BOOTX64.EFI.extra.d

start_appliance console.5.log || exit 1
expect 'with its own TPM and nothing added it serves again' wait_record "$known"
power_cut

mkdir "$machine_dir/seed"
printf '%s\n' "$recovery_key" >"$machine_dir/seed/recovery.key"
truncate -s 8M "$machine_dir/seed.img"
mke2fs -q -F -t ext4 -O ^has_journal -d "$machine_dir/seed" "$machine_dir/seed.img"
dd if="$machine_dir/seed.img" of="$machine_dir/disk.img" bs=1M oflag=seek_bytes seek="$(offset_of stele-seed)" conv=notrunc status=none
mv "$machine_dir/tpm" "$machine_dir/tpm.own"
mv "$machine_dir/tpm.other" "$machine_dir/tpm"
start_machine console.6.log
wait_console 'stele: state encrypted, sealed to this TPM anew with the recovery key' "$boot_seconds" || { warn 'NOT: the recovery key opens it for another TPM'; bad=1; }
power_cut
expect 'the recovery key opened it for another TPM and is wiped from the disk' is_zeros stele-seed
exit "$bad"
