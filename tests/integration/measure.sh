#!/usr/bin/env bash
# Goal: what stele-measure computes is what stock tools compute from the same real parts: Debian's stub and boot loader, a
# kernel where there is one, images signed by sbsign, an event log. What it refuses, sbverify or the firmware's rules refuse.
# Method: no Stele runs. Each comparison with a tool that is not installed is left out, and says so.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
checkout=$root
measure="$stele_bin/stele-measure"
[ -x "$measure" ] || skip "$measure is not built"
work=$(mktemp -d "${TMPDIR:-/tmp}/stele-test.XXXXXX")
trap end_of_test EXIT
cd "$work"

have() { command -v "$1" >/dev/null || { say "SKIPPED here: $1 is not installed (package $2)"; return 1; }; }
refused() { local status=0; "${@:3}" >out 2>err || status=$?; same "$1" "$2" "$status"; }

say '-- event logs'
log="$checkout/tests/golden/boot.tcg"
registers_of() { "$measure" eventlog --json "$1" | jq -r '.pcrs.sha256 | to_entries[] | "\(.key) \(.value)"' | sort -n; }
# tpm2_eventlog 5.4 knows no StartupLocality, which sets the beginning of PCR 0.
if have tpm2_eventlog tpm2-tools; then
  stock_registers_of() { tpm2_eventlog "$1" 2>/dev/null | sed '1,/^pcrs:/d' | sed '1,/sha256:/d' | sed -nE 's/^ *([0-9]+) *: 0x/\1 /p' | sort -n; }
  same 'tpm2_eventlog replays the golden log to the same registers' "$(stock_registers_of "$log" | sed '/^0 /d')" "$(registers_of "$log" | sed '/^0 /d')"
  machine=/sys/kernel/security/tpm0/binary_bios_measurements
  if [ -r "$machine" ]; then
    cp "$machine" machine.tcg
    same "tpm2_eventlog replays this machine's log to the same registers" "$(stock_registers_of machine.tcg | sed '/^0 /d')" \
      "$(registers_of machine.tcg | sed '/^0 /d')"
  else
    say 'SKIPPED here: this machine shows no boot event log'
  fi
fi
head -c 200 "$log" >cut.tcg
refused 'a log that is cut is refused' 2 "$measure" eventlog cut.tcg
refused 'a file that is none is refused' 2 "$measure" eventlog "$checkout/README.md"

stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub
[ -r "$stub" ] || { say "SKIPPED here: $stub (package systemd-boot-efi)"; finish_test; }
have sbsign sbsigntool || finish_test
have objcopy binutils || finish_test

say '-- PE images'
key_of() {
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.pem" -subj "/CN=$1" -days 36 2>/dev/null
  openssl x509 -in "$1.pem" -outform DER -out "$1.der"
}
key_of ours; key_of other
# What sbsign signed is in the signature: the one octet string of 32 bytes in SpcIndirectDataContent.
signed_digest_of() {
  sbattach --detach detached "$1" 2>/dev/null
  openssl asn1parse -inform DER -in detached | sed -n 's/.*l=  32 prim: OCTET STRING *\[HEX DUMP\]://p' | head -n 1 | tr 'A-F' 'a-f'
}
compare_digests() {
  sbsign --key ours.key --cert ours.pem --output signed.efi "$2" 2>/dev/null
  same "$1: sbsign signs this digest" "$(signed_digest_of signed.efi)" "$("$measure" digest signed.efi)"
  ! command -v osslsigncode >/dev/null || same "$1: osslsigncode calculates it" \
    "$(osslsigncode verify -in signed.efi 2>/dev/null | sed -n 's/^Calculated message digest *: *//p' | tr -d ' ' | tr 'A-F' 'a-f')" \
    "$("$measure" digest signed.efi)"
}
have osslsigncode osslsigncode || true
for image in "$stub" /usr/lib/systemd/boot/efi/systemd-bootx64.efi; do compare_digests "$(basename "$image")" "$image"; done
refused 'what is no image is refused' 2 "$measure" digest "$log"
head -c 60000 "$stub" >cut.efi
refused 'an image that is cut is refused' 2 "$measure" digest cut.efi

say '-- a unified kernel image'
kernel=''
for candidate in "${STELE_KERNEL:-}" /boot/vmlinuz-*; do [ ! -r "$candidate" ] || kernel=$candidate; done
if [ -n "$kernel" ]; then
  cp "$kernel" linux
else
  say 'SKIPPED here: no kernel ($STELE_KERNEL, /boot/vmlinuz-*): one made of its two texts instead'
  printf 'kernel LOADED_IMAGE::LoadOptions\0Linux initrd\0' >linux
fi
head -c 100001 /dev/urandom >initrd
printf 'ID=stele\n' >osrel
printf 'lockdown=confidentiality panic=-1' >cmdline
printf '{"sha256":[]}' >pcrsig
openssl pkey -in ours.key -pubout -out pcrpkey
sections=() address=$((0x100000))
for name in osrel cmdline pcrsig pcrpkey initrd linux; do
  sections+=(--add-section ".$name=$name" --change-section-vma ".$name=$(printf '0x%x' "$address")")
  address=$(((address + $(stat -c %s "$name") + 0xffff) & ~0xffff))
done
objcopy "${sections[@]}" "$stub" uki.efi
compare_digests 'the image' uki.efi
mv signed.efi uki.signed

# EFI signature lists: type, size, header size, entry size, owner, certificate.
list_of() {
  local size owner='\x11\x11\x11\x11\x22\x22\x33\x33\x44\x44\x12\x34\x56\x78\x9a\xbc'
  little() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x00\\x00"; }
  size=$(stat -c %s "$1.der")
  { printf '\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72'; little $((44 + size)); little 0; little $((16 + size))
    printf "$owner"; cat "$1.der"; } >"$1.esl"
}
list_of ours; list_of other
cat other.esl ours.esl >both.esl
predict() { "$measure" predict --uki "$1" --pk ours.esl --kek ours.esl --db "$2" "${@:3}"; }
predict uki.signed ours.esl --phases enter-initrd:leave-initrd -o expected-pcrs.json
same 'the authority is the certificate it was signed with' "$(sha256sum <ours.der | cut -d' ' -f1)" \
  "$(predict uki.signed both.esl | jq -r .secure_boot.authority.sha256)"
same 'PCR 4 ends with the digest that sbsign signed' "$(signed_digest_of uki.signed)" \
  "$(jq -r '[.events[] | select(.pcr == 4)][-1].digest' expected-pcrs.json)"
systemd_measure=/lib/systemd/systemd-measure
if [ -x "$systemd_measure" ] && "$systemd_measure" --version | grep -q '^systemd 252 '; then
  stock=$("$systemd_measure" calculate --bank=sha256 --linux=linux --osrel=osrel --cmdline=cmdline --initrd=initrd --pcrpkey=pcrpkey \
    --phase= --phase=enter-initrd --phase=enter-initrd:leave-initrd 2>/dev/null | sed -n 's/^11:sha256=//p')
  same 'systemd-measure calculates the same PCR 11 for every phase' "$stock" "$(jq -r '.phases[].pcr11' expected-pcrs.json)"
else
  say 'SKIPPED here: systemd-measure 252 (package systemd)'
fi
same 'PCR 9 is the command line and the RAM disk' 'LOADED_IMAGE::LoadOptions Linux initrd' \
  "$(jq -r '[.events[] | select(.pcr == 9).what] | join(" ")' expected-pcrs.json)"
same 'the command line is measured in UTF-16 with its NUL' \
  "$({ sed 's/./&\x00/g' cmdline; printf '\0\0'; } | sha256sum | cut -d' ' -f1)" \
  "$(jq -r '[.events[] | select(.pcr == 9)][0].digest' expected-pcrs.json)"
# The RAM disk as the stub hands it over, put together here a second time: .initrd, then an archive for each of its two files.
pad() { head -c $(((4 - $(stat -c %s "$1") % 4) % 4)) /dev/zero >>"$1"; }
member() {  # member ARCHIVE INODE MODE SIZE NAME
  printf '070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\0' "$2" "$3" 0 0 1 0 "$4" 0 0 0 0 $((${#5} + 1)) 0 "$5" >>"$1"
  pad "$1"
}
cp initrd disk; pad disk
for pair in pcrsig:tpm2-pcr-signature.json pcrpkey:tpm2-pcr-public-key.pem; do
  file=${pair%%:*} name=".extra/${pair#*:}"
  : >"$file.cpio"
  member "$file.cpio" 1 $((0040555)) 0 .extra
  member "$file.cpio" 2 $((0100444)) "$(stat -c %s "$file")" "$name"
  cat "$file" >>"$file.cpio"; pad "$file.cpio"
  printf '070701%032d%08d%048d0000000B00000000TRAILER!!!\0\0\0\0' 0 1 0 >>"$file.cpio"
  ! command -v cpio >/dev/null || same "cpio reads the archive of $name" "$(printf '.extra\n%s' "$name")" "$(cpio -t --quiet <"$file.cpio")"
  cat "$file.cpio" >>disk
done
same 'the RAM disk is measured as the stub hands it over' "$(sha256sum <disk | cut -d' ' -f1)" \
  "$(jq -r '[.events[] | select(.pcr == 9)][1].digest' expected-pcrs.json)"

say '-- what the firmware would not start'
refused 'signed under another key' 1 predict uki.signed other.esl
refused 'not signed' 1 predict uki.efi ours.esl
refused 'signed under a certificate in dbx' 1 predict uki.signed ours.esl --dbx ours.esl
offset=$(grep -abo 'lockdown=conf' uki.signed | cut -d: -f1)
cp uki.signed altered
printf X | dd of=altered bs=1 seek="$offset" conv=notrunc status=none
refused 'one byte of the command line changed' 1 predict altered ours.esl
! sbverify --cert ours.pem altered >/dev/null 2>&1 || fail 'sbverify accepts it'
pass 'sbverify refuses it too'
refused 'a certificate where lists are expected' 2 predict uki.signed ours.der
refused 'a boot loader, which is no unified image' 2 predict /usr/lib/systemd/boot/efi/systemd-bootx64.efi ours.esl

say '-- stele audit takes the file'
if [ -x "$stele_bin/stele-audit" ]; then
  bundle="$checkout/tests/data/bundles/range.tar"
  checked() { "$stele_bin/stele-audit" --json --expected-pcrs "$1" "$bundle" | jq -r '.checks[] | select(.name == "expected_pcrs").result'; }
  zeros=$(printf '0%.0s' {1..64})
  printf '{"format":"stele/expected-pcrs/v1","bank":"sha256","events":[],"registers":{"4":"%s","12":"%s"}}' "$zeros" "$zeros" >zeros.json
  same 'registers as expected' passed "$(checked zeros.json || true)"
  same 'registers of another image' failed "$(checked expected-pcrs.json || true)"
  jq '.registers["4"] = "'"$zeros"'"' expected-pcrs.json >bent.json
  refused 'a file whose events do not lead to its registers' 2 "$stele_bin/stele-audit" --expected-pcrs bent.json "$bundle"
else
  say 'SKIPPED here: stele-audit is not built'
fi
finish_test
