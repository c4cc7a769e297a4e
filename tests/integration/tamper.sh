#!/usr/bin/env bash
# Goal: what was anchored cannot change unseen: `stele verify` says no and says where; what was not yet anchored when the
# power went is judged honestly.
# Method: a Stele runs, stops (the shutdown anchors everything) and is copied; each copy is attacked and verified. Offsets
# come from a printed seed (STELE_SEED sets it).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
seed=${STELE_SEED:-$RANDOM}; RANDOM=$seed; say "seed $seed"
run_once() {  # run_once DIR TAG: start, 9000 records, stop
  start_stele "$1"
  "$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count 9000 --tag "$2" --seed "$3" --size 500 >/dev/null
  wait_stored syslog-tcp 9000 && wait_checkpointed
  stop_stele || fail 'stele up did not stop cleanly'
}
stele_more_toml=$'[store]\nsegment_bytes = 1048576'  # small, so that there are several
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

used_of() {  # bytes of a segment up to the last one that is not zero, in whole sectors
  local end
  end=$(cmp -l "$work/s/store/$1" /dev/zero 2>/dev/null | tail -n 1 | awk '{ print $1 }' || true)
  echo $(((${end:-0} + 4095) / 4096 * 4096))
}
segments=()  # without the spare ones made ahead, which hold nothing
for segment in $(ls "$work/s/store"); do
  if [ "$(used_of "$segment")" != 0 ]; then segments+=("$segment"); fi
done
[ ${#segments[@]} -ge 4 ] || fail "only ${#segments[@]} segments: too few for this test"
last=$((${#segments[@]} - 1))
number=0
for i in $(seq "${STELE_FLIPS:-24}"); do  # any byte that was written: in turn in each segment, the last up to its end
  number=$((i % ${#segments[@]})) limit=$(stat -c %s "$work/s/store/${segments[$((i % ${#segments[@]}))]}")
  [ "$number" != "$last" ] || limit=$(used_of "${segments[$last]}")
  case "$i" in 1) number=0 offset=0 ;; 2) number=0 offset=$((RANDOM % 4096)) ;; *) offset=$(((RANDOM * 32768 + RANDOM) % limit)) ;; esac
  file="$work/s/store/${segments[$number]}"
  cp -a "$file" "$work/whole"
  flip "$file" "$offset"
  verify_says "$bad" "$work/s"
  names_a_place
  mv "$work/whole" "$file"
  pass "one bit of segment $number at $offset: $(jq -r '"\(.first_bad.what) in segment \(.first_bad.segment), records \(.first_bad.first_seq) to \(.first_bad.end_seq)"' "$work/verify.json")"
done
verify_says "$good_words" "$work/s"

segment=${segments[$last]} used=$(used_of "$segment")
copy; dd if=/dev/zero of="$work/x/store/$segment" bs=4096 seek=$((used / 8192)) count=$((used / 4096)) conv=notrunc status=none
verify_says "$bad" "$work/x"; pass 'the second half of the last segment wiped with zeros'
copy; truncate -s $((used / 2 / 4096 * 4096)) "$work/x/store/$segment"
verify_says "$bad" "$work/x"; pass 'the last segment cut in half'
for number in $(seq 0 "$last"); do
  copy; rm "$work/x/store/${segments[$number]}"
  verify_says "$bad" "$work/x"
  if [ "$number" != "$last" ]; then  # what is missing at the end only the TPM knows of
    same "the deleted segment $number is named" "segment $number" "$(jq -r '"\(.first_bad.what) \(.first_bad.segment)"' "$work/verify.json")"
  fi
done
copy; rm "$work"/x/store/*
verify_says "$bad" "$work/x"; names_a_place; pass 'every segment deleted'
copy; rm -rf "$work/x/store"; cp -a "$work/yesterday/store" "$work/x/store"
verify_says ROLLED_BACK "$work/x"; pass 'the store of yesterday under the TPM of today'
copy; rm -rf "$work/x/store" "$work/x/state"; cp -a "$work/yesterday/store" "$work/yesterday/state" "$work/x/"
verify_says ROLLED_BACK "$work/x"; pass 'store and state of yesterday under the TPM of today'
copy; rm -rf "$work/x/store"; cp -a "$work/other/store" "$work/x/store"
verify_says "$bad|TPM_CLEARED|ANCHOR_REDEFINED|TPM_REPLACED" "$work/x"; pass 'the store of another Stele'
copy; rm -rf "$work/x/tpm"; cp -a "$work/other/tpm" "$work/x/tpm"
verify_says 'TPM_REPLACED|TPM_CLEARED|ANCHOR_REDEFINED|ROLLED_BACK' "$work/x"; pass 'the TPM of another Stele'
verify_says "$good_words" "$work/s"

# The power goes: no checkpoint and no anchor at the end. A copy of the store that is newer than the last anchor:
# with the anchor's two slots of that moment it is what an honest crash leaves, and the verdict says how much is not
# anchored. With the slots of the end it is shown to be older than what the machine promised.
stele_more_toml=$'[store]\nsegment_bytes = 1048576\n[anchor]\ninterval_ms = 86400000'
start_stele "$work/p"
load() { "$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count "$1" --tag power --seed "$1" >/dev/null; }
load 1000; wait_stored syslog-tcp 1000; wait_checkpointed
sleep 1.5
mkdir "$work/young"
cp -a "$work/p/store" "$work/p/state" "$work/young/"
load 2000; wait_stored syslog-tcp 3000; wait_checkpointed
power_off
verify_says "$good_words" "$work/p"; pass "after the power went: $(jq -r .detail "$work/verify.json")"
cp -a "$work/p" "$work/x2"
rm -rf "$work/x2/store"; cp -a "$work/young/store" "$work/x2/store"
verify_says ROLLED_BACK "$work/x2"; pass 'a store newer than the anchor, older than the slots'
rm -rf "$work/x2/state"; cp -a "$work/young/state" "$work/x2/state"
verify_says OK_UNANCHORED_TAIL "$work/x2"; pass "the slots too: the tail is said: $(jq -r .detail "$work/verify.json")"
start_stele "$work/p"
verify_says "$good_words"
found power 1000
stop_stele || fail 'stele up did not stop cleanly'
verify_says "$good_words" "$work/p"
finish_test
