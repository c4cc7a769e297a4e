#!/usr/bin/env bash
# Goal: provisioning with a key that never touches the appliance; the seed sealed, the TPM locked down, the pin demanded.
# Method: the enroller's side runs in another folder with files carried over; tpm2-tools attack the TPM; a Stele runs on it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
stele="$stele_bin/stele"
usb="$work/usb"; mkdir "$usb" "$work/enroller"

succeeds 'a dry run on an empty directory changes nothing' "$stele" provision --dry-run --dir "$work/p"
[ ! -e "$work/p" ] || fail 'the dry run made a directory'
succeeds 'the enroller makes its key' "$stele" provision --make-key "$work/enroller/key.pem"
exits_with 'and does not overwrite it' 1 "$stele" provision --make-key "$work/enroller/key.pem"
cp "$work/enroller/key.pem.pub" "$work/pin.pem"
exits_with 'an exchange needs a pin' 2 "$stele" provision --dir "$work/p" --exchange "$usb"

wait_for_file() { local end=$((SECONDS + 60)); until [ -s "$1" ]; do [ "$SECONDS" -lt "$end" ] || fail "$1 did not come"; sleep 0.1; done; }
enrol() { "$stele" provision --enroller "$usb" --key "$1" --ek-root "$2" "${@:3}"; }
"$stele" provision --dir "$work/p" --exchange "$usb" --pin "$work/pin.pem" >"$work/provision.log" 2>&1 & appliance=$!
wait_for_file "$usb/request.json"
"$stele" provision --dir "$work/foreign" >"$work/foreign.log" 2>&1 || fail 'the second Stele was not provisioned'
exits_with "the enroller refuses a TPM of another maker" 1 enrol "$work/enroller/key.pem" "$work/foreign/tpm/ca"
exits_with 'the enroller asks for roots' 2 "$stele" provision --enroller "$usb" --key "$work/enroller/key.pem"
succeeds 'the enroller challenges' enrol "$work/enroller/key.pem" "$work/p/tpm/ca" --escrow "$work/enroller/auths.json"
wait_for_file "$usb/answer.json"
"$stele" provision --make-key "$work/enroller/other.pem" >/dev/null
exits_with 'an enroller with another key refuses the answer' 1 enrol "$work/enroller/other.pem" "$work/p/tpm/ca"
succeeds 'the enroller signs the record' enrol "$work/enroller/key.pem" "$work/p/tpm/ca"
wait "$appliance" || { cat "$work/provision.log" >&2; fail 'the appliance did not take the record'; }
pass 'the appliance takes the record'
[ ! -e "$work/p/keys/provisioning.pem" ] && [ ! -e "$work/p/keys/seed" ] && [ ! -e "$work/p/keys/tpm-auths.json" ] ||
  fail 'a secret that belongs elsewhere lies on the appliance'
pass 'neither provisioning key nor seed nor authorisations lie on the appliance'
record=$(jq -r .record_b64 "$work/p/state/provisioning.json" | base64 -d)
same 'the record says what was proven' 'true true true 14' \
  "$(jq -r '"\(.activated) \(.ek_chain_verified) \(.locked_down) \(.seal.registers | keys | join(","))"' <<<"$record")"

key_is() {  # key_is WHAT EXPECTED: as the status says, once the anchor has said anything
  local end=$((SECONDS + 30)) key=''
  until key=$(status_json | jq -r '.key // ""') && [ -n "$key" ]; do [ "$SECONDS" -lt "$end" ] || break; sleep 0.2; done
  same "$1" "$2" "$key"
}
start_stele "$work/p"
key_is 'the status says where the key is' tpm-sealed
"$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count 500 --tag pinned --seed 1 >/dev/null
wait_stored syslog-tcp 500 && wait_checkpointed
kill -9 "$(pid_of stele-anchor)"
wait_checkpointed
found pinned 500
key_is 'after the death of the anchor the same key signs on' tpm-sealed
stop_stele || fail 'stele up did not stop cleanly'
start_stele "$work/p"  # the next boot of the embedded TPM
key_is 'the next start unseals again' tpm-sealed
stop_stele || fail 'stele up did not stop cleanly'

verify_says "$good_words" "$work/p"
same 'without a pin the verdict says so' true "$(jq '.qualifiers | index("UNPINNED") != null' "$work/verify.json")"
"$stele" verify --json --dir "$work/p" --pin "$work/pin.pem" >"$work/verify.json" || fail 'verify with the pin fails'
same 'with the pin it does not' true "$(jq '.qualifiers | index("UNPINNED") == null' "$work/verify.json")"
exits_with 'another key as pin is refused' 1 "$stele" verify --dir "$work/p" --pin "$work/enroller/other.pem.pub"
exits_with 'provisioning what is provisioned changes nothing' 0 "$stele" provision --dir "$work/p"

# By itself: the escrow is a file, and the attacker gets nowhere without it.
same 'the embedded default keeps its escrow in keys/' 600 "$(stat -c %a "$work/foreign/keys/tpm-auths.json")"
if command -v tpm2_clear >/dev/null; then
  swtpm socket --tpm2 --tpmstate dir="$work/foreign/tpm/state" --server type=unixio,path="$work/t" \
    --ctrl type=unixio,path="$work/t.ctrl" --flags startup-clear,not-need-init >/dev/null 2>&1 & tpm=$!
  wait_for_socket() { local end=$((SECONDS + 20)); until [ -S "$1" ]; do [ "$SECONDS" -lt "$end" ] || fail "no $1"; sleep 0.1; done; }
  wait_for_socket "$work/t"
  export TPM2TOOLS_TCTI="swtpm:path=$work/t" TSS2_LOG=all+none
  tpm2_hierarchycontrol -C p phEnable clear >/dev/null
  for attack in 'tpm2_clear -c l' 'tpm2_clear -c p' 'tpm2_nvundefine -C o 0x01815301' 'tpm2_evictcontrol -C o -c 0x81015354' \
    'tpm2_nvdefine -C o -s 8 0x01815303'; do
    if $attack >/dev/null 2>&1; then fail "an attacker can: $attack"; fi
    pass "refused: $attack"
  done
  succeeds 'the escrow opens it' tpm2_nvundefine -C o -P "hex:$(jq -r .owner "$work/foreign/keys/tpm-auths.json")" 0x01815301
  kill "$tpm"; wait "$tpm" || true
fi
succeeds 'the TPM can be measured' "$stele" tpm bench --dir "$work/foreign" --rounds 2 --json
same 'a measurement proposes cadences' true "$(jq '.proposal.checkpoint_interval_ms >= 500' "$work/out")"

# A log that began with its seed in a file goes on with it.
printf '[anchor]\nkey = "file"\n' >"$work/file.toml"
succeeds 'a log with a file' "$stele" provision --dir "$work/f" --config "$work/file.toml"
# With a budget of ten writes of the TPM's memory, and an anchor a second: alarms at 50 and at 80 %.
stele_more_toml=$'[checkpoint]\nheartbeat_interval_ms = 1000\n[anchor]\ninterval_ms = 1000\nnv_budget = 10'
start_stele "$work/f"
key_is 'goes on with the file' file
found 'kind:alarm "50 % of the NV write budget of 10"' 1 30
found 'kind:alarm "80 % of the NV write budget of 10"' 1 30
finish_test
