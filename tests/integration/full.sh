#!/usr/bin/env bash
# Goal: a full disk refuses records and counts them, never acknowledges what is not stored, never overwrites, stays readable and in
# order, and goes on by itself when there is room again.
# Method: a small tmpfs, filled by the log first and to its last octet by somebody else then; killed while full; made larger at the end.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || skip 'mounting a small file system needs root'
begin_test
mkdir "$work/disk"
mount -t tmpfs -o size=24m,mode=0700 tmpfs "$work/disk" 2>/dev/null || skip 'a tmpfs cannot be mounted here'
unmount() { umount "$work/disk" 2>/dev/null || umount -l "$work/disk" 2>/dev/null || true; }
trap 'stop_stele >/dev/null 2>&1 || true; unmount; end_of_test' EXIT
stele_more_toml=$'[store]\nsegment_bytes = 4194304\nreserve_bytes = 1048576\ncodec = "none"\n[anchor]\ntpm = "embedded"'
mkdir -m 0700 "$work/disk/s"
start_stele "$work/disk/s"
udp=$(port_of syslog-udp)

store() { status_json | jq -c .store; }
post() {  # post NUMBER: the HTTP status of one batch of 200 events
  seq "$(($1 * 200))" "$(($1 * 200 + 199))" | awk -v b="$1" '{ printf "{\"event\":%d,\"word\":\"full-disk\",\"batch\":\"batch%dx\",\"pad\":\"%0400d\"}\n", $1, b, $1 }' >"$work/events"
  curl -sS -o "$work/answer" -w '%{http_code}' --max-time 30 --cacert "$stele_dir/keys/ca.pem" \
    -H 'Content-Type: application/x-ndjson' --data-binary "@$work/events" "https://localhost:$(port_of https-json)/v1/events" || true
}
reads_work() {  # reads_work WHAT COUNT
  for i in $(seq "$2"); do
    stele_cli search --json --limit 5 full-disk >"$work/out" 2>&1 || { cat "$work/out" >&2; fail "$1: search $i"; }
  done
  stele_cli status >"$work/out" 2>&1 || { cat "$work/out" >&2; fail "$1: status"; }
  pass "$1: $2 searches and a status"
}

# 1. Fill it. Every batch is acknowledged or refused; the first refusal is a 503.
acknowledged=0 answer=200
for batch in $(seq 0 999); do
  answer=$(post "$batch")
  [ "$answer" = 200 ] || break
  acknowledged=$((acknowledged + 1))
done
same 'the first refusal is 503' 503 "$answer"
[ "$acknowledged" -gt 20 ] || fail "only $acknowledged batches fitted"
pass "$acknowledged batches were acknowledged before"
same 'the status says full' true "$(store | jq .full)"
[ "$(status_json | jq '[.alarms[] | select(.alarm == "store_full")] | length')" -ge 1 ] || fail 'no alarm says store_full'
pass 'an alarm says store_full'

# 2. While it is full: refused and counted, readable, verifiable.
for i in 1 2 3; do
  same "batch $i more is refused" 503 "$(post $((acknowledged + i)))"
  "$send" --udp "127.0.0.1:$udp" --count 100 --rate 2000 --seed "$i" >/dev/null
done
# A few datagrams may still find room that a large batch does not; every one is stored or counted, and the entries say the same.
end=$((SECONDS + 90))
while :; do
  sleep 3  # each look costs an access entry of the reserve
  status_json | jq -c '.listeners[] | select(.name == "syslog-udp")' >"$work/udp.json" || true
  recorded=$(search 'kind:loss' | jq '[.rows[].payload_b64 | @base64d | fromjson | select(.cause == "store_full") | .count] | add // 0') || recorded=none
  [ "$(jq ".stored + .lost == 300 and .lost > 0 and .lost == ${recorded:-0}" "$work/udp.json" 2>/dev/null)" != true ] || break
  [ "$SECONDS" -lt "$end" ] || { cat "$work/udp.json" >&2; fail "of 300 datagrams the loss entries count ${recorded:-nothing}"; }
done
pass "of 300 datagrams $(jq .stored "$work/udp.json") found room, and loss entries count the other $recorded"
reads_work 'full' 20
verify_says "$good_words"

# 3. Somebody else takes the last octet.
dd if=/dev/zero of="$work/disk/ballast" bs=4096 2>/dev/null || true
same 'nothing is free' 0 "$(df --output=avail "$work/disk" | tail -n 1 | tr -d ' ')"
reads_work 'to the last octet' 20
same 'still refused' 503 "$(post 990)"
verify_says "$good_words"

# 4. kill -9 of ledger, receiver and query while it is full: all come back and can be read.
for name in stele-ledger stele-receive stele-query; do
  before=$(pid_of "$name")
  kill -KILL "$before"
  end=$((SECONDS + 30))
  until status_json | jq -e --arg n "$name" '[.processes[] | select(.name == $n and .restarts > 0 and .event == "ready")] | length == 1' >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "$name does not come back on a full disk"
    sleep 0.3
  done
  pass "$name comes back on a full disk"
done
reads_work 'after the kills' 5
same 'still refused' 503 "$(post 991)"

# 5. Room again: it goes on by itself, nothing acknowledged is missing.
rm "$work/disk/ballast"
mount -o remount,size=64m "$work/disk"
end=$((SECONDS + 30))
until [ "$(post 992)" = 200 ]; do
  [ "$SECONDS" -lt "$end" ] || fail 'it does not go on when there is room'
  sleep 0.5
done
pass 'it goes on when there is room'
same 'the status says so' false "$(store | jq .full)"
"$send" --udp "127.0.0.1:$udp" --count 100 --rate 2000 --tag after-full >/dev/null
found after-full 100
for batch in $(seq 0 7 $((acknowledged - 1))) $((acknowledged - 2)) $((acknowledged - 1)) 992; do
  rows=$(search "batch${batch}x" | jq '.rows | length')
  [ "$rows" = 200 ] || fail "of acknowledged batch $batch $rows events are found, not 200"
done
for batch in $((acknowledged + 1)) $((acknowledged + 2)) 990 991; do  # the first refused one may be there in part
  rows=$(search "batch${batch}x" | jq '.rows | length')
  [ "$rows" = 0 ] || fail "of refused batch $batch $rows events are found"
done
pass 'acknowledged batches are there whole, those refused while it was full not at all'
verify_says "$good_words"
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/disk/s"
finish_test
