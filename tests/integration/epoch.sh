#!/usr/bin/env bash
# Goal: a TPM that was cleared, replaced, robbed of its registers or filled with junk does not leave the log bad for ever: a new epoch
# begins, logging and anchoring go on, every restart is clean, and how each earlier epoch ended stays in every report.
# Method: one log on a software TPM, attacked with tpm2-tools four times while it is stopped; after each attack `stele verify` says what
# happened, `stele provision --epoch` begins the next epoch, and a running Stele, a bundle and its audit go on from there.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v tpm2_clear >/dev/null || skip 'tpm2-tools is not installed'
begin_test
stele="$stele_bin/stele"
dir="$work/s"
nonce=$(printf '%064d' 7)
stele_more_toml=$'[anchor]\ninterval_ms = 86400000'

qualifiers() { jq -r '.qualifiers | join(" ")' "$work/verify.json"; }
has() { [[ " $(qualifiers) " == *" $1 "* ]] || fail "$1 is not among the qualifiers: $(qualifiers)"; pass "the verdict carries $1"; }
epochs() {  # the words of all epochs; the newest one's may be any good one
  jq -r '[.epochs[] | "\(.number):\(.word | if . == "OK_UNANCHORED_TAIL" or . == "RECOVERED_CRASH" then "OK" else . end)"] | join(" ")' "$work/verify.json"
}

# log_some TAG COUNT: a Stele runs, takes records, is stopped in an orderly way (its last anchor is made).
log_some() {
  start_stele "$dir" || fail "Stele does not start in $dir"
  "$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count "$2" --tag "$1" --seed 5 >/dev/null
  wait_stored syslog-tcp "$2" && wait_checkpointed
  found "$1" "$2"
  stop_stele || fail 'stele up did not stop cleanly'
  verify_says "$good_words" "$dir"
}

# on_tpm COMMAND...: with tpm2-tools at the stopped log's TPM, as somebody who owns the machine.
on_tpm() {
  local end=$((SECONDS + 20)) status=0 tpm
  rm -f "$work/t" "$work/t.ctrl"
  swtpm socket --tpm2 --tpmstate dir="$dir/tpm/state" --server type=unixio,path="$work/t" \
    --ctrl type=unixio,path="$work/t.ctrl" --flags startup-clear,not-need-init >/dev/null 2>&1 & tpm=$!
  until [ -S "$work/t" ]; do [ "$SECONDS" -lt "$end" ] || fail 'the TPM does not start'; sleep 0.05; done
  TPM2TOOLS_TCTI="swtpm:path=$work/t" TSS2_LOG=all+none "$@" >"$work/tool" 2>&1 || status=$?
  kill "$tpm"; wait "$tpm" || true
  [ "$status" = 0 ] || { cat "$work/tool" >&2; fail "the attack does not work: $*"; }
}
clear_tpm() { tpm2_clearcontrol -C p c && tpm2_clear -c p; }
undefine() { tpm2_nvundefine -C o -P "hex:$(jq -r .owner "$1")" 0x01815301; }
# What anybody can write: the policy of a written index asks for nothing but that (TPM 2.0 Part 3, PolicyNvWritten, PolicyOR). The other
# branch is that of the first write, with the provisioning key's Name.
write_policy() {
  local zero point name before
  zero=$(printf '%064d' 0)
  point=$(openssl pkey -in "$dir/keys/provisioning.pem" -pubout -outform DER | tail -c 64 | od -An -v -t x1 | tr -d ' \n')
  name=000b$(sha256_of_hex "0023000b00040040000000100010000300100020${point:0:64}0020${point:64}")
  before=$(sha256_of_hex "${zero}0000018f00")
  bytes_of_hex "$(sha256_of_hex "${zero}0000018f01")" >"$work/b1"
  bytes_of_hex "$(sha256_of_hex "$(sha256_of_hex "${before}00000160$name")")" >"$work/b2"
}
extend_index() {
  printf junk >"$work/junk"
  tpm2_startauthsession --policy-session -S "$work/session" && tpm2_policynvwritten -S "$work/session" s &&
    tpm2_policyor -S "$work/session" -l "sha256:$work/b1,$work/b2" &&
    tpm2_nvextend -C 0x01815302 -P "session:$work/session" -i "$work/junk" 0x01815302
}
next_epoch() { succeeds "epoch $1 begins: $2" "$stele" provision --dir "$dir" --epoch --reason "$2"; }

log_some wordzero 300
size=$(jq .store.records "$work/verify.json")
same 'a log of one epoch has no other words' '0:OK' "$(epochs)"
cp -a "$dir/store" "$work/store-of-epoch-0"
jq -r .public_key_pem "$dir/state/provisioning.json" >"$work/pin.pem"
exits_with 'an epoch needs a reason' 2 "$stele" provision --dir "$dir" --epoch
"$stele" provision --make-key "$work/other.pem" >/dev/null
exits_with 'and the key that signed the beginning' 1 "$stele" provision --dir "$dir" --epoch --reason x --key "$work/other.pem"

say '-- cleared'
on_tpm clear_tpm
verify_says TPM_CLEARED "$dir"
succeeds 'a dry run says what would be' "$stele" provision --dir "$dir" --epoch --reason 'mainboard sent in' --dry-run
grep -q 'epoch 0 ends: TPM_CLEARED' "$work/out" || { cat "$work/out" >&2; fail 'the dry run does not say how epoch 0 ends'; }
[ ! -e "$dir/state/epoch-1.json" ] || fail 'the dry run wrote a record'
verify_says TPM_CLEARED "$dir"
next_epoch 1 'mainboard sent in'
verify_says "$good_words" "$dir"
same 'before its first start it waits' true "$(jq '.epochs[-1].begins_with_next_start' "$work/verify.json")"
log_some wordone 200
has EPOCH_0_TPM_CLEARED
same 'both epochs are told' '0:TPM_CLEARED 1:OK' "$(epochs)"
same 'with the reason' 'mainboard sent in' "$(jq -r '.epochs[0].reason' "$work/verify.json")"
"$stele" verify --dir "$dir" >"$work/out" || fail 'verify of a log of two epochs'
grep -q 'epoch 0: TPM_CLEARED after anchor [0-9]*, closed by epoch 1 .*"mainboard sent in") signed by [0-9a-f]' "$work/out" ||
  { cat "$work/out" >&2; fail 'verify does not tell the end of epoch 0'; }
pass "$(grep '^epoch 0' "$work/out")"
"$stele" verify --json --dir "$dir" --pin "$work/pin.pem" >"$work/verify.json" || fail 'verify with the pin of the beginning'
[[ "$(qualifiers)" != *UNPINNED* ]] || fail 'the pin of the beginning does not hold in epoch 1'
pass 'the pin of the beginning holds in epoch 1'

say '-- evidence across the epochs'
start_stele "$dir"
wait_checkpointed
same 'the status carries it too' true "$(status_json | jq '.verdict.qualifiers | index("EPOCH_0_TPM_CLEARED") != null')"
found wordzero 300
found kind:epoch 2
same 'the entry of the epoch stands where the log ended' "$size" "$(jq '[.rows[].seq] | max' "$work/found.json")"
succeeds 'a bundle over both epochs' stele_cli bundle --nonce "$nonce" --range "5..$((size + 20))" -o "$work/both.tar"
"$stele" audit --json "$work/both.tar" --nonce "$nonce" --pin "$work/pin.pem" >"$work/verify.json" ||
  { cat "$work/verify.json" >&2; fail 'audit refuses a bundle over two epochs'; }
has EPOCH_0_TPM_CLEARED
same 'the epochs are checked' passed "$(jq -r '.checks[] | select(.name == "epochs") | .result' "$work/verify.json")"
stop_stele || fail 'stele up did not stop cleanly'
say '-- what is old is still protected'
cp -a "$dir/store" "$work/whole"
printf '\xff' | dd of="$dir/store/$(ls "$dir/store" | head -n 1)" bs=1 seek=6000 conv=notrunc status=none
verify_says 'TAMPERED|DAMAGED' "$dir"
rm -rf "$dir/store"; cp -a "$work/store-of-epoch-0" "$dir/store"
verify_says ROLLED_BACK "$dir"; pass 'the store as it was before the epoch is an old one'
rm -rf "$dir/store"; mv "$work/whole" "$dir/store"
verify_says "$good_words" "$dir"

say '-- replaced'
"$stele" provision --dir "$work/foreign" >"$work/foreign.log" 2>&1 || fail 'the second Stele was not provisioned'
rm -rf "$dir/tpm"; cp -a "$work/foreign/tpm" "$dir/tpm"
verify_says 'TPM_REPLACED' "$dir"
next_epoch 2 'another board'
[ -d "$dir/tpm-of-epoch-1" ] || fail 'the TPM that was there is not kept'
log_some wordtwo 100
same 'three epochs are told' '0:TPM_CLEARED 1:TPM_REPLACED 2:OK' "$(epochs)"

say '-- registers removed, and junk in the index'
on_tpm undefine "$dir/keys/tpm-auths-2.json"
verify_says ANCHOR_REDEFINED "$dir"
next_epoch 3 'the counter was removed'
log_some wordthree 50
write_policy
on_tpm extend_index
verify_says TAMPERED "$dir"
next_epoch 4 'somebody extended the index'
log_some wordfour 50
same 'five epochs are told' '0:TPM_CLEARED 1:TPM_REPLACED 2:ANCHOR_REDEFINED 3:TAMPERED 4:OK' "$(epochs)"
start_stele "$dir"
for tag in 'wordzero 300' 'wordone 200' 'wordtwo 100' 'wordthree 50' 'wordfour 50'; do found ${tag% *} "${tag#* }"; done
stop_stele || fail 'stele up did not stop cleanly'
verify_says "$good_words" "$dir"
finish_test
