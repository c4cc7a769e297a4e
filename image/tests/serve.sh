# Goal: the appliance does its work and keeps its log on the write-once partitions. Method: one start of a fresh machine with small log partitions,
# everything seen from outside: by its network, on the console, and on the disk when it is off. (Later starts: `state`, `partitions`, `cuts`.)
expect() { if "${@:2}"; then say "  $1"; else warn "NOT: $1"; bad=1; fi; }
refuses() { ! answers "$1"; }
bad=0
logs=6 log_mib=4
new_appliance "$root/build/image/tests/serve" "$image" --logs $logs --log-mib $log_mib
forward_free_ports
trap power_cut EXIT
start_appliance || exit 1
expect 'the state partition was made, encrypted, at this first start' grep -aq 'stele: state encrypted, sealed to this TPM; made at this start' "$machine_console"
expect 'the guard is armed over the log partitions' grep -aq "write-once guard armed: $logs log partitions, 0 sealed" "$machine_console"
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

# A roll-over: what does not compress fills the first partition.
for i in $(seq 0 5); do
  head -c 900000 /dev/urandom | base64 -w 1000 | jq -Rc "{roll: $i, pad: .}" >"$machine_dir/roll.ndjson"
  curl -sS --fail --max-time 120 --cacert "$machine_dir/keys/ca.pem" -H 'Content-Type: application/x-ndjson' --data-binary @"$machine_dir/roll.ndjson" \
    -o /dev/null "https://localhost:$json_port/v1/events" || { warn "batch $i of the roll-over was not taken"; exit 1; }
done
wait_api '.store.segments >= 2 and .store.partitions.read_only >= 1' 60 || exit 1
say "  rolled over: $(jq -c .store "$machine_dir/status.json")"
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
expect 'the policy is enforced, and nobody else changed a rule' wait_api '.policy.state == "in_force" and .policy.drift.state == "none" and .policy.configured == "in_force"' 60
nonce=$(openssl rand -hex 32)
api "/api/v1/bundle?nonce=$nonce&q=image-suite" -o "$machine_dir/bundle.tar"
"$stele_bin/stele-audit" --nonce "$nonce" --json "$machine_dir/bundle.tar" >"$machine_dir/audit.json" || { cat "$machine_dir/audit.json" >&2; bad=1; }
say "  audit of a bundle: $(jq -c '[.word, .qualifiers]' "$machine_dir/audit.json")"
expect 'PCR 4, 7, 9, 11 and 12 are the expected ones' registers_are_expected "$image/expected-pcrs.json"
begin=$SECONDS
expect 'it switches off cleanly' power_off_machine 300
say "  off after $((SECONDS - begin)) s"

# The disk from outside: the log is on its partitions, and what is full bears its seal.
expect 'the log is on the first partition' [ "$(text_on stele-log-0 0)" = STELESEG ]
expect 'which bears its seal' [ "$(text_on stele-log-0 -4096)" = STLSEAL1 ]
expect 'and goes on on the second' [ "$(text_on stele-log-1 0)" = STELESEG ]
if verify_partitions; then
  expect "stele verify finds the bytes whole: $(jq -c '{records: .store.records, first_bad}' "$machine_dir/verify.json")" bytes_are_whole
else
  say '  not verified from outside: no loop device can be had here'
fi
exit "$bad"
