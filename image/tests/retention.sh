# Goal: what has expired is reclaimed at the next start and not before, and the log goes on in its partitions; a hold keeps what was to go; all else
# is there to the last record. Method: one machine with five small log partitions, a retention of 20 seconds and an anchor every two, started three times:
#   the first fills two partitions and waits until the log says that the first unit goes;
#   the second reclaims it, and writes on until all five partitions are taken again and three further units are to go;
#   the third, with a hold over the first start's records that a site brings, reclaims one of the three and keeps the others.
# Between the starts the disk is looked at from outside. `stele verify` is not run on it: without the spines of the expired units it finds the log
# incomplete, and they lie on the state partition, which opens inside alone. A bundle that goes on from a receipt of before is audited instead.
bad=0 logs=5 log_mib=4 rows=100 keep_s=20
expect() { if "${@:2}"; then say "  $1"; else warn "NOT: $1"; bad=1; fi; }
says() { expect "the console says: $1" grep -aqE "$1" "$machine_console"; }
status_is() { jq -e "$1" "$machine_dir/status.json" >/dev/null; }
finds() { [ "$(api "/api/v1/search?q=$1&limit=10&proofs=0" 2>/dev/null | jq '.rows | length')" -ge 1 ]; }
wait_finds() { local end=$((SECONDS + 90)); until finds "$1"; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 1; done; }
send() { logger -n 127.0.0.1 -P "$syslog_port" -T --octet-count "$1"; }
is_zeros() {  # is_zeros PARTITION
  local at size
  read -r at size < <(place_of "$1")
  [ "$(dd if="$machine_dir/disk.img" bs=1M iflag=skip_bytes,count_bytes skip="$at" count="$size" status=none | tr -d '\0' | head -c 1 | wc -c)" = 0 ]
}
empty_partitions() { local i; for ((i = 0; i < logs; i++)); do ! is_zeros "stele-log-$i" || echo "stele-log-$i"; done; }

write_site() {  # write_site FOLDER: the configuration of the image with a retention
  rm -rf "$1"
  mkdir -p "$1"
  sed '/^\[anchor\]$/a interval_ms = 2000' "$root/image/site/stele.toml" >"$1/stele.toml"
  printf '\n[retention]\nkeep_s = %s\n' "$keep_s" >>"$1/stele.toml"
}

ranges=()  # of the acknowledged batches: their sequence numbers
post() {  # 900 KB that do not compress
  local code
  head -c $((rows * 6750)) /dev/urandom | base64 -w 9000 | jq -Rc "{batch: \"batch${#ranges[@]}x\", pad: .}" >"$machine_dir/batch.ndjson"
  code=$(curl -sS --max-time 120 --cacert "$machine_dir/keys/ca.pem" -H 'Content-Type: application/x-ndjson' --data-binary @"$machine_dir/batch.ndjson" \
    -o "$machine_dir/answer.json" -w '%{http_code}' "https://localhost:$json_port/v1/events") || true
  [ "$code" = 200 ] || { warn "batch ${#ranges[@]}: $code"; return 1; }
  ranges+=("$(jq -c .ranges "$machine_dir/answer.json")")
}
post_until() {  # post_until SEGMENTS: until the log is in its unit of that number
  for _ in $(seq 60); do
    ! wait_api ".store.segments >= $1" 0 2>/dev/null || return 0
    post || return 1
  done
  return 1
}
wait_going() {  # wait_going UNITS: until so many go at the next start; small records keep the anchors coming
  local end=$((SECONDS + 120))
  until wait_api ".retention.going_units >= $1" 0 2>/dev/null; do
    [ "$SECONDS" -lt "$end" ] || { warn "not $1 units are to go: $(jq -c .retention "$machine_dir/status.json")"; return 1; }
    send 'retention tick'
    sleep 2
  done
}
# Of each acknowledged batch the search finds what is in no span that it says has expired.
all_else_is_there() {
  local i
  for i in "${!ranges[@]}"; do
    api "/api/v1/search?q=batch${i}x&limit=1000&proofs=0" >"$machine_dir/page.json" || return 1
    jq -e --argjson ranges "${ranges[i]}" '(.expired // []) as $expired | ([.rows[].seq] | sort) ==
      [$ranges[] | range(.[0]; .[1] + 1) as $seq | select(any($expired[]; .[0] <= $seq and $seq < .[1]) | not) | $seq]' \
      "$machine_dir/page.json" >/dev/null || { warn "of batch $i $(jq '.rows | length' "$machine_dir/page.json") events are found"; return 1; }
  done
}
refusal() {  # refusal SEQ: what it says instead of the record
  local keys="$machine_dir/keys" code
  code=$(curl -sS --max-time 100 --cacert "$keys/ca.pem" --cert "$keys/auditor.pem" --key "$keys/auditor.key" -o "$machine_dir/refusal.json" \
    -w '%{http_code}' "https://localhost:$viewer_port/api/v1/record/$1") || true
  echo "$code $(jq -r '.error.code // empty' "$machine_dir/refusal.json")"
}
evidence_is_good() {  # evidence_is_good WORD: a bundle of it goes on from the receipt of the first batch
  local nonce size
  nonce=$(openssl rand -hex 32) size=$(jq -r .checkpoint "$machine_dir/receipt.json" | sed -n 2p)
  api "/api/v1/bundle?nonce=$nonce&q=$1&since=$size" -o "$machine_dir/bundle.tar" || return 1
  "$stele_bin/stele-audit" --nonce "$nonce" --since "$machine_dir/receipt.json" --json "$machine_dir/bundle.tar" >"$machine_dir/audit.json" ||
    { jq -c '[.word, .qualifiers, .detail]' "$machine_dir/audit.json" >&2; return 1; }
}

dir="$root/build/image/tests/retention"
write_site "$dir.first"
site_more=$dir.first new_appliance "$dir" "$image" --logs $logs --log-mib $log_mib
forward_free_ports
trap power_cut EXIT

start_appliance console.1.log || exit 1
wait_api '.anchor.state == "anchored"' 200 || exit 1
expect 'the retention is the one of its configuration' status_is ".retention.keep_s == $keep_s and .retention.expired_units == 0"
post || exit 1
cp "$machine_dir/answer.json" "$machine_dir/receipt.json"
post_until 3 || exit 1
wait_going 1 || exit 1
say "  ${#ranges[@]} batches: $(jq -c '[.store.partitions, .retention]' "$machine_dir/status.json")"
expect 'before the next start everything is there' all_else_is_there
expect 'and nothing has expired' status_is '.retention.expired_units == 0'
old=$(jq '.[0][0]' <<<"${ranges[0]}")
expect "record $old is shown" api "/api/v1/record/$old" -o /dev/null
recovery_key=$(tr -d '\r' <"$machine_console" | sed -nE 's/.*RECOVERY KEY .*: ([0-9a-f-]{39})$/\1/p')
expect 'it switches off cleanly' power_off_machine 300
first_start_ended=$(date -u +%Y-%m-%dT%H:%M:%SZ)
expect 'the unit that goes is on its partition, sealed' [ "$(text_on stele-log-0 0) $(text_on stele-log-0 -4096)" = 'STELESEG STLSEAL1' ]

start_appliance console.2.log || exit 1
says 'reclaimed: units 0 have expired and are free'
says "stele: logs $logs log partitions, 1 sealed"
expect 'the status counts it' wait_api '.retention.expired_units == 1 and .anchor.state == "anchored"' 300
said=$(refusal "$old")
expect "record $old is gone ($said)" [ "$said" = '404 expired' ]
expect 'everything else is there' all_else_is_there
expect 'the log says that it was reclaimed' wait_finds 'kind:lifecycle+json.event:reclaimed'
fresh="fresh-record-$RANDOM-$RANDOM"
send "$fresh"
expect 'a new record is taken' wait_finds "$fresh"
expect 'its evidence goes on from a receipt for what is gone' evidence_is_good "$fresh"
post_until $((logs + 1)) || exit 1
expect "$((logs + 1)) units were begun on $logs partitions" wait_api ".store.segments > $logs and .store.partitions.empty == 0" 20
wait_going 3 || exit 1
say "  ${#ranges[@]} batches: $(jq -c '[.store.partitions, .retention]' "$machine_dir/status.json")"
expect 'everything else is there' all_else_is_there
expect 'it switches off cleanly' power_off_machine 300
expect 'the partition of what is gone is written again' [ -z "$(empty_partitions)" ]

# Units 1 and 2 were begun in the first start, unit 3 in the second.
write_site "$dir.second"
printf '[[retention.holds]]\nname = "case-7"\nreason = "a court said so"\nto = %s\n' "$first_start_ended" >>"$dir.second/stele.toml"
"$root/image/disk/make-site" "$dir.second" --recovery-key "$recovery_key" -o "$machine_dir/site.img"
machine_more=(-drive "if=none,id=site,format=raw,file=$machine_dir/site.img" -device nvme,serial=site0,drive=site)
start_appliance console.3.log || exit 1
expect "the hold is taken: $(console_value state)" eval 'console_value state | grep -q "files of the site taken: 1"'
says 'reclaimed: units 3 have expired and are free; unit 1 is not reclaimed: .*held by case-7; unit 2 is not reclaimed: .*held by case-7'
expect "a person before the machine reads it: $(console_value reclaimed)" [ -n "$(console_value reclaimed)" ]
expect 'the status counts two, and the hold' wait_api '.retention.expired_units == 2 and .retention.holds == 1 and .anchor.state == "anchored"' 300
expect 'everything else is there, what is held too' all_else_is_there
gone=$(jq -r '.expired[1][0] // empty' "$machine_dir/page.json")
said=$(refusal "${gone:-none}")
expect "record $gone of unit 3 is gone ($said)" [ "$said" = '404 expired' ]
fresh="fresh-record-$RANDOM-$RANDOM"
send "$fresh"
expect 'a new record is taken' wait_finds "$fresh"
expect 'its evidence goes on from the receipt' evidence_is_good "$fresh"
expect 'the verdict is a good one' status_is '.verdict.word | IN("OK", "OK_UNANCHORED_TAIL")'
expect 'it switches off cleanly' power_off_machine 300
free=$(empty_partitions)
expect "one partition is free, zeros to its end: $free" [ "$(wc -w <<<"$free")" = 1 ]
expect 'and has no superblock' [ "$(text_on "${free:-stele-log-0}" 0)" = '' ]
exit "$bad"
