# Goal: whatever is done to the log partitions while the machine is off, the next start says it, loses nothing that was acknowledged, and writes to
# nothing that is not its own. Method: one machine started four times. It fills three partitions and half of a fourth, each batch of events
# acknowledged, and loses its power. Then, from outside,
#   two partitions change places, one loses its seal mark, and of the empty ones one becomes another log's, one half written, one too small:
#     the second start says all of it, finds every batch, and fills up until it refuses;
#   a full partition is copied over another: the third start says so and takes nothing;
#   the state partition is gone and a partition's name is there twice: the fourth says both.
# Bytes are compared from outside.
expect() { if "${@:2}"; then say "  $1"; else warn "NOT: $1"; bad=1; fi; }
says() { expect "the console says: $1" grep -aqE "$1" "$machine_console"; }
bad=0 logs=8 log_mib=4 rows=100
new_appliance "$root/build/image/tests/partitions" "$image" --logs $logs --log-mib $log_mib
forward_free_ports
trap power_cut EXIT
disk="$machine_dir/disk.img"
log_bytes=$((log_mib << 20)) unit_bytes=$(((log_mib << 20) - 4096))
log_at() { offset_of "stele-log-$1"; }
copy() { dd if="$1" of="$3" bs=1M iflag=skip_bytes,count_bytes oflag=seek_bytes skip="$2" seek="$4" count="$5" conv=notrunc status=none; }
units_of() { for i in "$@"; do copy "$disk" "$(log_at "$i")" /dev/stdout 0 $unit_bytes | sha256sum; done; }  # without their seal marks
whole_of() { for i in "$@"; do copy "$disk" "$(log_at "$i")" /dev/stdout 0 $log_bytes | sha256sum; done; }
rename_partition() { sfdisk -q --part-label "$disk" "$(sfdisk -J "$disk" | jq --arg name "$1" '[.partitiontable.partitions[].name] | index($name) + 1')" "$2"; }

batches=()
post() {  # post BATCH [SECONDS]: the HTTP status of 900 KB that do not compress
  head -c $((rows * 6750)) /dev/urandom | base64 -w 9000 | jq -Rc "{batch: \"batch$1x\", pad: .}" >"$machine_dir/batch.ndjson"
  curl -sS --max-time "${2:-120}" --cacert "$machine_dir/keys/ca.pem" -H 'Content-Type: application/x-ndjson' --data-binary @"$machine_dir/batch.ndjson" \
    -o /dev/null -w '%{http_code}' "https://localhost:$json_port/v1/events" || true
}
post_until() {  # post_until JQ_CONDITION: acknowledged batches until the status fulfils it
  local code
  for _ in $(seq 60); do
    ! wait_api "$1" 0 2>/dev/null || return 0
    code=$(post ${#batches[@]})
    [ "$code" = 200 ] || { warn "batch ${#batches[@]}: $code"; return 1; }
    batches+=("batch${#batches[@]}x")
  done
  return 1
}
all_batches_are_there() {
  local batch found
  for batch in "${batches[@]}"; do
    found=$(api "/api/v1/search?q=$batch&limit=1000&proofs=0" | jq '.rows | length') || found=0
    [ "$found" = $rows ] || { warn "of the acknowledged $batch $found events are found"; return 1; }
  done
}

start_appliance console.1.log || exit 1
wait_api '.anchor.state == "anchored"' 200 || exit 1
post_until '.store.segments == 4' || exit 1
say "  ${#batches[@]} batches acknowledged: $(jq -c .store.partitions "$machine_dir/status.json")"
power_cut

full=$(units_of 0 1 2)
copy "$disk" "$(log_at 0)" "$machine_dir/zero" 0 $log_bytes
copy "$disk" "$(log_at 1)" "$disk" "$(log_at 0)" $log_bytes
copy "$machine_dir/zero" 0 "$disk" "$(log_at 1)" $log_bytes
copy /dev/zero 0 "$disk" $(($(log_at 1) + unit_bytes)) 4096  # the seal mark of unit 0
copy "$root/tests/golden/superblock.bin" 0 "$disk" "$(log_at 5)" 4096
copy "$machine_dir/zero" 0 "$disk" "$(log_at 6)" 2048
sfdisk -J "$disk" | jq -r '.partitiontable | "label: gpt", "label-id: \(.id)", (.partitions[] |
  "start=\(.start), size=\(if .name == "stele-log-7" then 1024 else .size end), type=\(.type), uuid=\(.uuid), name=\(.name)")' >"$machine_dir/table"
sfdisk -q "$disk" <"$machine_dir/table" >/dev/null
strangers=$(whole_of 5 6 7)
start_appliance console.2.log || exit 1
says 'stele: logs 8 log partitions, 3 sealed, stele-log-1 has lost its seal mark'
wait_api '.anchor.state == "anchored"' 300 || exit 1
say "  $(jq -c '{verdict: .verdict.word, partitions: .store.partitions}' "$machine_dir/status.json")"
left_alone() {
  jq -e '.store.partitions | (.refused | length == 3) and any(.refused[]; test("stele-log/5: it belongs to another log")) and
    any(.refused[]; test("stele-log/6: its superblock was never finished or is damaged")) and any(.refused[]; test("stele-log/7: .* too few for a unit")) and
    .taken + .empty == 5 and (.unmarked | length == 1 and (.[0] | test("stele-log/1: it holds unit 0")))' "$machine_dir/status.json" >/dev/null
}
expect 'the status names each partition that is left alone, and the lost mark' left_alone
for alarm in partitions_refused seal_mark_missing; do
  expect "the alarm $alarm is in the log" [ "$(api "/api/v1/search?q=kind:alarm+json.alarm:$alarm&limit=10&proofs=0" | jq '.rows | length')" = 1 ]
done
verdict_is_good() { jq -e '.verdict.word | IN("OK", "OK_UNANCHORED_TAIL", "RECOVERED_CRASH")' "$machine_dir/status.json" >/dev/null; }
expect 'the verdict is not one of tampering' verdict_is_good
expect 'every acknowledged batch is there' all_batches_are_there
evidence_is_good() {
  local nonce
  nonce=$(openssl rand -hex 32)
  api "/api/v1/bundle?nonce=$nonce&q=${batches[0]}" -o "$machine_dir/bundle.tar" &&
    "$stele_bin/stele-audit" --nonce "$nonce" --json "$machine_dir/bundle.tar" >"$machine_dir/audit.json"
}
expect 'evidence for what lies on a sealed partition passes the audit' evidence_is_good
code=200
while [ "$code" = 200 ] && [ ${#batches[@]} -lt 100 ]; do
  code=$(post ${#batches[@]})
  [ "$code" != 200 ] || batches+=("batch${#batches[@]}x")
done
expect "full after ${#batches[@]} batches, the next is refused with 503 ($code)" [ "$code" = 503 ]
expect 'the status says full' wait_api '.store.full and .store.partitions.empty == 0' 20
says 'the store is full: records are refused'
expect 'every acknowledged batch is there' all_batches_are_there
expect 'it switches off cleanly when it is full' power_off_machine 300
expect 'what was full is what it was' [ "$(units_of 1 0 2)" = "$full" ]
expect 'what is not its own is what it was' [ "$(whole_of 5 6 7)" = "$strangers" ]
expect 'the lost seal mark is not made up for' [ "$(text_on stele-log-1 -4096)" = '' ]

copy "$disk" "$(log_at 2)" "$disk" "$(log_at 6)" $log_bytes
everything=$(whole_of 0 1 2 3 4 5 6 7)
start_machine console.3.log
wait_console 'unit 2 of the log is there twice' "$boot_seconds" || true
says 'unit 2 of the log is there twice, in /dev/stele-log/2 and in /dev/stele-log/6: one is a copy; take it away'
says 'write-once guard armed: 8 log partitions, [0-9] sealed'
expect 'it does not serve' eval '! grep -aq "stele: serving" "$machine_console"'
expect 'nothing is taken' eval '[ "$(post refused 10 2>/dev/null)" != 200 ]'
power_cut
expect 'no log partition was written to' [ "$(whole_of 0 1 2 3 4 5 6 7)" = "$everything" ]

rename_partition stele-state stale-state
rename_partition stele-log-7 stele-log-5
everything=$(whole_of 0 1 2 3 4 6)
start_machine console.4.log
wait_console 'stele: (NOT SERVING|serving|starting)' "$boot_seconds" || true
says 'stele: state missing: there is no partition stele-state'
says 'stele: NOT SERVING there is no place for the log'
says 'stele: logs 6 log partitions, [0-9] sealed, .*stele-log-5 refused'
power_cut
expect 'no log partition was written to' [ "$(whole_of 0 1 2 3 4 6)" = "$everything" ]
exit "$bad"
