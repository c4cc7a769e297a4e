#!/usr/bin/env bash
# Goal: the evidence of a record convinces stock tools, and altered evidence does not.
# Method: `stele show --proof -o`, then sha256sum, openssl and tpm2_checkquote; each file is altered once.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v tpm2_checkquote >/dev/null || skip 'tpm2_checkquote (package tpm2-tools) is not installed'
begin_test
start_stele "$work/s"
"$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count 300 --tag evidence --seed 7 >/dev/null
wait_stored syslog-tcp 300
stop_stele || fail 'stele up did not stop cleanly'  # the anchor at shutdown covers the records
start_stele "$work/s"
wait_checkpointed

stele_cli search --json --limit 1 evidence >"$work/found.json" 2>/dev/null
seq=$(jq -r '.rows[0].seq' "$work/found.json")
succeeds "show $seq --proof -o" stele_cli show "$seq" --proof -o "$work/e"
check_evidence "$work/e" "$seq"
[ -f "$work/e/anchor.json" ] || fail 'no anchor covers a record from before the restart'

# As the README of the evidence says it.
qualifying=$(jq -r .qualifying.quote "$work/e/anchor.json")
check_quote() { tpm2_checkquote -u "$1/ak.pem" -m "$1/quote.attest" -s "$1/quote.signature" -g sha256 -q "$2"; }
succeeds 'tpm2_checkquote accepts the quote of the anchor' check_quote "$work/e" "$qualifying"
[ "$(jq -r .size "$work/e/anchor.json")" -gt "$seq" ] || fail 'the anchor does not cover the record'
pass 'the anchor covers the record'

# flip FILE OFFSET: one bit
flip() {
  local byte
  byte=$(od -An -t u1 -j "$2" -N 1 "$1" | tr -d ' ')
  printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
refuses() { if "${@:2}" >/dev/null 2>&1; then fail "$1: accepted"; else pass "$1"; fi; }
altered() { rm -rf "$work/x"; cp -r "$work/e" "$work/x"; flip "$work/x/$1" "$2"; }
altered quote.attest 60; refuses 'an altered quote is refused' check_quote "$work/x" "$qualifying"
altered quote.signature 20; refuses 'an altered signature is refused' check_quote "$work/x" "$qualifying"
refuses 'another qualifying value is refused' check_quote "$work/e" "$(tr 0-9a-f 1-9a-f0 <<<"$qualifying")"
checked_again() { bash -c ". '$here/lib.sh'; work='$work'; check_evidence '$work/x' $seq"; }
rm -rf "$work/x"; cp -r "$work/e" "$work/x"; succeeds 'an unaltered copy is accepted' checked_again
for file in payload.bin salt.bin peer.bin entry.bin; do
  altered "$file" 0
  refuses "altered $file is refused" checked_again
done
altered checkpoint 3; refuses 'an altered checkpoint is refused' check_note_signature "$work/x/checkpoint" "$work/x/log.vkey" "$work/note"
verify_says "$good_words"
finish_test
