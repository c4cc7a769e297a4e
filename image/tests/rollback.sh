# Goal: who writes the whole disk back as it was is found out at the next start. Method: one machine, its
# disk copied while it is off, a record and an anchor in between, the copy put back; the TPM is the machine's own, all the time.
bad=0
expect() { if "${@:2}"; then say "  $1"; else warn "NOT: $1"; bad=1; fi; }
new_appliance "$root/build/image/tests/rollback" "$image"
forward_free_ports
trap power_cut EXIT
post() { curl -sS --fail --max-time 60 --cacert "$machine_dir/keys/ca.pem" -H 'Content-Type: application/x-ndjson' \
  --data-binary "{\"what\":\"$1\"}" "https://localhost:$json_port/v1/events"; }
audit() {  # audit RECEIPT: the word of stele-audit about a bundle of now that goes on from the receipt
  local nonce size; nonce=$(openssl rand -hex 32) size=$(jq -r .checkpoint "$1" | sed -n 2p)
  api "/api/v1/bundle?nonce=$nonce&q=kind:json&since=$size" -o "$machine_dir/bundle.tar" || return 1
  "$stele_bin/stele-audit" --nonce "$nonce" --since "$1" --json "$machine_dir/bundle.tar" >"$machine_dir/audit.json" || true
  jq -r .word "$machine_dir/audit.json"
}
refusal() {  # what it says instead of a bundle
  local keys="$machine_dir/keys"
  curl -sS --max-time 100 --cacert "$keys/ca.pem" --cert "$keys/auditor.pem" --key "$keys/auditor.key" \
    "https://localhost:$viewer_port/api/v1/bundle?nonce=$(openssl rand -hex 32)&q=kind:json" | jq -r .error.message
}

start_appliance console.1.log || exit 1
post before-the-copy >"$machine_dir/receipt.1.json" || { warn 'JSON was not taken'; exit 1; }
wait_api '.anchor.state == "anchored"' 200 || exit 1
power_off_machine 300 || warn 'it did not switch off in time'
cp --sparse=always "$machine_dir/disk.img" "$machine_dir/disk.copy"

start_appliance console.2.log || exit 1
post after-the-copy >"$machine_dir/receipt.2.json" || { warn 'JSON was not taken'; exit 1; }
wait_api '.anchor.state == "anchored" and .verdict.word == "OK"' 200 || exit 1
expect 'the log goes on from the first receipt' [ "$(audit "$machine_dir/receipt.1.json")" = OK ]
power_off_machine 300 || warn 'it did not switch off in time'

mv "$machine_dir/disk.copy" "$machine_dir/disk.img"
start_appliance console.3.log || exit 1
expect 'its state partition opens: it is its own' [ "$(console_value state)" = 'encrypted, sealed to this TPM' ]
wait_api '.verdict.word == "ROLLED_BACK"' 200 || bad=1
say "  it says so itself: $(jq -c .verdict "$machine_dir/status.json")"
refused=$(refusal)
expect "and gives no evidence as if nothing had happened: $refused" grep -q ROLLED_BACK <<<"$refused"
alarms=$(api '/api/v1/status' | jq -c '[.alarms[] | select(tostring | contains("ROLLED_BACK"))] | length')
expect "it is an alarm ($alarms)" [ "$alarms" != 0 ]
power_cut
exit "$bad"
