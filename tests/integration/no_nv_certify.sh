#!/usr/bin/env bash
# Goal: a TPM without TPM2_NV_Certify anchors and convinces an auditor all the same: provisioned, locked down, anchored, quoted,
# bundled, verified; and the evidence says nothing else than one with NV_Certify would.
# Method: a real `stele up` on a software TPM behind stele-tpm-relay, which takes the command away and says so when asked; the signed
# digest of each audited read is computed again with openssl and jq.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
relay_bin="$stele_bin/stele-tpm-relay"
[ -x "$relay_bin" ] || skip "$relay_bin is not built"
begin_test
nonce=$(head -c 32 /dev/urandom | od -An -v -t x1 | tr -d ' \n')
mkdir -m 0700 "$work/relay"
"$relay_bin" serve "$work/relay" >"$work/relay/log" 2>&1 &
for _ in $(seq 200); do [ -S "$work/relay/tpm.sock" ] && break; sleep 0.05; done
"$relay_bin" tell "$work/relay" "lack NV_Certify" >"$work/out" || fail "the relay refuses: $(cat "$work/out")"

printf '[anchor]\ntpm = "swtpm:path=%s"\n' "$work/relay/tpm.sock" >"$work/dry.toml"
succeeds 'a dry run names the way out' "$stele_bin/stele" provision --dry-run --dir "$work/s" --config "$work/dry.toml"
grep -q 'NV_Certify no: audited reads instead' "$work/out" || { cat "$work/out" >&2; fail 'the dry run does not say that reads are audited'; }
stele_more_toml=$'[anchor]\ninterval_ms = 1000\ntpm = "swtpm:path='"$work"$'/relay/tpm.sock"'
start_stele "$work/s" || fail 'Stele does not start on a TPM without NV_Certify'
"$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count 200 --tag audited --seed 3 >/dev/null
wait_stored syslog-tcp 200
wait_checkpointed
same 'the TPM is locked down' true "$(jq -r .record_b64 "$work/s/state/provisioning.json" | base64 -d | jq .locked_down)"

succeeds 'a bundle' stele_cli bundle --nonce "$nonce" --range 1..100 -o "$work/b.tar"
jq -r .public_key_pem "$work/s/state/provisioning.json" >"$work/pin.pem"
succeeds 'the auditor accepts it' "$stele_bin/stele" audit --json "$work/b.tar" --nonce "$nonce" --pin "$work/pin.pem"
same 'without reservation but the TPM in software' 'OK ["SOFTWARE_TPM"]' "$(jq -rc '"\(.word) \(.qualifiers)"' "$work/out")"
same 'an anchor is among what it proves' true "$(jq '.anchor.number >= 1' "$work/out")"
"$relay_bin" tell "$work/relay" "count NV_Certify" >"$work/out"
same 'nobody asked for NV_Certify' 0 "$(cat "$work/out")"

# Stock tools: magic and type 8016, exclusive, and the digest H(0 || H(code Name Name size offset) || H(success code size contents)).
mkdir "$work/e"; tar -C "$work/e" -xf "$work/b.tar" --strip-components 1
for stem in counter index; do
  openssl dgst -sha256 -verify "$work/e/tpm/ak.pem" -signature "$work/e/$stem.der" "$work/e/$stem.attest" >/dev/null ||
    fail "openssl refuses the signature of $stem"
  contents=$(jq -r ".certify_$stem.contents_b64" "$work/e/attest.json" | base64 -d >"$work/contents"; hex_of_file "$work/contents")
  name=$(jq -r ".${stem}_name" "$work/e/provisioning/record.json")
  size=$(printf '%04x' $((${#contents} / 2)))
  asked=$(sha256_of_hex "0000014e$name$name${size}0000")
  answered=$(sha256_of_hex "000000000000014e$size$contents")
  digest=$(sha256_of_hex "$(printf '%064d' 0)$asked$answered")
  attest=$(hex_of_file "$work/e/$stem.attest")
  same "$stem: a session audit" ff5443478016 "${attest:0:12}"
  same "$stem: exclusive, over this very read" "010020$digest" "${attest: -70}"
done
pass 'openssl finds the signatures and digests right'

verify_says "$good_words" "$work/s"
succeeds 'a clean stop' stop_stele
finish_test
