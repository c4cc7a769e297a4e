# Goal: the appliance does its work. Method: one start of a fresh machine, everything seen from outside.
expect() { if "${@:2}"; then say "  $1"; else warn "NOT: $1"; bad=1; fi; }
refuses() { ! answers "$1"; }
registers_are_expected() {
  local register wanted compared=0
  while read -r register wanted; do
    [ "$(console_value "pcr-$register" | tr A-F a-f)" = "$wanted" ] || { warn "PCR $register is $(console_value "pcr-$register"), not $wanted"; return 1; }
    compared=$((compared + 1))
  done < <(jq -r '.registers | to_entries[] | "\(.key) \(.value)"' "$image/expected-pcrs.json")
  [ "$compared" -ge 4 ]
}
bad=0
new_appliance "$root/build/image/tests/serve" "$image"
forward_free_ports
trap power_cut EXIT
start_appliance || exit 1
expect 'the state partition was made, encrypted, at this first start' grep -aq 'stele: state encrypted, sealed to this TPM; made at this start' "$machine_console"
expect 'the guard is armed over 4 log partitions' grep -aq 'write-once guard armed: 4 log partitions, 0 sealed' "$machine_console"
wait_api '.anchor.state == "anchored"' 200 || exit 1
say "  anchored to the TPM: $(jq -c .verdict "$machine_dir/status.json")"
for i in $(seq 20); do logger -n 127.0.0.1 -P "$syslog_port" -d "image-suite udp $i"; done
for i in $(seq 20); do logger -n 127.0.0.1 -P "$syslog_port" -T --octet-count "image-suite tcp $i"; done
answer=$(curl -sS --fail --max-time 60 --cacert "$machine_dir/keys/ca.pem" -H 'Content-Type: application/x-ndjson' \
  --data-binary @"$root/tests/data/application.ndjson" "https://localhost:$json_port/v1/events") || { warn "JSON was not taken"; exit 1; }
say "  JSON acknowledged: $(jq -c .ranges <<<"$answer")"
found=0 end=$((SECONDS + 90))
until [ "$found" = 40 ] || [ "$SECONDS" -ge "$end" ]; do
  found=$(api '/api/v1/search?q=image-suite&limit=100&proofs=0' 2>/dev/null | jq '.rows | length') || found=0
  [ "$found" = 40 ] || sleep 1
done
expect "40 lines of syslog by UDP and TCP are found ($found)" [ "$found" = 40 ]
expect 'the viewer answers on the operator network' api /api/v1/session -o /dev/null
expect 'the viewer does not answer on the ingest network' refuses "$wrong_viewer_port"
expect 'nor does its address when it is asked from there' refuses "$wrong_viewer_port_2"
expect 'nothing takes records on the operator network' refuses "$wrong_json_port"
dropped=0 end=$((SECONDS + 60))  # what was tried above came as packets that no zone allows
until [ "$dropped" != 0 ] || [ "$SECONDS" -ge "$end" ]; do
  dropped=$(api '/api/v1/search?q=kind:alarm+json.alarm:policy_violation&limit=100&proofs=0' 2>/dev/null | jq '.rows | length') || dropped=0
  [ "$dropped" != 0 ] || sleep 1
done
expect "what the network policy dropped is in the log ($dropped entries)" [ "$dropped" != 0 ]
nonce=$(openssl rand -hex 32)
api "/api/v1/bundle?nonce=$nonce&q=image-suite" -o "$machine_dir/bundle.tar"
"$stele_bin/stele-audit" --nonce "$nonce" --json "$machine_dir/bundle.tar" >"$machine_dir/audit.json" || { cat "$machine_dir/audit.json" >&2; bad=1; }
say "  audit of a bundle: $(jq -c '[.word, .qualifiers]' "$machine_dir/audit.json")"
expect 'PCR 4, 7, 9, 11 and 12 are the expected ones' registers_are_expected
begin=$SECONDS
expect 'it switches off cleanly' power_off_machine 300
say "  off after $((SECONDS - begin)) s"
exit "$bad"
