#!/usr/bin/env bash
# Goal: a whole Stele keeps its log on raw partitions: it rolls over from one to the next and seals what is full, goes on after kill -9 and a
# restart, is searched and verified there, refuses loudly when all are full and keeps everything it acknowledged, and touches no partition that
# is not its own.
# Method: loop devices named as partitions, `store.partitions`, events over HTTPS whose every batch is acknowledged or refused.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || skip 'loop devices need root'
begin_test
loops=()
detach() {
  local loop
  for loop in "${loops[@]}"; do
    blockdev --setrw "$loop" 2>/dev/null || true  # the flag outlives what was on the device
    losetup -d "$loop" 2>/dev/null || true
  done
}
trap 'stop_stele >/dev/null 2>&1 || true; detach; end_of_test' EXIT
add_partition() {  # add_partition NAME MIB: a zeroed one
  truncate -s "$2M" "$work/$1.img"
  loops+=("$(losetup --find --show "$work/$1.img" 2>/dev/null)") || skip 'no loop device can be had here'
  ln -s "${loops[-1]}" "$work/nodes/$1"
}
mkdir "$work/nodes"
for i in 0 1 2; do add_partition "log-$i" 4; done
add_partition log-3 4
printf 'somebody lives here' | dd of="$work/nodes/log-3" bs=4096 seek=16 conv=sync,notrunc status=none
sync "$work/nodes/log-3"
stranger=$(sha256sum <"$work/nodes/log-3")
stele_more_toml="[store]
partitions = [\"$work/nodes/log-*\"]
codec = \"none\"
[anchor]
tpm = \"embedded\""
start_stele "$work/s"

store() { status_json | jq -c .store; }
read_only() { blockdev --getro "$work/nodes/$1"; }
post() {  # post NUMBER: the HTTP status of one batch of 200 events
  seq "$(($1 * 200))" "$(($1 * 200 + 199))" | awk -v b="$1" '{ printf "{\"event\":%d,\"batch\":\"batch%dx\",\"pad\":\"%0500d\"}\n", $1, b, $1 }' >"$work/events"
  curl -sS -o "$work/answer" -w '%{http_code}' --max-time 30 --cacert "$stele_dir/keys/ca.pem" \
    -H 'Content-Type: application/x-ndjson' --data-binary "@$work/events" "https://localhost:$(port_of https-json)/v1/events" || true
}
batches=0
post_until_unit() {  # post_until_unit N: batches until N partitions are taken
  local answer
  while [ "$(store | jq .segments)" -lt "$1" ]; do
    for _ in 1 2 3 4; do
      answer=$(post "$batches")
      [ "$answer" = 200 ] || fail "batch $batches: $answer"
      batches=$((batches + 1))
    done
    [ "$batches" -lt 200 ] || fail "no roll-over to $1 units"
  done
}

same 'the partition that is not empty is refused' "[\"$work/nodes/log-3: it holds something that is not Stele's, or was not zeroed: it is not used\"]" \
  "$(store | jq -c .partitions.refused)"
[ "$(status_json | jq '[.alarms[] | select(.alarm == "partitions_refused")] | length')" = 1 ] || fail 'no alarm says so'
pass 'and an alarm says so'
same 'no file holds the log' '' "$(ls "$stele_dir/store")"
logger -n 127.0.0.1 -P "$(port_of syslog-tcp)" -T --octet-count 'first-of-all on a raw partition'
found first-of-all 1
same 'it is on the first partition' STELESEG "$(head -c 8 "$work/nodes/log-0")"

post_until_unit 2
same 'the full partition bears the seal mark' STLSEAL1 "$(tail -c 4096 "$work/nodes/log-0" | head -c 8)"
same 'the next one does not' '' "$(tail -c 4096 "$work/nodes/log-1" | head -c 8 | tr -d '\0')"
verify_says "$good_words"
found "batch$((batches - 1))x" 200

pkill_ledger=$(pid_of stele-ledger)
kill -KILL "$pkill_ledger"
end=$((SECONDS + 30))
until [ "$(post 900)" = 200 ]; do [ "$SECONDS" -lt "$end" ] || fail 'it does not go on after kill -9 of the ledger'; sleep 0.3; done
pass 'it goes on after kill -9 of the ledger'
post_until_unit 3
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"
start_stele "$work/s"
found first-of-all 1
same 'the kernel refuses writes to the two full ones' '1 1 0 0' "$(for i in 0 1 2 3; do read_only "log-$i"; done | xargs)"
same 'the status says so' '{"empty":0,"read_only":2,"taken":3,"unmarked":[]}' "$(store | jq -c '.partitions | del(.refused)')"

# All full: refused and said, nothing overwritten, everything acknowledged is there.
before=$(cat "$work/nodes/log-0" "$work/nodes/log-1" | sha256sum)
answer=200
while [ "$answer" = 200 ] && [ "$batches" -lt 300 ]; do
  answer=$(post "$batches")
  [ "$answer" != 200 ] || batches=$((batches + 1))
done
same 'the first refusal is 503' 503 "$answer"
same 'the status says full' true "$(store | jq .full)"
[ "$(status_json | jq '[.alarms[] | select(.alarm == "store_full")] | length')" -ge 1 ] || fail 'no alarm says store_full'
pass 'an alarm says store_full'
for batch in $(seq 0 9 $((batches - 1))) $((batches - 1)) 900; do
  rows=$(search "batch${batch}x" | jq '.rows | length')
  [ "$rows" = 200 ] || fail "of acknowledged batch $batch $rows events are found, not 200"
done
pass "the acknowledged batches ($batches) are there"
verify_says "$good_words"
succeeds 'it stops cleanly when full' stop_stele
verify_says "$good_words" "$work/s"
same 'the sealed partitions are what they were' "$before" "$(cat "$work/nodes/log-0" "$work/nodes/log-1" | sha256sum)"
same 'the partition of somebody else too' "$stranger" "$(sha256sum <"$work/nodes/log-3")"

# What is wrong with a set of partitions is said in one sentence.
dd if=/dev/zero of="$work/log-0.img" bs=4096 seek=1023 count=1 conv=notrunc status=none
verify_says "$good_words" "$work/s"
grep -q "a seal: $work/nodes/log-0: it holds unit 0, the log has gone on to unit 2, and it bears no seal mark" "$work/verify.json" || { cat "$work/verify.json" >&2; fail 'the lost seal mark'; }
pass 'a seal mark that was taken away is said'
cp "$work/log-1.img" "$work/log-4.img"
add_partition log-4 4
exits_with 'a copy of a unit is refused' 1 stele_cli verify
grep -q "unit 1 of the log is there twice, in $work/nodes/log-1 and in $work/nodes/log-4" "$work/out" || { cat "$work/out" >&2; fail 'the sentence'; }
rm "$work/nodes/log-1"
verify_says "$good_words" "$work/s"
rm "$work/nodes/log-4"
verify_says DAMAGED "$work/s"
succeeds 'verify takes the devices from the command line' "$stele_bin/stele" verify --dir "$work/s" --device "${loops[0]}" "${loops[1]}" "${loops[2]}"
finish_test
