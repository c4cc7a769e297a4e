#!/usr/bin/env bash
# Goal: evidence of a running Stele convinces `stele audit` and stock tools alike, says what it does not prove, and convinces
# neither once it was altered, replayed, or made by another log.
# Method: a real `stele up` on a software TPM; `stele bundle`; then openssl, tpm2-tools, IBM's TSS and tpm2-pytss on the extracted files.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v tpm2_checkquote >/dev/null || skip 'tpm2_checkquote (package tpm2-tools) is not installed'
begin_test
nonce=$(head -c 32 /dev/urandom | od -An -v -t x1 | tr -d ' \n')
other_nonce=$(head -c 32 /dev/urandom | od -An -v -t x1 | tr -d ' \n')
start_stele "$work/s"
pin="$work/pin.pem"
jq -r .public_key_pem "$work/s/state/provisioning.json" >"$pin"
checkout=$root
root=$(find "$work/s/tpm" -name '*rootca*cert.pem' | head -n 1)
issuer=$(find "$work/s/tpm" -name '*cert.pem' ! -name '*rootca*' | head -n 1)

# audit_says WORD STATUS FILE [OPTION...]: leaves the report in $work/audit.json
audit_says() {
  local word=$1 expected=$2 status=0; shift 2
  "$stele_bin/stele" audit --json "$@" >"$work/audit.json" 2>"$work/audit.err" || status=$?
  [ "$(jq -r .word "$work/audit.json" 2>/dev/null)" = "$word" ] && [ "$status" = "$expected" ] ||
    { cat "$work/audit.json" "$work/audit.err" >&2; fail "audit says $(jq -r .word "$work/audit.json") with $status, not $word with $expected"; }
  pass "audit says $word: $(jq -r .detail "$work/audit.json")"
}
first_failure() { jq -r '[.checks[] | select(.result == "failed") | .name] | first' "$work/audit.json"; }

"$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count 300 --tag evidence --seed 7 >/dev/null
wait_stored syslog-tcp 300
wait_checkpointed

say '-- a range'
succeeds 'bundle of a range' stele_cli bundle --nonce "$nonce" --range 5..250 -o "$work/range.tar"
audit_says OK 0 "$work/range.tar" --nonce "$nonce" --pin "$pin" --ek-root "$root" --ek-root "$issuer"
same 'it is qualified by the software TPM alone' '["SOFTWARE_TPM"]' "$(jq -c .qualifiers "$work/audit.json")"
same 'all of the range is there' '247 true' "$(jq -r '"\(.selection.records) \(.selection.contiguous)"' "$work/audit.json")"
same 'the anchor was made for it' made "$(jq -r .anchor.demand "$work/audit.json")"
audit_says OK 0 "$work/range.tar" --nonce "$nonce" --pin "$pin" --ek-root "$root"
pass 'the certificates between the root and the TPM came with it'
audit_says OK 0 "$work/range.tar"
same 'without a pin it says so' '["UNPINNED","SOFTWARE_TPM"]' "$(jq -c .qualifiers "$work/audit.json")"
same 'and lists what nobody asked for' 2 "$(jq '.unchecked | length' "$work/audit.json")"
succeeds 'the report is a page' "$stele_bin/stele" audit "$work/range.tar" --nonce "$nonce" --html "$work/report.html"
grep -q '<script' "$work/report.html" && fail 'the page holds a script'
grep -q 'SOFTWARE_TPM' "$work/report.html" || fail 'the page does not hold the verdict'

say '-- the static program'
succeeds 'stele-audit says the same' "$stele_bin/stele-audit" "$work/range.tar" --nonce "$nonce" --pin "$pin"
if ldd "$stele_bin/stele-audit" 2>&1 | grep -q '=>'; then fail 'stele-audit needs shared libraries'; fi
if nm -C "$stele_bin/stele-audit" | grep -E ' [TtUu] (Esys_|Tss2_|Tcti)' >/dev/null; then fail 'stele-audit holds calls of a TPM library'; fi
pass 'stele-audit is static and knows no TPM library'

say '-- a query, single records, without payloads'
succeeds 'bundle of a query' stele_cli bundle --nonce "$nonce" --query evidence -o "$work/query.tar"
audit_says OK 0 "$work/query.tar" --nonce "$nonce" --pin "$pin"
jq -r .statement "$work/audit.json" | grep -q 'does not prove' || fail 'a query is not said to prove less'
same 'the query found them all' 301 "$(jq .selection.records "$work/audit.json")"
succeeds 'bundle of two records' stele_cli bundle --nonce "$nonce" --record 7 100 -o "$work/two.tar" --no-payloads
audit_says OK 0 "$work/two.tar" --nonce "$nonce" --pin "$pin"
same 'nothing is disclosed' '3 0' "$(jq -r '"\(.selection.records) \(.selection.disclosed)"' "$work/audit.json")"
exits_with 'a record that is not there' 1 stele_cli bundle --nonce "$nonce" --record 99999999 -o "$work/none.tar"
[ ! -e "$work/none.tar" ] && [ ! -e "$work/none.tar.part" ] || fail 'a refused bundle left a file'
exits_with 'a nonce that is none' 2 stele_cli bundle --nonce 1234 --range 1..2 -o "$work/none.tar"
same 'each bundle is on record' 3 "$(search kind:access | jq '[.rows[].payload_b64 | @base64d | fromjson | select(.action == "bundle" and .result == "ok")] | length')"

say '-- no new anchor: an unanchored tail'
"$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count 50 --tag tail --seed 8 >/dev/null
wait_stored syslog-tcp 350
wait_checkpointed
succeeds 'bundle without an anchor' stele_cli bundle --nonce "$nonce" --no-anchor --query tail -o "$work/tail.tar"
audit_says OK_UNANCHORED_TAIL 0 "$work/tail.tar" --nonce "$nonce" --pin "$pin"

say '-- replayed, compared, since'
audit_says TAMPERED 1 "$work/range.tar" --nonce "$other_nonce" --pin "$pin"
same 'because of the nonce' nonce "$(first_failure)"
succeeds 'a later bundle' stele_cli bundle --nonce "$other_nonce" --record 3 -o "$work/later.tar"
audit_says OK 0 "$work/later.tar" --nonce "$other_nonce" --pin "$pin" --compare "$work/range.tar"
same 'it continues the earlier one' OK "$(jq -r .comparison.word "$work/audit.json")"
tar -xf "$work/tail.tar" -C "$work" evidence/checkpoint && mv "$work/evidence/checkpoint" "$work/receipt"
audit_says CANNOT_TELL 3 "$work/later.tar" --nonce "$other_nonce" --pin "$pin" --since "$work/receipt"
succeeds 'a bundle since the receipt' stele_cli bundle --nonce "$other_nonce" --record 3 --since "$work/receipt" -o "$work/since.tar"
audit_says OK 0 "$work/since.tar" --nonce "$other_nonce" --pin "$pin" --since "$work/receipt"
succeeds 'attest alone' stele_cli bundle --nonce "$nonce"
same 'it answers the nonce' "$nonce" "$(jq -r .nonce "$work/out")"

say '-- verify.html'
page="$checkout/web/viewer/build/page/verify.html"
mkdir "$work/p"
if tar -xf "$work/range.tar" -C "$work/p" evidence/verify.html 2>/dev/null; then
  audit_says OK 0 "$work/range.tar" --nonce "$nonce"
  same 'stele audit names its hash' "$(sha256sum "$work/p/evidence/verify.html" | cut -d' ' -f1)" "$(jq -r .verify_page_sha256 "$work/audit.json")"
  succeeds 'it is the one that was built' cmp "$page" "$work/p/evidence/verify.html"
  tar -xOf "$work/range.tar" evidence/README | grep -q 'sha256sum verify.html' || fail 'the README does not say to compare it with a release'
else
  tar -xOf "$work/range.tar" evidence/README | grep -q 'There is no verify.html here' || fail 'the README does not say that verify.html is missing'
  pass 'built without the viewer: no verify.html, and the README says so'
fi

say '-- stock tools'
mkdir "$work/x"
tar -xf "$work/range.tar" -C "$work/x"
e="$work/x/evidence"
qualifying=$(jq -r .qualifying "$e/attest.json")
log_id=$(sha256sum "$e/provisioning/record.json" | cut -d' ' -f1)
same 'the log id is the SHA-256 of the record' "$(jq -r .log_id "$e/bundle.json")" "$log_id"
number=$(jq -r .anchor "$e/attest.json")
number_hex=$(for shift in 0 8 16 24 32 40 48 56; do printf '%02x' $(((number >> shift) & 255)); done)
same 'the qualifying data is what the format says' "$qualifying" \
  "$({ printf 'stele/qd/v1audit'; bytes_of_hex "$log_id$number_hex$(sha256sum "$e/checkpoint" | cut -d' ' -f1)$nonce"; } | sha256sum | cut -d' ' -f1)"
provisioned() { openssl dgst -sha256 -verify "$1/provisioning/key.pem" -signature "$1/provisioning/record.sig" "$1/provisioning/record.json"; }
endorsed() { openssl verify -CAfile "$root" -untrusted "$1/tpm/ek-chain.pem" -ignore_critical <(openssl x509 -inform der -in "$1/tpm/ek.der"); }
signed() { openssl dgst -sha256 -verify "$1/tpm/ak.pem" -signature "$1/$2.der" "$1/$2.attest"; }
quoted() { tpm2_checkquote -u "$1/tpm/ak.pem" -m "$1/quote.attest" -s "$1/quote.signature" -f "$1/quote.pcrs.tpm2-tools" -g sha256 -q "$qualifying" -e "$1/checkpoints.tcg"; }
logged() { tpm2_eventlog "$1/checkpoints.tcg" >"$work/eventlog"; grep -qi "$(od -An -v -t x1 -j $((32 * 11)) -N 32 "$1/quote.pcrs" | tr -d ' \n')" "$work/eventlog"; }
ibm() { tssverifysignature -ipem "$1/tpm/ak.pem" -halg sha256 -ecc -if "$1/$2.attest" -is "$1/$2.signature"; }
pytss() {
  /usr/bin/python3 - "$1" "$qualifying" <<'PY'
import hashlib, sys
from tpm2_pytss.types import TPM2B_PUBLIC, TPMS_ATTEST, TPMT_SIGNATURE
folder, qualifying = sys.argv[1], bytes.fromhex(sys.argv[2])
read = lambda name: open(f"{folder}/{name}", "rb").read()
public, _ = TPM2B_PUBLIC.unmarshal(read("tpm/ak.tpm2b"))
assert public.publicArea.to_pem().split() == read("tpm/ak.pem").split(), "the two forms of the key differ"
for name in ("quote", "counter", "index"):
    raw = read(f"{name}.attest")
    attest, used = TPMS_ATTEST.unmarshal(raw)
    assert used == len(raw) and bytes(attest.extraData) == qualifying, f"{name}: not over this nonce"
    signature, _ = TPMT_SIGNATURE.unmarshal(read(f"{name}.signature"))
    signature.verify_signature(public.publicArea, raw)
    if name == "quote":
        assert bytes(attest.attested.quote.pcrDigest) == hashlib.sha256(read("quote.pcrs")).digest(), "other values"
PY
}
# The boot event log: the software TPM has none, so the golden one of tests/unit/evidence. tpm2_eventlog 5.4 knows no StartupLocality,
# which sets the beginning of PCR 0.
boot_registers() { tpm2_eventlog "$1" 2>/dev/null | sed '1,/^pcrs:/d' | sed '1,/sha256:/d' | sed -nE 's/^ *([1-7]) *: 0x/\1 /p'; }
same 'tpm2_eventlog replays a boot event log as stele audit does' "$(sed 1d "$checkout/tests/golden/boot.pcrs")" \
  "$(boot_registers "$checkout/tests/golden/boot.tcg")"
have_ibm=''; command -v tssverifysignature >/dev/null && have_ibm=1 || say 'SKIPPED here: tssverifysignature (package tss2)'
have_pytss=''; /usr/bin/python3 -c 'import tpm2_pytss' 2>/dev/null && have_pytss=1 || say 'SKIPPED here: python3-tpm2-pytss'

succeeds 'openssl accepts the provisioning record' provisioned "$e"
succeeds 'openssl accepts the endorsement certificate' endorsed "$e"
for name in quote counter index; do succeeds "openssl accepts the signature of $name" signed "$e" "$name"; done
succeeds 'tpm2_checkquote accepts quote, registers and event log' quoted "$e"
succeeds 'tpm2_eventlog replays to the quoted register' logged "$e"
[ -z "$have_ibm" ] || for name in quote counter index; do succeeds "IBM's TSS accepts $name" ibm "$e" "$name"; done
[ -z "$have_pytss" ] || succeeds 'tpm2-pytss accepts all three' pytss "$e"
check_note_signature "$e/checkpoint" "$e/log.vkey" "$work/note" || fail "the checkpoint's signature is not good"
pass "openssl accepts the checkpoint's signature"
# The last record by its tlog-proof, with sha256sum alone.
seq=250
entry="$work/entry.bin"
dd if="$e/records/000000.entries" of="$entry" bs=92 skip=246 count=1 status=none
leaf=$({ printf '\0'; cat "$entry"; } | sha256sum | cut -d' ' -f1)
proof=(); while read -r line; do [ -n "$line" ] || break; proof+=("$(base64 -d <<<"$line" | od -An -v -t x1 | tr -d ' \n')"); done < <(tail -n +3 "$e/proofs/$seq.tlog-proof")
same 'sha256sum leads from record 250 to the root' "$(sed -n 3p "$e/checkpoint" | base64 -d | od -An -v -t x1 | tr -d ' \n')" \
  "$(root_from_proof $seq "$(sed -n 2p "$e/checkpoint")" "$leaf" "${proof[@]}")"

say '-- altered, for stock tools'
flip() {
  local byte
  byte=$(od -An -t u1 -j "$2" -N 1 "$1" | tr -d ' ')
  printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
refuses() { if "${@:2}" >/dev/null 2>&1; then fail "$1: accepted"; else pass "$1"; fi; }
altered() { rm -rf "$work/y"; cp -r "$e" "$work/y"; flip "$work/y/$1" "$2"; }
altered provisioning/record.json 40; refuses 'openssl refuses an altered record' provisioned "$work/y"
altered tpm/ek.der 300; refuses 'openssl refuses an altered certificate' endorsed "$work/y"
altered quote.attest 60; refuses 'tpm2_checkquote refuses an altered quote' quoted "$work/y"
refuses 'openssl refuses it' signed "$work/y" quote
[ -z "$have_ibm" ] || refuses "IBM's TSS refuses it" ibm "$work/y" quote
[ -z "$have_pytss" ] || refuses 'tpm2-pytss refuses it' pytss "$work/y"
altered quote.pcrs.tpm2-tools 150; refuses 'tpm2_checkquote refuses altered registers' quoted "$work/y"
altered checkpoints.tcg 100; refuses 'tpm2_checkquote refuses an altered event log' quoted "$work/y"
altered checkpoint 3; refuses 'openssl refuses an altered checkpoint' check_note_signature "$work/y/checkpoint" "$work/y/log.vkey" "$work/note"

say '-- altered, for stele audit'
# altered_archive MEMBER OFFSET: one bit of a member's content, in the archive as it is
altered_archive() {
  local block
  block=$(tar -tRf "$work/range.tar" | awk -v name="evidence/$1" '$3 == name { sub(":", "", $2); print $2 }')
  cp "$work/range.tar" "$work/altered.tar"
  flip "$work/altered.tar" $(((block + 1) * 512 + $2))
}
while read -r member offset word check; do
  altered_archive "$member" "$offset"
  audit_says "$word" 1 "$work/altered.tar" --nonce "$nonce" --pin "$pin" --ek-root "$root" --ek-root "$issuer"
  same "because of $member" "$check" "$(first_failure)"
done <<'END'
README 10 DAMAGED manifest
provisioning/record.json 40 TAMPERED provisioning
tpm/ek.der 300 TPM_REPLACED endorsement
tpm/ak.tpm2b 40 TPM_CLEARED attestation_key
checkpoint 3 TAMPERED checkpoint
quote.attest 60 TAMPERED quote
counter.attest 60 TAMPERED counter
index.signature 20 TAMPERED index
receipt.json 100 TAMPERED receipt
anchors.cel 30 TAMPERED anchors
checkpoints.tcg 100 TAMPERED pcr_log
records/000000.entries 2000 TAMPERED records
records/000000.salts 100 TAMPERED records
records/000000.payloads 5000 TAMPERED records
END
head -c 20000 "$work/range.tar" >"$work/cut.tar"
audit_says DAMAGED 1 "$work/cut.tar" --nonce "$nonce"
{ cat "$work/range.tar"; printf x; } >"$work/longer.tar"
audit_says DAMAGED 1 "$work/longer.tar" --nonce "$nonce"
: >"$work/empty.tar"
audit_says DAMAGED 1 "$work/empty.tar"
exits_with 'a file that is not there' 3 "$stele_bin/stele" audit "$work/absent.tar"
exits_with 'a pin that is no key' 2 "$stele_bin/stele" audit "$work/range.tar" --pin "$work/range.tar"

say '-- another boot'
stop_stele || fail 'stele up did not stop cleanly'
start_stele "$work/s"
wait_checkpointed
succeeds 'a bundle after a restart' stele_cli bundle --nonce "$other_nonce" --range 5..250 -o "$work/restarted.tar"
audit_says OK 0 "$work/restarted.tar" --nonce "$other_nonce" --pin "$pin" --compare "$work/range.tar"
verify_says "$good_words"
finish_test
