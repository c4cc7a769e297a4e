#!/usr/bin/env bash
# Goal: records whose retention is over go, at the next start and not before, and everything else stays provable; what is held, or what the log
# does not say may go, stays or is found missing; freed partitions are written again.
# Method: a retention of seconds and an anchor each second; first segments as files, then raw partitions (loop devices); evidence that was
# taken before is compared with what is there afterwards.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
stele_more_toml=$'[store]\nsegment_bytes = 1048576\nreserve_bytes = 262144\ncodec = "none"\n[retention]\nkeep_s = 4\n[anchor]\ntpm = "embedded"\ninterval_ms = 1000\nnv_budget = 1000000'
start_stele "$work/s"

batches=0
post() {  # one batch of 200 events; all acknowledged
  local answer
  seq "$((batches * 200))" "$((batches * 200 + 199))" | awk -v b="$batches" '{ printf "{\"event\":%d,\"batch\":\"batch%dx\",\"pad\":\"%0500d\"}\n", $1, b, $1 }' >"$work/events"
  answer=$(curl -sS -o "$work/answer" -w '%{http_code}' --max-time 30 --cacert "$stele_dir/keys/ca.pem" \
    -H 'Content-Type: application/x-ndjson' --data-binary "@$work/events" "https://localhost:$(port_of https-json)/v1/events") || true
  [ "$answer" = 200 ] || fail "batch $batches: $answer"
  batches=$((batches + 1))
}
segments() { status_json | jq .store.segments; }
going() { status_json | jq .retention.going_units; }
post_until() {  # post_until SEGMENTS: until the log is in its segment of that number, at an anchor each
  local n
  until n=$(segments); [ "$n" -ge "$1" ]; do
    for _ in 1 2 3 4; do post; done
    [ "$batches" -lt 400 ] || fail "no roll-over to $1 segments"
  done
}
wait_going() {  # wait_going UNITS: until so many go at the next start; a batch each second keeps the anchors coming
  local end=$((SECONDS + 90))
  until [ "$(going)" -ge "$1" ]; do
    [ "$SECONDS" -lt "$end" ] || { status_json | jq .retention >&2; fail "not $1 units go at the next start"; }
    printf '<13>1 2026-11-21T06:00:00Z probe test 1 - - tick\n' >"/dev/tcp/127.0.0.1/$(port_of syslog-tcp)"
    sleep 1
  done
  pass "$1 units or more go at the next start"
}
stop() { succeeds 'stele up stops cleanly' stop_stele; }
file_of() { printf '%s/store/seg-%08d' "$stele_dir" "$1"; }
spine_of() { printf '%s/store/spine-%08d' "$stele_dir" "$1"; }

# --- files ---
post; post
found batch0x 200
old=$(jq '.rows[-1].seq' "$work/found.json")
nonce=$(openssl rand -hex 32)
succeeds 'a bundle of the old record' stele_cli bundle --nonce "$nonce" --record "$old" -o "$work/old.tar"
old_size=$(tar -xOf "$work/old.tar" evidence/checkpoint | sed -n 2p)
post_until 6
wait_going 2
found batch0x 200
same 'nothing is gone before the next start' yes "$([ -f "$(file_of 0)" ] && echo yes)"
verify_says "$good_words"
stop
start_stele "$work/s"
grep -qE 'units have expired and are free again' "$work/s/up.log" || { tail "$work/s/up.log" >&2; fail 'nothing says that units are free'; }
pass 'the start says so'
same 'the file of the first unit is gone' no "$([ -e "$(file_of 0)" ] && echo yes || echo no)"
same 'its spine is there' STELESPN "$(head -c 8 "$(spine_of 0)")"
expired=$(status_json | jq .retention.expired_units)
[ "$expired" -ge 2 ] || fail "$expired expired units"
pass "the status counts $expired"
say "a spine takes $(stat -c %s "$(spine_of 0)") octets, its unit took 1048576"
found batch0x 0
same 'a search says what has expired' 0 "$(jq '.expired[0][0]' "$work/found.json")"
exits_with 'the record is not shown' 1 stele_cli show "$old"
grep -q 'has expired' "$work/out" || { cat "$work/out" >&2; fail 'the sentence'; }
exits_with 'there is no bundle of it' 1 stele_cli bundle --nonce "$nonce" --record "$old" -o "$work/none.tar"
found "batch$((batches - 1))x" 200
new=$(jq '.rows[0].seq' "$work/found.json")
found 'kind:lifecycle json.event:reclaimed' 1
[ "$(search 'kind:tombstone' | jq '.rows | length')" -ge "$expired" ] || fail 'there are fewer tombstones than expired units'
verify_says "$good_words"
same 'verify counts them' "$expired" "$(jq .store.expired.segments "$work/verify.json")"
succeeds 'evidence of a new record' stele_cli show "$new" --proof -o "$work/new"
check_evidence "$work/new" "$new"
succeeds 'a bundle of a new record, which continues the old one' stele_cli bundle --nonce "$nonce" --record "$new" --since "$old_size" -o "$work/new.tar"
succeeds 'its audit' "$stele_bin/stele-audit" --nonce "$nonce" "$work/new.tar"
succeeds 'the old bundle is still good' "$stele_bin/stele-audit" --nonce "$nonce" "$work/old.tar"
mkdir "$work/tree"
succeeds 'the tree is exported' stele_cli export --tlog "$work/tree"
grep -q 'their records have expired' "$work/out" || { cat "$work/out" >&2; fail 'the export does not say what is missing'; }
pass 'and says what is missing'

# A hold that comes before the next start keeps what was to go.
post_until $((expired + 7))
wait_going 1
keeps=$(jq -r '.orders[0].unit' "$work/s/state/reclaim.json")
stop
printf '[[retention.holds]]\nname = "case-7"\nreason = "a court said so"\n' >>"$work/s/stele.toml"
start_stele "$work/s"
grep -q "unit $keeps is not reclaimed: denied: held by case-7" "$work/s/up.log" || { tail "$work/s/up.log" >&2; fail 'the hold is not said'; }
pass 'a hold keeps a unit that was to go'
same 'its file is there' yes "$([ -f "$(file_of "$keeps")" ] && echo yes)"
same 'the log says who holds it' 'case-7 a court said so' "$(search 'kind:policy json.event:retention' | jq -r '.rows[0].payload_b64 | @base64d | fromjson | .holds[0] | .name + " " + .reason')"
stop
verify_says "$good_words" "$work/s"

# What nobody ordered is found.
mv "$(file_of "$keeps")" "$work/kept"
verify_says DAMAGED "$work/s"
grep -q "segment $keeps is missing" "$work/verify.json" || { cat "$work/verify.json" >&2; fail 'the place'; }
mv "$work/kept" "$(file_of "$keeps")"
mv "$(spine_of 1)" "$work/kept"
verify_says DAMAGED "$work/s"
mv "$work/kept" "$(spine_of 1)"
cp "$(spine_of 1)" "$work/kept"
printf '\xff\xfe' | dd of="$(spine_of 1)" bs=1 seek=300 conv=notrunc status=none
verify_says 'DAMAGED|TAMPERED' "$work/s"
mv "$work/kept" "$(spine_of 1)"
verify_says "$good_words" "$work/s"

# --- raw partitions ---
if [ "$(id -u)" != 0 ]; then say 'raw partitions are not tried: loop devices need root'; finish_test; fi
loops=()
detach() {
  local loop
  for loop in "${loops[@]}"; do
    blockdev --setrw "$loop" 2>/dev/null || true
    losetup -d "$loop" 2>/dev/null || true
  done
}
trap 'stop_stele >/dev/null 2>&1 || true; detach; end_of_test' EXIT
mkdir "$work/nodes"
for i in 0 1 2 3; do
  truncate -s 2M "$work/log-$i.img"
  loop=$(losetup --find --show "$work/log-$i.img" 2>/dev/null) || { say 'raw partitions are not tried: no loop device can be had here'; finish_test; }
  loops+=("$loop")
  ln -s "$loop" "$work/nodes/log-$i"
done
stele_more_toml="[store]
partitions = [\"$work/nodes/log-*\"]
codec = \"none\"
[retention]
keep_s = 0
[anchor]
tpm = \"embedded\"
interval_ms = 1000
nv_budget = 1000000"
batches=0
start_stele "$work/p"
post
post_until 4
sleep 3
same 'without a retention nothing expires' 0 "$(going)"
stop
sed -i 's/^keep_s = 0/keep_s = 4/' "$work/p/stele.toml"
start_stele "$work/p"  # which has the kernel seal what is full
wait_going 1
stop
start_stele "$work/p"
grep -q 'sealed until the next start of the machine' "$work/p/up.log" || { tail "$work/p/up.log" >&2; fail 'a sealed partition'; }
pass 'what is sealed waits for the next start of the machine'
stop
for loop in "${loops[@]}"; do blockdev --setrw "$loop"; done  # as when the machine starts
start_stele "$work/p"
same 'a partition is empty again' true "$(status_json | jq '.store.partitions.empty >= 1')"
first=$(status_json | jq .retention.expired_units)
post_until 5
post
found "batch$((batches - 1))x" 200
verify_says "$good_words"
same 'five units were written to four partitions' true "$(status_json | jq '.store.segments >= 5 and .store.partitions.taken + .store.partitions.empty == 4')"
say "$first of the units have expired"
stop
verify_says "$good_words" "$work/p"
finish_test
