#!/usr/bin/env bash
# Goal: what was anchored cannot change unseen: `stele verify` says no and says where.
# Method: a Stele runs, stops (the shutdown anchors everything) and is copied; each copy is attacked and verified. Offsets
# come from a printed seed (STELE_SEED sets it).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
seed=${STELE_SEED:-$RANDOM}; RANDOM=$seed; say "seed $seed"
run_once() {  # run_once DIR TAG: start, 3000 records, stop
  start_stele "$1"
  "$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count 3000 --tag "$2" --seed "$3" >/dev/null
  wait_stored syslog-tcp 3000 && wait_checkpointed
  stop_stele || fail 'stele up did not stop cleanly'
}
run_once "$work/s" first 1
verify_says "$good_words" "$work/s"
cp -a "$work/s" "$work/yesterday"
run_once "$work/s" second 2
verify_says "$good_words" "$work/s"
run_once "$work/other" other 3

copy() { rm -rf "$work/x"; cp -a "$work/s" "$work/x"; }
flip() {
  local byte
  byte=$(od -An -t u1 -j "$2" -N 1 "$1" | tr -d ' ')
  printf "\\x$(printf %02x $((byte ^ (1 << (RANDOM % 8)))))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
bad='TAMPERED|DAMAGED|ROLLED_BACK'
names_a_place() {
  jq -e '.first_bad.what != null and .first_bad.offset != null' "$work/verify.json" >/dev/null || fail 'the verdict names no place'
}

segment=$(ls "$work/s/store" | head -n 1)
used=$(tr -d '\0' <"$work/s/store/$segment" | wc -c)
say "$segment holds about $used bytes"
for i in 1 2 3 4 5 6 7 8; do
  copy
  offset=$(((RANDOM * 32768 + RANDOM) % used))
  flip "$work/x/store/$segment" "$offset"
  verify_says "$bad" "$work/x"
  names_a_place
  pass "one bit at $offset: $(jq -r '"\(.first_bad.what), records \(.first_bad.first_seq) to \(.first_bad.end_seq)"' "$work/verify.json")"
done

copy; dd if=/dev/zero of="$work/x/store/$segment" bs=4096 seek=$((used / 8192)) count=$((used / 4096)) conv=notrunc status=none
verify_says "$bad" "$work/x"; pass 'the second half wiped with zeros'
copy; truncate -s $((used / 2 / 4096 * 4096)) "$work/x/store/$segment"
verify_says "$bad" "$work/x"; pass 'the segment cut in half'
copy; rm "$work/x/store/$segment"
verify_says "$bad" "$work/x"; pass 'the segment deleted'
copy; rm -rf "$work/x/store"; cp -a "$work/yesterday/store" "$work/x/store"
verify_says ROLLED_BACK "$work/x"; pass 'the store of yesterday under the TPM of today'
copy; rm -rf "$work/x/store" "$work/x/state"; cp -a "$work/yesterday/store" "$work/yesterday/state" "$work/x/"
verify_says ROLLED_BACK "$work/x"; pass 'store and state of yesterday under the TPM of today'
copy; rm -rf "$work/x/store"; cp -a "$work/other/store" "$work/x/store"
verify_says "$bad|TPM_CLEARED|ANCHOR_REDEFINED|TPM_REPLACED" "$work/x"; pass 'the store of another Stele'
copy; rm -rf "$work/x/tpm"; cp -a "$work/other/tpm" "$work/x/tpm"
verify_says 'TPM_REPLACED|TPM_CLEARED|ANCHOR_REDEFINED|ROLLED_BACK' "$work/x"; pass 'the TPM of another Stele'
verify_says "$good_words" "$work/s"
finish_test
